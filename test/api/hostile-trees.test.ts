// Snapshots that a client made to harm the server: sizes that are lies, trees that do not end. Each is refused or cut off, and the thread that met it goes on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Content, type DirectoryEntry } from '../../src/chunker/directory.ts';
import { encodeList, type ListEntry } from '../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { PageBuilder } from '../../src/chunker/page.ts';
import { FileType, withSize } from '../../src/chunker/stat-block.ts';
import type { Archive } from '../../src/schema/manifest.ts';
import { commitTree, statOf, TreeObjects } from '../agent/tree/tree-archive.ts';
import { clientPart, NO_SIGNAL, type OpenStore } from '../support/store.ts';
import { ApiRig } from './rig.ts';

const STORE = '/admin/datastore/store1';
const MIB = 1024 * 1024;
const rig = new ApiRig();
let open: OpenStore;
let port = 0;

before(async () => {
  open = await rig.store('store1');
  rig.access.grant('reader@pbs', { '/datastore/store1': 'DatastoreReader' });
  await rig.app.listen({ host: '127.0.0.1', port: 0 });
  port = (rig.app.server.address() as AddressInfo).port;
});
after(async () => {
  await rig.close();
  assert.deepEqual(rig.bugs, []);
});

const base64 = (path: string): string => Buffer.from(path).toString('base64');

/** What comes of a download, up to some bytes: the status, how many came, and whether it came to its end. */
async function taken(path: string, query: object, mostBytes: number) {
  const request = get({
    ...{ host: '127.0.0.1', port, agent: false, headers: rig.headers('reader@pbs') },
    path: `/api2/json${STORE}/${path}?${new URLSearchParams(query as never)}`,
  });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let bytes = 0;
  let text = '';
  try {
    for await (const part of response) {
      bytes += (part as Buffer).length;
      if (text.length < 1000) text += String(part);
      if (bytes >= mostBytes) break;
    }
  } catch {
    // Cut off.
  }
  request.destroy();
  return { status: response.statusCode, bytes, text, isComplete: response.complete };
}

/** Commits these entries as a tree, and says how to ask for it. */
async function tree(id: string, objects: TreeObjects, entries: readonly DirectoryEntry[]): Promise<object> {
  await commitTree(open, objects, objects.root(objects.directory('', entries)), `host/${id}`);
  const [time] = await open.store.groups.times('' as never, `host/${id}` as never);
  return { 'backup-type': 'host', 'backup-id': id, 'backup-time': time };
}

async function image(id: string, kind: Archive['kind'], objects: TreeObjects, root: ObjectId, sizeBytes: number) {
  const session = await open.session(`vm/${id}`);
  for (const { kind: each, refs, payload } of objects.objects.values())
    await open.pool.call(0, 'store.put', { session: session.id, kind: each, refs, payload });
  const client = clientPart(root, sizeBytes, `vm/${id}`);
  const archives = client.archives.map((archive) => ({ ...archive, kind }));
  const { name } = await session.commit({ ...client, archives }, undefined, NO_SIGNAL);
  return { 'backup-type': 'vm', 'backup-id': id, 'backup-time': name.time, 'file-name': 'disk0.img' };
}

const listOf = (objects: TreeObjects, childKind: number, entries: readonly ListEntry[]): ObjectId => {
  const { refs, payload } = encodeList({ childKind, height: 1, entries });
  return objects.put(Kind.list, refs, payload);
};

/** A file whose list has these pieces, and whose entry says another size. */
function lying(objects: TreeObjects, name: string, sizeBytes: number, pieces: readonly ListEntry[]): DirectoryEntry {
  const stat = withSize(statOf({ mode: FileType.file | 0o644 }), sizeBytes);
  return objects.entry(name, Content.list, stat, { refs: listOf(objects, Kind.data, pieces) });
}

