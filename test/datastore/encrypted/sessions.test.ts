// Sessions with a key: a space for each owner and key, what is shared within it, and that nothing crosses its border, however hostile a
// client is.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { type DataKey, deriveDataKey } from '../../../src/chunker/data-key.ts';
import { Kind, type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { shortHash } from '../../../src/chunker/object-id.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import type { BackupSession } from '../../../src/datastore/sessions/backup-session.ts';
import { GroupStore } from '../../../src/datastore/snapshots/group-store.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { DurableDirectories } from '../../../src/util/durable-directories.ts';
import {
  clientPart,
  commitImage,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  OWNER,
  putData,
  putImage,
  putPage,
  putWholeImage,
} from '../../support/store.ts';

const KEY = deriveDataKey(Buffer.alloc(32, 1));
const OTHER_KEY = deriveDataKey(Buffer.alloc(32, 2));
const EVE = 'eve@pbs';
const CHUNKS = ['the first chunk', 'the second chunk', 'the third chunk'];
const NO_REFS = Buffer.alloc(0);
const ns = parseNamespace('');

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root);
});

afterEach(async () => {
  await open.crash();
  await remove();
});

/** The chunks of an image, read in this thread by id. */
function contentOf(space: number, image: ObjectId): string[] {
  const { source } = open.store;
  const page = Buffer.from(source.get(space, image).refs.subarray(0, 32)) as ObjectId;
  const { refs } = source.get(space, page);
  return Array.from({ length: refs.length / 32 }, (_, place) =>
    source.get(space, Buffer.from(refs.subarray(place * 32, place * 32 + 32)) as ObjectId).payload.toString(),
  );
}

async function counts(session: BackupSession): Promise<[number, number]> {
  const { objectsNew, objectsReused } = await session.counters();
  return [objectsNew, objectsReused];
}

const spacesText = (): string =>
  existsSync(new Layout(root).spaces) ? readFileSync(new Layout(root).spaces, 'utf8') : '';

/** A finished record of any content under any id. */
function forge(
  id: Uint8Array,
  key: DataKey | undefined,
  kind: number = Kind.data,
  payload = randomBytes(40),
  refs = NO_REFS,
): Buffer {
  const codec = createCodec(key);
  const target = Buffer.alloc(codec.recordBound(refs.length, payload.length));
  return target.subarray(0, codec.encode(target, { kind, id, refs, payload }));
}

/** An honest record. */
function honest(key: DataKey | undefined, payload: string): { id: ObjectId; record: Buffer } {
  const id = Buffer.from(createCodec(key).id(Kind.data, NO_REFS, Buffer.from(payload))) as ObjectId;
  return { id, record: forge(id, key, Kind.data, Buffer.from(payload)) };
}

const evesSession = (group = 'vm/666'): Promise<BackupSession> => open.session(group, EVE);
const claiming = (owner: string, key: DataKey, group: string): Promise<BackupSession> =>
  open.store.openSession({ ns, group: parseGroup(group), owner, compressionLevel: 1, fingerprint: key.fingerprint });

test('each owner and key has a space, its line durable before a session is there; plain sessions need none', async () => {
  assert.equal((await open.session('vm/1')).space, PLAIN_SPACE);
  assert.equal(spacesText(), '');
  const spaces = [];
  for (const [group, owner, key] of [
    ['vm/2', OWNER, KEY],
    ['vm/3', EVE, KEY],
    ['vm/4', OWNER, OTHER_KEY],
    ['vm/5', OWNER, KEY],
  ] as const) {
    spaces.push((await open.session(group, owner, key)).space);
    assert.equal(spacesText().split('\n').length - 1, Math.max(...spaces));
  }
  assert.deepEqual(spaces, [1, 2, 3, 1]);
  await open.close();
  open = await OpenStore.open(root);
  assert.equal((await open.session('vm/6', OWNER, OTHER_KEY)).space, 3);
});

