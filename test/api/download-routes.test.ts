// Downloads of a real datastore: what the catalogue shows, each file that is listed, who gets what, and what is refused in which words.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { deriveDataKey } from '../../src/chunker/data-key.ts';
import { Content } from '../../src/chunker/directory.ts';
import { encodeList } from '../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { FileType } from '../../src/chunker/stat-block.ts';
import { commitTree, statOf, TreeObjects } from '../agent/tree/tree-archive.ts';
import { clientPart, commitImage, NO_SIGNAL, type OpenStore } from '../support/store.ts';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const STORE = '/admin/datastore/store1';
const MTIME = 1_600_000_000;
const rig = new ApiRig();
let open: OpenStore;
/** Of a disk, of a tree, of an encrypted disk. */
const times = { vm: 0, host: 0, locked: 0 };

const LARGE = Buffer.alloc(5 * 1024 * 1024 + 77, 'some text that is long enough ');

before(async () => {
  open = await rig.store('store1');
  for (const [user, role] of [
    ['anna@pbs', 'DatastoreBackup'],
    ['berta@pbs', 'DatastorePowerUser'],
    ['reader@pbs', 'DatastoreReader'],
    ['auditor@pbs', 'DatastoreAudit'],
  ] as const)
    rig.access.grant(user, { '/datastore/store1': role });
  rig.access.grant('anna@pbs!laptop', { '/datastore/store1': 'DatastoreBackup' });
  times.vm = (await commitImage(open, ['one', 'twotwo', 'x'.repeat(5000)], 'vm/101', 'anna@pbs')).name.time;
  times.locked = (
    await commitImage(open, ['secret'], 'vm/666', 'anna@pbs', deriveDataKey(Buffer.alloc(32, 1)))
  ).name.time;
  const objects = new TreeObjects();
  const root = objects.root(
    objects.directory('', [
      objects.file('a.txt', ['hello']),
      objects.file('empty', []),
      objects.file('large', [LARGE]),
      objects.file('sparse', ['begin', 3_000_000, 'end']),
      objects.file('\xff\xe4', ['no text']),
      objects.file('evil"\r\nname', ['evil']),
      objects.link('link', '/etc/passwd'),
      objects.node('pipe', FileType.fifo),
      objects.node('socket', FileType.socket),
      objects.node('disk', FileType.blockDevice, { major: 8, minor: 1 }),
      objects.entry('closed', Content.unreadable, statOf({ mode: FileType.file | 0o600 }), { errno: 13 }),
      objects.directory('dir', [objects.file('inner', ['inside']), objects.directory('none', [])]),
      objects.directory(
        'many',
        Array.from({ length: 5000 }, (_, place) =>
          objects.file(`file-${String(place).padStart(5, '0')}`, [String(place)]),
        ),
      ),
    ]),
  );
  await commitTree(open, objects, root, 'host/web', 'anna@pbs');
  [times.host = 0] = await open.store.groups.times('' as never, 'host/web' as never);
});
after(() => rig.close());

const TREE = () => ({ 'backup-type': 'host', 'backup-id': 'web', 'backup-time': times.host });
const DISK = () => ({ 'backup-type': 'vm', 'backup-id': '101', 'backup-time': times.vm });
const LOCKED = () => ({ 'backup-type': 'vm', 'backup-id': '666', 'backup-time': times.locked });
const base64 = (path: string): string => Buffer.from(path, 'latin1').toString('base64');

interface Row {
  readonly filepath: string;
  readonly text: string;
  readonly type: string;
  readonly leaf: boolean;
  readonly size?: number;
  readonly mtime?: number;
}

async function catalog(path: string, more: object = {}): Promise<Row[]> {
  const { status, text, json } = await rig.call(ROOT, 'GET', `${STORE}/catalog`, {
    ...TREE(),
    filepath: path,
    ...more,
  });
  assert.equal(status, 200, text);
  return json.data as Row[];
}

const fileOf = (path: string, who: string | undefined = ROOT, more: object = {}) =>
  rig.bytes(who, `${STORE}/pxar-file-download`, { ...TREE(), filepath: base64(path), ...more });

