"""A second client of the object protocol, written from docs/protocol.md and docs/format.md alone: it has nothing of src/, so
that the documents are what is tested. It backs up one image, unencrypted, and restores images, streams and blobs.

Usage: second_client.py --server HOST:PORT --fingerprint SHA256 --token USER@REALM!NAME --store STORE [--ns NS] COMMAND
  backup TYPE/ID NAME FILE [--cut N] [--pause N] [--abort]   --cut: the N-th put breaks off in its middle, and is gone on with;
                                                             --pause: before the N-th put a line of standard input is awaited
  list                                                       the snapshots
  restore TYPE/ID/TIME NAME FILE
The token's secret is in SECOND_CLIENT_SECRET. What was done is printed as JSON. Exit code 1: refused, or what came was not good.
"""
import argparse
import hashlib
import json
import os
import ssl
import struct
import sys
import time
from datetime import datetime, timezone
from http.client import HTTPException, HTTPSConnection

from second_client_records import (
    BLOB, DATA, LIST, LIST_ENTRIES, PAGE, PAGE_BYTES, Object, cut_page, decode_entries, decode_record, encode_list, encode_page, encode_record, expect, is_zero,
)

TIMEOUT_S = 60


class Refused(Exception):
    """Section 3: the server answered with an error."""

    def __init__(self, status, code, message, data):
        super().__init__(f'{status} {code}: {message}')
        self.status, self.code, self.data = status, code, data


class PinnedConnection(HTTPSConnection):
    """TLS to the one who has the certificate; nothing is sent to anybody else."""

    def __init__(self, host, port, fingerprint):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        super().__init__(host, port, timeout=TIMEOUT_S, context=context)
        self.fingerprint = fingerprint.replace(':', '').lower()

    def connect(self):
        super().connect()
        if hashlib.sha256(self.sock.getpeercert(True)).hexdigest() != self.fingerprint:
            self.close()
            raise ssl.SSLError('the server has another certificate')

    def call(self, method, path, headers, body=None):
        """The body of the answer. @raises Refused; OSError or HTTPException when the line breaks."""
        try:
            self.request(method, path, body, headers)
            answer = self.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self.close()
            raise
        if 200 <= answer.status <= 299:
            return content
        try:
            error = json.loads(content)
        except ValueError:
            error = {'code': None, 'message': content.decode(errors='replace')}
        raise Refused(answer.status, error.get('code'), error.get('message'), error.get('data'))


class Api:
    """The API listener, as the owner of an API token."""

    def __init__(self, host, port, fingerprint, token, secret):
        self.host, self.fingerprint = host, fingerprint
        self.line = PinnedConnection(host, port, fingerprint)
        self.headers = {
            'Authorization': f'PBSAPIToken={token}:{secret}',
            'Accept': 'application/vnd.holdfast.error+json',
        }

    def call(self, method, path, body=None):
        headers = self.headers if body is None else {**self.headers, 'Content-Type': 'application/json'}
        try:
            content = self.line.call(method, f'/api2/json{path}', headers, None if body is None else json.dumps(body))
        finally:
            self.line.close()  # Minutes pass between calls.
        return json.loads(content).get('data')