test('what one owner stored with one key is known to all its groups, and to nobody else', async () => {
  await commitImage(open, CHUNKS, 'vm/1', OWNER, KEY);
  const put = async (group: string, owner: string, key: DataKey | undefined): Promise<[number, number]> => {
    const session = await open.session(group, owner, key);
    await putWholeImage(open, session, CHUNKS);
    return await counts(session);
  };
  assert.deepEqual(await put('vm/2', OWNER, KEY), [0, 5]);
  assert.deepEqual(await put('vm/3', OWNER, OTHER_KEY), [5, 0]);
  assert.deepEqual(await put('vm/4', OWNER, undefined), [5, 0]);
  assert.deepEqual(await put('vm/5', EVE, KEY), [5, 0]);
});

test('objects come back in this thread and in all others, and nowhere without the key', async () => {
  const { root: image, manifest } = await commitImage(open, CHUNKS, 'vm/1', OWNER, KEY);
  const { space } = manifest.server;
  assert.deepEqual(contentOf(space, image), CHUNKS);
  for (const thread of [0, 1]) {
    const { kind } = await open.pool.call<{ kind: number }>(thread, 'store.read', { space, id: image });
    assert.equal(kind, Kind.list);
  }
  await open.close();
  open = await OpenStore.open(root);
  const named = new RegExp(`key ${KEY.fingerprint.slice(0, 16)}; give --keyfile`);
  assert.throws(() => open.store.source.get(space, image), { code: 'key-missing', message: named });
  await assert.rejects(open.pool.call(1, 'store.read', { space, id: image }), { code: 'key-missing', message: named });
  assert.equal(open.store.source.refs(space, image).refs.length, 32);
});

test('no secret of the key is in any file of the store', async () => {
  await commitImage(open, CHUNKS, 'vm/1', OWNER, KEY);
  await (await open.session('vm/2', OWNER, KEY)).suspend();
  await open.close();
  const { execFileSync } = await import('node:child_process');
  const bytes = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 1 << 28 });
  for (const secret of [KEY.secret, KEY.idKey, KEY.encryptionKey, KEY.signatureKey, Buffer.from(KEY.cutSeed, 'hex')]) {
    assert.ok(!bytes.includes(Buffer.from(secret)));
    assert.ok(!bytes.includes(Buffer.from(secret).toString('hex')));
  }
  for (const chunk of CHUNKS) assert.ok(!bytes.includes(chunk));
  assert.ok(bytes.includes(KEY.fingerprint));
  open = await OpenStore.open(root);
});

test('a base is a snapshot of the same key, and leftovers are those of the same key', async () => {
  const plain = await commitImage(open, ['plain']);
  const first = await commitImage(open, CHUNKS, 'vm/101', OWNER, KEY);
  await commitImage(open, CHUNKS, 'vm/101', OWNER, OTHER_KEY);
  const unfinished = await open.session('vm/101', OWNER, KEY);
  await putData(open, unfinished, 'left behind');
  await unfinished.suspend();
  const rootsOf = (session: BackupSession) =>
    session.bases.flatMap(({ archives }) => archives.map((each) => each.root));
  const other = await open.session('vm/101', OWNER, OTHER_KEY);
  assert.equal(other.adoptedObjects, 0);
  assert.equal(rootsOf(other).length, 1);
  const inPlain = await open.session();
  assert.equal(inPlain.adoptedObjects, 0);
  assert.deepEqual(rootsOf(inPlain), [plain.root.toString('hex')]);
  const same = await open.session('vm/101', OWNER, KEY);
  assert.equal(same.adoptedObjects, 1);
  assert.deepEqual(rootsOf(same), [first.root.toString('hex')]);
  await assert.rejects(other.get(first.root), { code: 'object-missing' });
});

test('a manifest names the key of its session, and no other', async () => {
  const session = await open.session('vm/1', OWNER, KEY);
  const image = await putWholeImage(open, session, CHUNKS);
  for (const key of [undefined, OTHER_KEY])
    await assert.rejects(session.commit(clientPart(image.root, image.sizeBytes, 'vm/1', key), undefined, NO_SIGNAL), {
      code: 'bad-argument',
    });
  await session.commit(clientPart(image.root, image.sizeBytes, 'vm/1', KEY), undefined, NO_SIGNAL);
});