test('the catalogue shows the trees, and what a directory holds, by name and with its kind', async () => {
  const trees = [{ filepath: base64('/root.tree'), text: 'root.tree', type: 'd', leaf: false }];
  for (const top of ['root', '/', base64('/')]) assert.deepEqual(await catalog(top), trees);
  const rows = await catalog(base64('/root.tree'));
  assert.deepEqual(
    rows.map(({ text, type, leaf, size }) => [text, type, leaf, size]),
    [
      ['a.txt', 'f', true, 5],
      ['closed', 'f', true, 0],
      ['dir', 'd', false, undefined],
      ['disk', 'b', true, undefined],
      ['empty', 'f', true, 0],
      ['evil"\\x0d\\x0aname', 'f', true, 4],
      ['large', 'f', true, LARGE.length],
      ['link', 'l', true, undefined],
      ['many', 'd', false, undefined],
      ['pipe', 'p', true, undefined],
      ['socket', 's', true, undefined],
      ['sparse', 'f', true, 3_000_008],
      ['\\xff\\xe4', 'f', true, 7],
    ].map((row) => (row[0] === 'evil"\\x0d\\x0aname' ? [rows[5]?.text, ...row.slice(1)] : row)),
  );
  assert.ok(rows.every(({ mtime }) => mtime === MTIME));
  assert.equal(rows.at(-1)?.filepath, base64('/root.tree/\xff\xe4'));
  const inner = await catalog(rows.find(({ text }) => text === 'dir')?.filepath as string);
  assert.deepEqual(
    inner.map(({ filepath, text }) => [filepath, text]),
    [
      [base64('/root.tree/dir/inner'), 'inner'],
      [base64('/root.tree/dir/none'), 'none'],
    ],
  );
  assert.deepEqual(await catalog(base64('/root.tree/dir/none')), []);
});

test('with the name of the archive paths are below it, and go in as they came out', async () => {
  const rows = await catalog(base64('/dir'), { 'archive-name': 'root.tree' });
  assert.deepEqual(
    rows.map(({ filepath }) => filepath),
    [base64('/dir/inner'), base64('/dir/none')],
  );
  const { bytes } = await rig.bytes(ROOT, `${STORE}/pxar-file-download`, {
    ...TREE(),
    filepath: rows[0]?.filepath,
    'archive-name': 'root.tree',
  });
  assert.equal(bytes.toString(), 'inside');
});

test('a large directory comes whole, in both envelopes', async () => {
  const rows = await catalog(base64('/root.tree/many'));
  assert.equal(rows.length, 5000);
  assert.deepEqual([rows[0]?.text, rows[4999]?.text], ['file-00000', 'file-04999']);
  const query = new URLSearchParams({ ...TREE(), filepath: base64('/root.tree/many') } as never);
  const { json, headers } = await rig.app
    .inject({ method: 'GET', url: `/api2/extjs${STORE}/catalog?${query}`, headers: rig.headers(ROOT) })
    .then((answer) => ({ json: answer.json() as Record<string, unknown>, headers: answer.headers }));
  assert.deepEqual([json.success, json.status, (json.data as Row[]).length], [true, 200, 5000]);
  assert.equal(headers['content-type'], 'application/json;charset=UTF-8');
});

test('a file comes as it was, with its length, under a name that harms nobody', async () => {
  for (const [path, content] of [
    ['a.txt', Buffer.from('hello')],
    ['empty', Buffer.alloc(0)],
    ['large', LARGE],
    ['sparse', Buffer.concat([Buffer.from('begin'), Buffer.alloc(3_000_000), Buffer.from('end')])],
    ['\xff\xe4', Buffer.from('no text')],
    ['evil"\r\nname', Buffer.from('evil')],
  ] as const) {
    const { status, headers, bytes } = await fileOf(`/root.tree/${path}`);
    assert.equal(status, 200, path);
    assert.ok(bytes.equals(content), path);
    assert.equal(headers['content-length'], String(content.length));
    assert.equal(headers['content-type'], 'application/octet-stream');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.match(String(headers['content-disposition']), /^attachment; filename="[^"\\]*"; filename\*=UTF-8''\S*$/);
  }
});

test('a directory comes as tar with zstd, with and without `tar`', async () => {
  for (const tar of [true, false]) {
    const { status, headers, bytes } = await fileOf('/root.tree/dir', ROOT, { tar });
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/zstd');
    assert.match(String(headers['content-disposition']), /filename="dir\.tar\.zst"/);
    assert.equal(headers['content-length'], undefined);
    assert.equal(bytes.subarray(0, 4).toString('hex'), '28b52ffd');
  }
  assert.match(String((await fileOf('/root.tree')).headers['content-disposition']), /filename="root\.tree\.tar\.zst"/);
});

test('what has no content is refused by what it is', async () => {
  for (const [path, words] of [
    ['link', /a symbolic link to \/etc\/passwd, which is not followed/],
    ['pipe', /no regular file/],
    ['socket', /no regular file/],
    ['disk', /no regular file/],
    ['closed', /could not be read for the backup \(EACCES\)/],
    ['nowhere', /not in this archive/],
    ['a.txt/below', /not in this archive/],
    ['link/passwd', /not in this archive/],
  ] as const) {
    const { status, bytes } = await fileOf(`/root.tree/${path}`);
    assert.equal(status, 400, path);
    assert.match(bytes.toString(), words);
  }
  const listed = await rig.call(ROOT, 'GET', `${STORE}/catalog`, { ...TREE(), filepath: base64('/root.tree/a.txt') });
  assert.deepEqual([listed.status, /no directory/.test(listed.text)], [400, true], listed.text);
});