test('a file of another length than it says is never longer, and never looks whole', async () => {
  const objects = new TreeObjects();
  const bytes = Buffer.alloc(65536, 'x');
  const piece = { length: bytes.length, id: objects.put(Kind.data, new Uint8Array(0), bytes) };
  const where = await tree('lies', objects, [
    lying(objects, 'more', 5 * MIB, new Array(100).fill(piece)),
    lying(objects, 'less', 7 * MIB, new Array(100).fill(piece)),
    lying(objects, 'huge', 10 * MIB, [{ length: 2 ** 40, id: piece.id }]),
  ]);
  for (const name of ['more', 'less', 'huge']) {
    const said = name === 'more' ? 5 * MIB : name === 'less' ? 7 * MIB : 10 * MIB;
    const file = await taken('pxar-file-download', { ...where, filepath: base64(`/root.tree/${name}`) }, 2 ** 30);
    assert.ok(
      file.status === 400 || (file.bytes <= said && !file.isComplete),
      `${name}: ${JSON.stringify({ ...file })}`,
    );
    assert.ok(!(file.status === 200 && file.bytes === said && file.isComplete));
  }
  const tar = await taken('download', { ...where, 'file-name': 'root.tree' }, 2 ** 30);
  assert.ok(tar.status === 400 || !tar.isComplete);
});

test('a page of eight GiB, one that has more than its list says, and a piece that is longer than any are refused', async () => {
  for (const [id, kind, childKind, made] of [
    ['1', 'image', Kind.page, (objects: TreeObjects) => ({ length: 2 ** 33, id: page(objects, 2, 65536) })],
    ['2', 'image', Kind.page, (objects: TreeObjects) => ({ length: 65536, id: page(objects, 200, 65536) })],
    ['3', 'image', Kind.page, (objects: TreeObjects) => ({ length: 16 * MIB, id: page(objects, 2, 65536) })],
    ['4', 'stream', Kind.data, (objects: TreeObjects) => ({ length: 2 ** 40, id: data(objects, 65536) })],
  ] as const) {
    const objects = new TreeObjects();
    const entry = made(objects);
    const where = await image(id, kind, objects, listOf(objects, childKind, [entry]), entry.length);
    const { status, text } = await taken('download', where, 2 ** 30);
    assert.equal(status, 400, `${id}: ${text.slice(0, 100)}`);
    assert.match(text, /longer than any object|where its list says/, id);
  }
});

test('a hole of eight PiB in a stream is gone through no faster than it is taken, and in parts at once', async () => {
  const objects = new TreeObjects();
  const length = 2 ** 53 - 1;
  const where = await image('5', 'stream', objects, listOf(objects, Kind.data, [{ length, id: undefined }]), length);
  const { status, bytes } = await taken('download', where, 20 * MIB);
  assert.deepEqual([status, bytes >= 20 * MIB], [200, true]);
  const part = await rig.bytes('reader@pbs', `${STORE}/download`, { ...where }, { range: 'bytes=-10' });
  assert.deepEqual([part.status, part.bytes.length], [206, 10]);
});

test('a tree that is as deep as a well, and one that holds itself a thousand times over, end with their callers', async () => {
  const deep = new TreeObjects();
  let entry = deep.file('bottom', ['x']);
  for (let level = 0; level < 400; level++) entry = deep.directory('d'.repeat(250), [entry]);
  const well = await tree('deep', deep, [entry]);
  const tar = await taken('download', { ...well, 'file-name': 'root.tree' }, 2 ** 30);
  assert.ok(tar.status === 400 || !tar.isComplete, 'paths of 100 KB are none');

  const wide = new TreeObjects();
  let same = wide.directory('d', [wide.file('f', ['x'], { nlink: 1000 })]);
  for (let level = 0; level < 12; level++) {
    const { refs } = same;
    const entries = Array.from({ length: 10 }, (_, place) =>
      wide.entry(`d${place}`, Content.directory, same.stat, { refs }),
    );
    same = wide.directory('d', entries);
  }
  const many = await tree('many', wide, [same]);
  const some = await taken('pxar-file-download', { ...many, filepath: base64('/root.tree') }, 10_000);
  assert.equal(some.isComplete, false);
});

test('the thread that met all this answers at once', async () => {
  const objects = new TreeObjects();
  const where = await tree('good', objects, [objects.file('a', ['fine'])]);
  const startedMs = performance.now();
  const { text } = await taken('pxar-file-download', { ...where, filepath: base64('/root.tree/a') }, 100);
  assert.equal(text, 'fine');
  assert.ok(performance.now() - startedMs < 5000);
});

function data(objects: TreeObjects, length: number): ObjectId {
  return objects.put(Kind.data, new Uint8Array(0), Buffer.alloc(length, 'y'));
}

function page(objects: TreeObjects, count: number, length: number): ObjectId {
  const builder = new PageBuilder();
  const id = data(objects, length);
  for (let piece = 0; piece < count; piece++) builder.addData(length, id);
  const { refs, payload } = builder.finish();
  return objects.put(Kind.page, refs, payload);
}