test('a group that changed its owner keeps its space, and the new owner goes on in it', async () => {
  await commitImage(open, CHUNKS, 'vm/1', OWNER, KEY);
  await commitImage(open, CHUNKS, 'vm/2', EVE, KEY);
  const groups = new GroupStore(new Layout(root), new DurableDirectories(root));
  const group = parseGroup('vm/1');
  await groups.writeState(ns, group, { ...(await groups.state(ns, group))!, owner: EVE });
  const session = await open.session('vm/1', EVE, KEY);
  assert.equal(session.space, 1);
  assert.equal(session.bases.length, 1);
  await putWholeImage(open, session, CHUNKS);
  assert.deepEqual(await counts(session), [0, 5]);
  assert.equal((await open.session('vm/3', EVE, KEY)).space, 2);
});

test('garbage under ids of somebody else, in a space of its own, harms nobody but who put it', async () => {
  const mine = await commitImage(open, CHUNKS, 'vm/1', OWNER, KEY);
  const codec = createCodec(KEY);
  const idOf = (text: string) => Buffer.from(codec.id(Kind.data, NO_REFS, Buffer.from(text))) as ObjectId;
  const page = open.store.source.get(1, mine.root).refs;
  for (const [key, group] of [
    [KEY, 'vm/666'],
    [OTHER_KEY, 'vm/667'],
  ] as const) {
    const eve = await claiming(EVE, key, group);
    for (const text of [...CHUNKS, 'stored later']) await eve.putRecord(forge(idOf(text), key));
    const list = forge(mine.root, key, Kind.list, randomBytes(16), Buffer.from(page));
    await assert.rejects(eve.putRecord(list), { code: 'out-of-scope' }, 'naming is no way to what others have');
    await eve.putRecord(forge(page, key, Kind.page));
    await eve.putRecord(list);
    await eve.commit(clientPart(mine.root, 10, group, key), undefined, NO_SIGNAL);
  }
  assert.deepEqual(contentOf(1, mine.root), CHUNKS);
  const next = await commitImage(open, [...CHUNKS, 'stored later'], 'vm/1', OWNER, KEY);
  assert.deepEqual(contentOf(1, next.root), [...CHUNKS, 'stored later']);
  assert.throws(() => contentOf(2, mine.root), { code: 'key-missing' });
  open.store.source.unlock(2, KEY);
  assert.throws(() => open.store.source.get(2, idOf(CHUNKS[0]!)), { code: 'object-damaged' });
  assert.deepEqual(contentOf(1, next.root), [...CHUNKS, 'stored later'], 'also after somebody saw the garbage');
});

test('plain garbage is refused by name, and nothing of it is kept', async () => {
  const eve = await evesSession();
  const { id } = honest(undefined, 'everybody has this');
  await assert.rejects(eve.putRecord(forge(id, undefined)), (error: { code: string; data: { id: string } }) => {
    assert.deepEqual([error.code, error.data.id], ['object-damaged', id.toString('hex')]);
    return true;
  });
  assert.equal(open.store.index.first(PLAIN_SPACE, id), -1);
  assert.deepEqual(await counts(eve), [0, 0]);
  const { root: image } = await commitImage(open, ['everybody has this']);
  assert.deepEqual(contentOf(PLAIN_SPACE, image), ['everybody has this']);
});

test('garbage in an own space under an id of space plain harms no plain reader', async () => {
  const eve = await claiming(EVE, KEY, 'vm/666');
  const { id } = honest(undefined, 'everybody has this');
  await eve.putRecord(forge(id, KEY));
  const { root: image } = await commitImage(open, ['everybody has this']);
  await eve.putRecord(forge(image, KEY, Kind.blob));
  await eve.commit({ ...clientPart(image, 40, 'vm/666', KEY) }, undefined, NO_SIGNAL);
  assert.deepEqual(contentOf(PLAIN_SPACE, image), ['everybody has this']);
});