test('paths that climb, archives that are none, and what is no base64 are refused', async () => {
  for (const path of ['/root.tree/../../packs', '/../root.tree', '/root.tree/dir/./inner']) {
    const { status, bytes } = await fileOf(path);
    assert.deepEqual([status, /no name of a file/.test(bytes.toString())], [400, true], path);
  }
  assert.match((await fileOf('/other.tree/a')).bytes.toString(), /has no file 'other\.tree'/);
  assert.match((await fileOf('/')).bytes.toString(), /name a file/);
  const raw = await rig.call(ROOT, 'GET', `${STORE}/catalog`, { ...TREE(), filepath: '/root.tree/dir' });
  assert.match(raw.text, /'filepath': it is not base64/);
  const disk = await rig.call(ROOT, 'GET', `${STORE}/catalog`, { ...DISK(), filepath: base64('/disk0.img') });
  assert.match(disk.text, /no file tree/);
  for (const name of ['../manifest.json', 'group.json', 'manifest.json', '..', 'disk0.img/../x']) {
    const { status, bytes } = await rig.bytes(ROOT, `${STORE}/download`, { ...DISK(), 'file-name': name });
    assert.equal(status, 400, `${name}: ${bytes.toString().slice(0, 80)}`);
  }
});

test('every file that is listed can be downloaded, and is as long as the list says', async () => {
  for (const snapshot of [TREE(), DISK()]) {
    const { json } = await rig.call(ROOT, 'GET', `${STORE}/files`, snapshot);
    const files = json.data as { filename: string; size: number }[];
    assert.ok(files.length >= 2);
    for (const { filename, size } of files) {
      for (const path of ['download', 'download-decoded']) {
        const { status, headers, bytes } = await rig.bytes(ROOT, `${STORE}/${path}`, {
          ...snapshot,
          'file-name': filename,
        });
        assert.equal(status, 200, filename);
        if (filename.endsWith('.tree')) {
          assert.equal(headers['content-type'], 'application/x-tar');
          assert.equal(bytes.subarray(257, 262).toString(), 'ustar');
          assert.equal(bytes.length % 10240, 0);
        } else {
          assert.equal(bytes.length, size, filename);
          assert.equal(headers['content-length'], String(size));
        }
      }
    }
  }
});

test('a disk comes byte for byte, and in parts', async () => {
  const whole = Buffer.from(`onetwotwo${'x'.repeat(5000)}`);
  const ask = (headers: Record<string, string> = {}) =>
    rig.bytes(ROOT, `${STORE}/download`, { ...DISK(), 'file-name': 'disk0.img' }, headers);
  const all = await ask();
  assert.ok(all.bytes.equals(whole));
  assert.equal(all.headers['accept-ranges'], 'bytes');
  const etag = String(all.headers.etag);
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=2-8', 2, 9],
    ['bytes=-10', whole.length - 10, whole.length],
    ['bytes=5000-', 5000, whole.length],
  ] as const) {
    const part = await ask({ range, 'if-range': etag });
    assert.equal(part.status, 206);
    assert.ok(part.bytes.equals(whole.subarray(start, end)), range);
    assert.equal(part.headers['content-range'], `bytes ${start}-${end - 1}/${whole.length}`);
    assert.equal(part.headers['content-length'], String(end - start));
  }
  assert.equal((await ask({ range: 'bytes=0-0', 'if-range': '"other"' })).bytes.length, whole.length);
  const outside = await ask({ range: `bytes=${whole.length}-` });
  assert.deepEqual([outside.status, outside.headers['content-range']], [416, `bytes */${whole.length}`]);
});

test('the manifest comes as it is stored, and to owners without what it took on disk', async () => {
  const ask = async (who: string) => {
    const { bytes } = await rig.bytes(who, `${STORE}/download`, { ...DISK(), 'file-name': 'index.json.blob' });
    return { bytes, server: (JSON.parse(bytes.toString()) as { server: Record<string, unknown> }).server };
  };
  const name = { ns: '' as never, group: 'vm/101' as never, time: times.vm };
  const { bytes, server } = await ask(ROOT);
  assert.ok(bytes.equals(readFileSync(open.store.groups.manifestPath(name))));
  assert.equal(typeof server.bytesStored, 'number');
  assert.equal('bytesStored' in (await ask('anna@pbs')).server, false);
});

