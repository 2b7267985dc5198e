"""Bad requests, and what docs/protocol.md says about each. Usage: as second_client.py, with the command `refusals TYPE/ID`, a new group.

Prints a JSON list of {name, documented, answered}: status, code and what of `data` is documented.
"""
import json
import struct
import sys
from http.client import HTTPException

from second_client import Refused, Session, api_of, frame, options_of
from second_client_records import DATA, PAGE, Object, encode_list, encode_page, encode_record, seal_record

CASES = []
NEVER_SENT = bytes(range(32))
ONE = Object(DATA, (), b'one ' * 2000)
TWO = Object(DATA, (), bytes(range(256)) * 20)


def documented(status, code, **data):
    def add(case):
        CASES.append((case, {'status': status, 'code': code, **data}))
        return case
    return add


def record_of(thing):
    return encode_record(thing, thing.id)


def changed(thing, offset, value):
    """The record of an object with other bytes at an offset, and a checksum that holds."""
    record = bytearray(record_of(thing)[:-16])
    record[offset : offset + len(value)] = value
    return seal_record(bytes(record))


class Bench:
    """What bad requests are made with."""

    def __init__(self, api, options):
        self.api, self.store, self.ns = api, options.store, options.ns
        self.kind, _, self.name = options.group.partition('/')
        self.path = f'/admin/datastore/{options.store}/sessions'
        self.group = options.group
        self.session, self.part = self.open(), None

    def open(self, **other):
        asked = {'kind': 'backup', 'ns': self.ns, 'backup-type': self.kind, 'backup-id': self.name, **other}
        return Session(self.api, self.store, asked)

    def committed(self):
        """Makes the snapshot, once: an image of one piece."""
        if self.part is None:
            page = encode_page([(len(ONE.payload), ONE.id)])
            root = encode_list(PAGE, 1, [(len(ONE.payload), page.id)])
            self.session.put([record_of(ONE), record_of(page), record_of(root)])
            self.part = client_part(self, archive={'root': root.id.hex(), 'sizeBytes': len(ONE.payload)})
            self.manifest = self.session.commit(self.part)['manifest']
        return self.manifest

    def reader(self):
        return self.open(kind='read', **{'backup-times': [self.committed()['server']['time']]})

    def bulk(self, call='have', body=b'', method='POST', **headers):
        session = self.session
        ready = {'Authorization': f'Bearer {session.about["token"]}', 'Content-Type': 'application/octet-stream'}
        given = {name.replace('_', '-'): value for name, value in headers.items()}
        path = call if call.startswith('/') else f'/v1/{session.id}/{call}'
        return session.line.call(method, path, {k: v for k, v in {**ready, **given}.items() if v}, body)


# Section 1.
@documented(401, 'not-authenticated')
def a_token_with_another_secret(bench):
    right = bench.api.headers
    bench.api.headers = {**right, 'Authorization': right['Authorization'][:-4] + 'xxxx'}
    try:
        bench.open()
    finally:
        bench.api.headers = right


@documented(400, 'bad-argument')
def a_session_of_no_kind(bench):
    bench.open(kind='both')


@documented(400, 'bad-argument')
def a_group_of_no_type(bench):
    bench.open(**{'backup-type': 'disk'})


@documented(400, 'bad-argument')
def a_group_with_a_name_that_it_may_not_have(bench):
    bench.open(**{'backup-id': '../x'})


@documented(400, 'bad-argument')
def a_namespace_that_is_none(bench):
    bench.open(ns='a//b')


@documented(400, 'bad-argument')
def a_fingerprint_of_63_digits(bench):
    bench.open(fingerprint='a' * 63)


@documented(400, 'bad-argument')
def an_unknown_field(bench):
    bench.open(color='red')


@documented(400, 'bad-argument')
def a_read_session_of_no_snapshot(bench):
    bench.open(kind='read', **{'backup-times': []})


@documented(400, 'bad-argument')
def a_read_session_of_17_snapshots(bench):
    bench.open(kind='read', **{'backup-times': list(range(1, 18))})


@documented(404, 'not-found')
def a_read_session_of_a_snapshot_that_is_not_there(bench):
    bench.open(kind='read', **{'backup-times': [1]})


@documented(404, 'session-gone')
def the_counters_of_an_unknown_session(bench):
    bench.api.call('GET', f'{bench.path}/{"0" * 32}')


# Section 2.
@documented(401, 'not-authenticated')
def a_bulk_call_with_another_token(bench):
    bench.bulk(Authorization='Bearer ' + '0' * 64)


@documented(401, 'not-authenticated')
def a_bulk_call_without_a_token(bench):
    bench.bulk(Authorization=None)


@documented(404, 'session-gone')
def a_bulk_call_of_an_unknown_session(bench):
    bench.bulk(f'/v1/{"0" * 32}/have')