test('garbage in the own space is told at the restore of who put it', async () => {
  const eve = await claiming(EVE, KEY, 'vm/666');
  const good = honest(KEY, 'good');
  const bad = Buffer.from(createCodec(KEY).id(Kind.data, NO_REFS, Buffer.from('bad'))) as ObjectId;
  assert.deepEqual(await eve.putRecord(good.record), good.id);
  await eve.putRecord(forge(bad, OTHER_KEY));
  await eve.suspend();
  open.store.source.unlock(1, KEY);
  assert.equal(open.store.source.get(1, good.id).payload.toString(), 'good');
  assert.throws(() => open.store.source.get(1, bad), { code: 'object-damaged', message: /another key/ });
});

test('a record of a client is put like any other object', async () => {
  for (const key of [undefined, KEY]) {
    const session = await open.session('vm/1', OWNER, key);
    const records = CHUNKS.map((chunk) => honest(key, chunk));
    for (const { id, record } of records) assert.deepEqual(await session.putRecord(record), id);
    for (const { record } of records) await session.putRecord(record);
    assert.deepEqual(await counts(session), [3, 3]);
    const pieces = records.map(({ id }, place) => ({ id, length: CHUNKS[place]!.length }));
    const sizeBytes = CHUNKS.join('').length;
    const image = await putImage(session, await putPage(session, pieces), sizeBytes);
    const { manifest } = await session.commit(clientPart(image, sizeBytes, 'vm/1', key), undefined, NO_SIGNAL);
    assert.deepEqual(contentOf(manifest.server.space, image), CHUNKS);
  }
});

test('what is not a record as its space takes it is refused', async () => {
  const reseal = (record: Buffer): Buffer => {
    shortHash(record.subarray(0, -16)).copy(record, record.length - 16);
    return record;
  };
  const withByte = (record: Buffer, at: number, value: number): Buffer => {
    const changed = Buffer.from(record);
    changed[at] = value;
    return reseal(changed);
  };
  for (const key of [undefined, KEY]) {
    const session = await open.session('vm/1', OWNER, key);
    const { id, record } = honest(key, 'a good record');
    const flipped = Buffer.from(record);
    flipped[60]! ^= 1;
    const refused = {
      'a wrong checksum': flipped,
      'cut short': record.subarray(0, -1),
      'with something behind it': Buffer.concat([record, Buffer.alloc(1)]),
      empty: Buffer.alloc(0),
      'of kind 0': withByte(record, 5, 0),
      'of an unknown codec': withByte(record, 6, 2),
      'of the other crypt': withByte(record, 7, key === undefined ? 1 : 0),
      'of an unknown crypt': withByte(record, 7, 2),
      'with a depth': withByte(record, 21, 1),
      'made for the other kind of space': honest(key === undefined ? KEY : undefined, 'a good record').record,
      'data with refs': forge(id, key, Kind.data, Buffer.from('x'), Buffer.alloc(32, 1)),
      ...(key === undefined ? {} : { 'with a raw length': withByte(record, 16, 1) }),
    };
    for (const [what, bytes] of Object.entries(refused))
      await assert.rejects(session.putRecord(bytes), { code: 'object-damaged' }, what);
    const unknown = forge(
      createCodec(key).id(Kind.page, Buffer.alloc(32, 1), Buffer.from('x')),
      key,
      Kind.page,
      Buffer.from('x'),
      Buffer.alloc(32, 1),
    );
    await assert.rejects(session.putRecord(unknown), { code: 'out-of-scope' });
    assert.deepEqual(await counts(session), [0, 0]);
    await session.putRecord(record);
  }
});

test('a session whose key only the client has takes finished records, and says so when asked for more', async () => {
  const session = await claiming(OWNER, KEY, 'vm/1');
  await assert.rejects(session.put(Kind.data, NO_REFS, Buffer.from('x')), { code: 'key-missing' });
  const { id, record } = honest(KEY, 'from afar');
  await session.putRecord(record);
  await assert.rejects(session.get(id), { code: 'key-missing' });
});