test('an encrypted snapshot is refused with the way to read it, and nothing of it but its manifest comes', async () => {
  for (const [path, more] of [
    ['catalog', { filepath: 'root' }],
    ['catalog', { filepath: base64('/disk0.img') }],
    ['pxar-file-download', { filepath: base64('/disk0.img/a') }],
    ['download', { 'file-name': 'disk0.img' }],
    ['download-decoded', { 'file-name': 'disk0.img' }],
  ] as const) {
    for (const who of [ROOT, 'anna@pbs']) {
      const { status, bytes } = await rig.bytes(who, `${STORE}/${path}`, { ...LOCKED(), ...more });
      assert.equal(status, 400, path);
      assert.match(bytes.toString(), /encrypted and the server has no key: use holdfast restore .*--keyfile/);
    }
  }
  const manifest = await rig.bytes(ROOT, `${STORE}/download`, { ...LOCKED(), 'file-name': 'index.json.blob' });
  assert.equal(manifest.status, 200);
});

const CALLS = [
  ['catalog', { filepath: 'root' }],
  ['pxar-file-download', { filepath: Buffer.from('/root.tree/a.txt').toString('base64') }],
  ['download', { 'file-name': 'root.tree' }],
  ['download', { 'file-name': 'index.json.blob' }],
  ['download-decoded', { 'file-name': 'root.tree' }],
] as const;

test('readers and the owner get it; to another owner it is not there; who may only look is refused', async () => {
  for (const [path, more] of CALLS) {
    const ask = async (who: string | undefined, id = 'web') => {
      const { status, bytes } = await rig.bytes(who, `${STORE}/${path}`, { ...TREE(), 'backup-id': id, ...more });
      return { status, text: status === 200 ? '' : bytes.toString().replaceAll(id, 'ID') };
    };
    for (const who of [ROOT, 'reader@pbs', 'anna@pbs']) assert.equal((await ask(who)).status, 200, `${who} ${path}`);
    for (const who of ['berta@pbs', 'anna@pbs!laptop']) {
      const theirs = await ask(who);
      assert.equal(theirs.status, 400);
      assert.deepEqual(theirs, await ask(who, 'nowhere'), `${who} ${path}`);
    }
    assert.equal((await ask('auditor@pbs')).status, 403);
    assert.equal((await ask(undefined)).status, 401);
  }
});

test('the log of a client: text and blob, once, by the owner; listed, and downloaded in both forms', async () => {
  const upload = (who: string, log: string | Buffer, id = '101') =>
    rig.upload(log, who, 'POST', `${STORE}/upload-backup-log`, { ...DISK(), 'backup-id': id });
  const refused = await upload('berta@pbs', 'mine');
  assert.equal(refused.status, 400);
  assert.equal(refused.text.replace('101', 'ID'), (await upload('berta@pbs', 'mine', '404')).text.replace('404', 'ID'));
  for (const who of ['auditor@pbs', 'reader@pbs']) assert.equal((await upload(who, 'mine')).status, 403, who);
  const ask = (path: string) =>
    rig.bytes('anna@pbs', `${STORE}/${path}`, { ...DISK(), 'file-name': 'client.log.blob' });
  assert.match((await ask('download')).bytes.toString(), /has no file 'client\.log\.blob'/);
  const done = await upload('anna@pbs', 'all went well\n');
  assert.deepEqual([done.status, done.json.data], [200, null], done.text);
  assert.match((await upload('anna@pbs', 'another')).text, /has a log already/);
  assert.equal((await ask('download-decoded')).bytes.toString(), 'all went well\n');
  assert.equal((await ask('download-decoded')).headers['content-type'], 'text/plain;charset=UTF-8');
  const blob = (await ask('download')).bytes;
  assert.equal(blob.subarray(0, 8).toString('hex'), '42ab3807be8370a1');
  const { json } = await rig.call(ROOT, 'GET', `${STORE}/files`, DISK());
  assert.deepEqual((json.data as unknown[]).at(-1), { filename: 'client.log.blob', size: blob.length });
  const asJson = await rig.call('anna@pbs', 'POST', `${STORE}/upload-backup-log`, DISK());
  assert.equal(asJson.status, 400);
});

test('lost objects end a download that has begun, and are an answer before that', async () => {
  const session = await open.session('vm/7', 'anna@pbs');
  const hole = await session.put(Kind.list, ...listOf([{ length: 4096, id: undefined }]));
  await session.commit(clientPart(hole, 5000, 'vm/7'), undefined, NO_SIGNAL);
  const [time = 0] = await open.store.groups.times('' as never, 'vm/7' as never);
  const where = { 'backup-type': 'vm', 'backup-id': '7', 'backup-time': time, 'file-name': 'disk0.img' };
  const { status, bytes } = await rig.bytes(ROOT, `${STORE}/download`, where);
  assert.equal(status, 400);
  assert.match(bytes.toString(), /holds 4096 bytes where its manifest says 5000/);
});

function listOf(entries: readonly { length: number; id: ObjectId | undefined }[]): [Uint8Array, Uint8Array] {
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  return [refs, payload];
}

test('nothing of all this was a mistake of the server', () => {
  assert.deepEqual(rig.bugs, []);
});