@documented(404, 'not-found')
def an_unknown_call(bench):
    bench.bulk('list')


@documented(404, 'not-found')
def another_path(bench):
    bench.bulk('/')


@documented(404, 'not-found')
def another_method(bench):
    bench.bulk(method='GET')


@documented(400, 'bad-argument')
def half_an_id(bench):
    bench.bulk('have', bytes(48))


@documented(400, 'bad-argument')
def half_an_id_to_get(bench):
    bench.bulk('get', bytes(48))


@documented(413, 'too-large')
def more_ids_than_have_takes(bench):
    bench.bulk('have', bytes(32 * (bench.session.limits['have-ids'] + 1)))


@documented(413, 'too-large')
def more_ids_than_get_takes(bench):
    bench.bulk('get', bytes(32 * (bench.session.limits['get-ids'] + 1)))


@documented(413, 'too-large')
def more_bytes_than_put_takes(bench):
    # Only said: who sends them all may be cut off before the answer is read.
    bench.bulk('put', b'', Content_Length=str(bench.session.limits['put-bytes'] + 1))


@documented(413, 'too-large', index=0)
def a_record_longer_than_records_may_be(bench):
    bench.bulk('put', struct.pack('<I', bench.session.limits['record-bytes'] + 1) + bytes(100))


@documented(200, None, records=2)
def a_body_in_chunks_of_no_type(bench):
    parts = (frame(record_of(thing)) for thing in (ONE, TWO))
    return json.loads(bench.bulk('put', parts, Content_Type=None))


@documented(400, 'bad-argument', index=1, id=None)
def a_body_in_chunks_that_ends_within_a_frame(bench):
    bench.bulk('put', iter([frame(record_of(ONE)), frame(record_of(TWO))[:-1]]))


@documented(400, 'object-damaged', index=0)
def a_bad_checksum(bench):
    record = record_of(ONE)
    bench.session.put([record[:-1] + bytes([record[-1] ^ 1])])


@documented(400, 'object-damaged', index=1, id=NEVER_SENT.hex())
def an_id_not_of_its_content(bench):
    bench.session.put([record_of(ONE), encode_record(TWO, NEVER_SENT)])


@documented(400, 'object-damaged', index=1)
def a_truncated_record(bench):
    bench.session.put([record_of(ONE), record_of(TWO)[:-30]])


@documented(400, 'object-damaged', index=0, id=None)
def a_record_too_short_for_an_id(bench):
    bench.session.put([record_of(ONE)[:40]])


@documented(400, 'object-damaged', index=0, id=None)
def an_empty_frame(bench):
    bench.session.put([b''])


@documented(400, 'bad-argument', index=1, id=None)
def a_body_that_ends_within_a_frame(bench):
    bench.bulk('put', frame(record_of(ONE)) + frame(record_of(TWO))[:-30])


@documented(400, 'bad-argument', index=1, id=None)
def a_body_that_ends_within_a_length(bench):
    bench.bulk('put', frame(record_of(ONE)) + b'\1\0')


@documented(400, 'out-of-scope', index=1, ref=NEVER_SENT.hex())
def a_ref_that_was_never_sent(bench):
    bench.session.put([record_of(ONE), record_of(encode_page([(100, NEVER_SENT)]))])


@documented(400, 'out-of-scope', index=0)
def a_page_before_its_data(bench):
    new = Object(DATA, (), b'new' * 100)
    bench.session.put([record_of(encode_page([(300, new.id)])), record_of(new)])


@documented(400, 'object-damaged', index=0)
def a_record_of_version_2(bench):
    bench.session.put([changed(TWO, 4, b'\2')])


@documented(400, 'object-damaged', index=0)
def a_record_of_kind_0(bench):
    bench.session.put([changed(TWO, 5, b'\0')])


@documented(400, 'object-damaged', index=0)
def data_that_names_objects(bench):
    bench.session.put([record_of(ONE), record_of(Object(DATA, (ONE.id,), b''))][1:])


@documented(400, 'object-damaged', index=0)
def a_codec_that_is_reserved(bench):
    bench.session.put([changed(TWO, 6, b'\2')])


@documented(400, 'object-damaged', index=0)
def an_encrypted_record_in_space_plain(bench):
    bench.session.put([changed(TWO, 7, b'\1')])


@documented(400, 'object-damaged', index=0)
def another_raw_length(bench):
    bench.session.put([changed(ONE, 16, struct.pack('<I', 7999))])


@documented(400, 'object-damaged', index=0)
def a_huge_raw_length(bench):
    bench.session.put([changed(ONE, 16, struct.pack('<I', 0xFFFFFFFF))])