class Session:
    """Sections 1 and 2: a session and one connection to the bulk listener."""

    def __init__(self, api, store, parameters):
        self.api, self.sessions = api, f'/admin/datastore/{store}/sessions'
        self.about = api.call('POST', self.sessions, parameters)
        self.id, self.limits = self.about['session'], self.about['limits']
        self.line = PinnedConnection(api.host, self.about['bulk-port'], api.fingerprint)

    def bulk(self, call, body):
        headers = {'Authorization': f'Bearer {self.about["token"]}', 'Content-Type': 'application/octet-stream'}
        return self.line.call('POST', f'/v1/{self.id}/{call}', headers, body)

    def have(self, ids):
        """Which of the ids are in scope."""
        known = set()
        for some in batches(ids, self.limits['have-ids']):
            bitmap = self.bulk('have', b''.join(some))
            known.update(one for i, one in enumerate(some) if bitmap[i // 8] >> (i % 8) & 1)
        return known

    def put(self, records):
        """Returns how many the server took over: all."""
        return json.loads(self.bulk('put', b''.join(frame(record) for record in records)))['records']

    def get(self, ids):
        """The objects, in turn, checked."""
        for some in batches(ids, self.limits['get-ids']):
            answer, at = self.bulk('get', b''.join(some)), 0
            for one in some:
                (length,) = struct.unpack_from('<I', answer, at)
                expect(length > 0, f'no object {one.hex()}: it may not be read, or has no good copy')
                yield decode_record(answer[at + 4 : at + 4 + length], one)
                at += 4 + length

    def commit(self, client):
        return self.api.call('POST', f'{self.sessions}/{self.id}/commit', {'client': client})

    def counters(self):
        return self.api.call('GET', f'{self.sessions}/{self.id}')['counters']

    def abort(self):
        self.api.call('DELETE', f'{self.sessions}/{self.id}')

    def hang_up(self):
        self.line.close()


def frame(record):
    return struct.pack('<I', len(record)) + record


def batches(things, size):
    things = list(things)
    return (things[at : at + size] for at in range(0, len(things), size))


class Backup:
    """Stores objects in a backup session, and goes on when the line is lost."""

    def __init__(self, open_session, cut, pause):
        self.open_session, self.cut, self.pause = open_session, cut, pause
        self.session, self.answered = open_session(), set()
        self.records, self.puts, self.reconnects, self.sessions = 0, 0, 0, 1

    def store(self, things):
        """Objects whose refs were stored before; the scope has them afterwards."""
        missing = {thing.id: thing for thing in things}
        for _ in range(5):
            try:
                return self.send({one: thing for one, thing in missing.items() if one not in self.answered})
            except (OSError, HTTPException):
                self.session.hang_up()
            self.reconnects += 1
        raise ConnectionError('the line breaks again and again')

    def send(self, missing):
        known = self.session.have(missing) if missing else set()
        self.answered |= known
        body, size = {}, 0
        for one, thing in missing.items():
            if one in known:
                continue
            record = encode_record(thing, one)
            if body and size + 4 + len(record) > self.session.limits['put-bytes']:
                self.put(body)
                body, size = {}, 0
            body[one] = record
            size += 4 + len(record)
        if body:
            self.put(body)

    def put(self, body):
        self.puts += 1
        if self.puts == self.pause:
            print('paused', flush=True)
            sys.stdin.readline()
        if self.puts == self.cut:
            self.break_off(body)
        self.records += self.session.put(body.values())
        self.answered |= set(body)

    def break_off(self, body):
        """Sends half of a put; the line ends in the middle of a record."""
        content, line = b''.join(frame(record) for record in body.values()), self.session.line
        line.putrequest('POST', f'/v1/{self.session.id}/put')
        for name, value in (('Authorization', f'Bearer {self.session.about["token"]}'), ('Content-Type', 'application/octet-stream')):
            line.putheader(name, value)
        line.putheader('Content-Length', str(len(content)))
        line.endheaders(content[: len(content) // 2])
        # A line that is reset takes with it what the server has not read yet.
        time.sleep(1)
        line.close()
        raise ConnectionError('cut')

    def everything(self, path):
        """Begins anew in a new session when the old one is gone: that adopts what the server still has of it, and `have` tells."""
        while True:
            try:
                return self.image(path)
            except Refused as refused:
                if refused.code != 'session-gone' or self.sessions == 3:
                    raise
                self.session.hang_up()
                self.session, self.answered = self.open_session(), set()
                self.sessions += 1

    def image(self, path):
        """Stores the pages of a file and the lists above them. Returns the length and the root."""
        entries, total = [], 0
        with open(path, 'rb') as file:
            while content := file.read(PAGE_BYTES):
                total += len(content)
                entries.append((len(content), self.page(content)))
        kind, height = PAGE, 0
        while height == 0 or len(entries) > 1:
            height += 1
            lists = [(sum(length for length, _ in some), encode_list(kind, height, some)) for some in batches(entries, LIST_ENTRIES) or [[]]]
            lists = lists or [(0, encode_list(kind, height, []))]
            self.store([thing for _, thing in lists])
            entries, kind = [(length, thing.id) for length, thing in lists], LIST
        return total, entries[0][1]

    def page(self, content):
        if is_zero(content):
            return None
        pieces = [(length, data and Object(DATA, (), data)) for length, data in cut_page(content, self.session.about['average-bytes'])]
        self.store([thing for _, thing in pieces if thing])
        page = encode_page([(length, thing and thing.id) for length, thing in pieces])
        self.store([page])
        return page.id


def back_up(api, options):
    kind, _, name = options.group.partition('/')
    asked = {'kind': 'backup', 'ns': options.ns, 'backup-type': kind, 'backup-id': name}
    backup = Backup(lambda: Session(api, options.store, asked), options.cut, options.pause)
    size, root = backup.everything(options.file)
    session, average = backup.session, backup.session.about['average-bytes']
    said = {
        'records': backup.records, 'reconnects': backup.reconnects, 'sessions': backup.sessions,
        'counters': session.counters(), 'adopted': session.about['adopted-objects'],
    }
    session.hang_up()
    if options.abort:
        session.abort()
        return said
    bases, counters = session.about['bases'], said['counters']
    base = bases[0]['manifest'] if bases else None
    chunker = {'algorithm': 'fixed-1', 'minBytes': average // 4, 'averageBytes': average, 'maxBytes': average * 4, 'cutSeed': '00' * 16}
    answer = session.commit({
        'backup': options.group,
        'clientTime': datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ'),
        'archives': [{'name': options.name, 'kind': 'image', 'sizeBytes': size, 'root': root.hex(), 'chunker': chunker}],
        'base': base and {'snapshot': bases[0]['name'], 'sequence': bases[0]['sequence']},
        'key': None,
        'statistics': {
            'bytesLogical': size, 'bytesRead': size, 'bytesSampled': 0, 'bytesNew': counters['bytes-new'],
            'objectsNew': counters['objects-new'], 'objectsReused': counters['objects-reused'], 'durationMs': 1,
        },
    })
    label = label_of(answer['manifest']['server']['time'])
    return {**said, 'snapshot': f'{options.group}/{label}', 'warnings': answer['warnings']}


def label_of(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


def list_snapshots(api, options):
    rows = api.call('GET', f'/admin/datastore/{options.store}/snapshots?ns={options.ns}')
    return {'snapshots': [f'{row["backup-type"]}/{row["backup-id"]}/{label_of(row["backup-time"])}' for row in rows]}


def restore(api, options):
    kind, name, label = options.snapshot.split('/')
    time = int(datetime.strptime(label, '%Y-%m-%dT%H:%M:%SZ').replace(tzinfo=timezone.utc).timestamp())
    session = Session(api, options.store, {'kind': 'read', 'ns': options.ns, 'backup-type': kind, 'backup-id': name, 'backup-times': [time]})
    client = session.about['manifests'][0]['client']
    archive = next(each for each in client['archives'] if each['name'] == options.name)
    expect(archive['kind'] in ('image', 'stream', 'blob'), 'an archive of a kind that this client does not know')
    with open(options.file, 'wb') as file:
        file.truncate(archive['sizeBytes'])
        write(session, file, 0, [(archive['sizeBytes'], bytes.fromhex(archive['root']))])
    session.hang_up()
    session.abort()
    return {'bytes': archive['sizeBytes']}


def write(session, file, offset, entries):
    """Writes what entries stand for, one behind the other; a hole is skipped."""
    objects = session.get({ref: None for _, ref in entries if ref})
    found = {}
    for length, ref in entries:
        while ref and ref not in found:
            thing = next(objects)
            found[thing.id] = thing
        thing = found.get(ref)
        if thing and thing.kind in (DATA, BLOB):
            expect(len(thing.payload) == length, 'data of another length')
            file.seek(offset)
            file.write(thing.payload)
        elif thing:
            children, _ = decode_entries(thing)
            expect(sum(part for part, _ in children) == length, 'a page or list of another length')
            write(session, file, offset, children)
        offset += length


def options_of(arguments):
    parser = argparse.ArgumentParser()
    for name in ('--server', '--fingerprint', '--token', '--store'):
        parser.add_argument(name, required=True)
    parser.add_argument('--ns', default='')
    commands = parser.add_subparsers(required=True)
    backup = commands.add_parser('backup')
    for name in ('group', 'name', 'file'):
        backup.add_argument(name)
    backup.add_argument('--cut', type=int, default=0)
    backup.add_argument('--pause', type=int, default=0)
    backup.add_argument('--abort', action='store_true')
    backup.set_defaults(command=back_up)
    commands.add_parser('list').set_defaults(command=list_snapshots)
    restoring = commands.add_parser('restore')
    for name in ('snapshot', 'name', 'file'):
        restoring.add_argument(name)
    restoring.set_defaults(command=restore)
    refusals = commands.add_parser('refusals')
    refusals.add_argument('group')
    return parser.parse_args(arguments)


def api_of(options):
    host, _, port = options.server.rpartition(':')
    return Api(host, int(port), options.fingerprint, options.token, os.environ['SECOND_CLIENT_SECRET'])


if __name__ == '__main__':
    chosen = options_of(sys.argv[1:])
    try:
        print(json.dumps(chosen.command(api_of(chosen), chosen)))
    except (Refused, ValueError, OSError, HTTPException) as error:
        sys.exit(f'second_client: {error}')