@documented(400, 'object-damaged', index=0)
def no_zstd_where_the_codec_says_so(bench):
    record = record_of(Object(DATA, (), bytes([n * 7 & 255 ^ n >> 3 for n in range(40)])))
    bench.session.put([seal_record(record[:6] + b'\1' + record[7:-16])])


# Section 1: the commit, and what is after it.
def client_part(bench, **other):
    chunker = {'algorithm': 'fixed-1', 'minBytes': 16384, 'averageBytes': 65536, 'maxBytes': 262144, 'cutSeed': '00' * 16}
    empty = encode_list(PAGE, 1, [])
    bench.session.put([record_of(empty)])
    archive = {'name': 'a.img', 'kind': 'image', 'sizeBytes': 0, 'root': empty.id.hex(), 'chunker': chunker, **other.pop('archive', {})}
    statistics = {key: 0 for key in ('bytesLogical', 'bytesRead', 'bytesSampled', 'bytesNew', 'objectsNew', 'objectsReused', 'durationMs')}
    return {'backup': bench.group, 'clientTime': '2026-01-01T00:00:00Z', 'archives': [archive], 'base': None, 'key': None, 'statistics': statistics, **other}


@documented(400, 'bad-argument')
def a_manifest_of_another_group(bench):
    bench.session.commit(client_part(bench, backup='vm/99999'))


@documented(400, 'bad-argument')
def a_manifest_with_a_key(bench):
    bench.session.commit(client_part(bench, key='ab' * 32))


@documented(400, 'bad-argument')
def a_manifest_without_archives(bench):
    bench.session.commit(client_part(bench, archives=None))


@documented(400, 'out-of-scope')
def a_manifest_with_a_root_that_was_never_sent(bench):
    bench.session.commit(client_part(bench, archive={'root': NEVER_SENT.hex()}))


@documented(400, 'bad-argument')
def a_manifest_with_an_archive_of_no_kind(bench):
    bench.session.commit(client_part(bench, archive={'kind': 'disk'}))


@documented(400, 'bad-argument')
def a_manifest_without_chunker(bench):
    bench.session.commit(client_part(bench, archive={'chunker': None}))


@documented(400, 'bad-name')
def an_archive_name_of_no_kind(bench):
    bench.session.commit(client_part(bench, archive={'name': 'a.disk'}))


@documented(400, 'bad-argument')
def an_archive_whose_name_is_of_another_kind(bench):
    bench.session.commit(client_part(bench, archive={'name': 'a.conf'}))


@documented(413, 'too-large')
def a_manifest_over_1_mib(bench):
    bench.session.commit(client_part(bench, more='x' * (1 << 20)))


@documented(400, 'bad-argument')
def two_archives_of_one_name(bench):
    part = client_part(bench)
    bench.session.commit({**part, 'archives': part['archives'] * 2})


@documented(404, 'session-gone')
def a_commit_of_a_read_session(bench):
    bench.reader().commit(bench.part)


@documented(404, 'session-gone')
def a_bulk_call_after_the_commit(bench):
    bench.committed()
    bench.session.have([NEVER_SENT])


@documented(400, 'bad-argument')
def a_put_into_a_read_session(bench):
    bench.reader().put([record_of(ONE)])


@documented(404, 'session-gone')
def a_call_after_the_end_of_a_session(bench):
    session = bench.open()
    session.abort()
    session.have([NEVER_SENT])


@documented(200, None, lengths=[0, 1, 0, 1])
def an_object_to_get_that_nothing_has_named(bench):
    """First only the root may be read; its page is not before the root was served."""
    reader, page = bench.reader(), encode_page([(len(ONE.payload), ONE.id)])
    lengths = []
    for one in (page.id, bytes.fromhex(bench.part['archives'][0]['root']), NEVER_SENT, page.id):
        answer = reader.bulk('get', one)
        lengths.append(min(1, struct.unpack_from('<I', answer)[0]))
    return {'lengths': lengths}


@documented(200, None, same=True, other=True)
def a_commit_that_is_repeated(bench):
    answer = bench.session.commit(bench.part)
    base = bench.open().about['bases'][0]
    return {'same': answer['manifest'] == bench.manifest, 'other': base['manifest']['server']['session'] == bench.session.id}


def main():
    options = options_of(sys.argv[1:])
    bench, found = Bench(api_of(options), options), []
    for case, expected in CASES:
        try:
            answered = {'status': 200, 'code': None, **(case(bench) or {})}
        except Refused as refused:
            told = {key: refused.data.get(key) for key in expected if key not in ('status', 'code')}
            answered = {'status': refused.status, 'code': refused.code, **told}
        except (OSError, HTTPException) as error:
            answered = {'line': repr(error)}
        found.append({'name': case.__name__.replace('_', ' '), 'documented': expected, 'answered': answered})
    print(json.dumps(found))


if __name__ == '__main__':
    main()
