// A store with encrypted and plain snapshots in a process that has no key: collection, verification, prune, accounting and repair work on
// kinds and refs, lose nothing, and tell damage without crashing.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import type { Work } from '../../../src/datastore/control/operation.ts';
import { collectGarbage } from '../../../src/datastore/gc/gc-operation.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { removePruned } from '../../../src/datastore/prune/prune-operation.ts';
import { repairStateFiles } from '../../../src/datastore/repair/state-files.ts';
import type { CommitResult } from '../../../src/datastore/sessions/session-commit.ts';
import type { VerifyReport } from '../../../src/datastore/verify/verify-store.ts';
import { parseNamespace } from '../../../src/schema/names.ts';
import {
  clientPart,
  commitImage,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  OWNER,
  putData,
  putPage,
} from '../../support/store.ts';

const KEY = deriveDataKey(Buffer.alloc(32, 1));
const OLD = ['shared by both', 'in the old one alone'.repeat(500)];
const NEW = ['shared by both', 'in the new one alone'];
const SILENT: Work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };

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

/** Another process, which never saw the key. */
async function withoutKey(): Promise<void> {
  await open.close();
  open = await OpenStore.open(root);
  assert.equal(open.store.source.canOpen(1), false);
}

async function verify(): Promise<VerifyReport> {
  const request = { snapshot: null, provedSinceMs: Date.now() + 1e9, rateLimitBytes: null };
  return await open.store.verify(request, { signal: NO_SIGNAL, onProgress: () => {} });
}

const collect = () => collectGarbage.run(open.store, { dryRun: false, audit: true, rateLimitBytes: null }, SILENT);

function chunksOf(space: number, image: ObjectId): string[] {
  const { source } = open.store;
  const page = Buffer.from(source.get(space, image).refs.subarray(0, 32)) as ObjectId;
  const { refs } = source.get(space, page);
  return Array.from({ length: refs.length / 32 }, (_, place) =>
    source.get(space, Buffer.from(refs.subarray(place * 32, place * 32 + 32)) as ObjectId).payload.toString(),
  );
}

/** Two snapshots of each space, of one group each. */
async function fillStore(): Promise<Record<'plain' | 'encrypted', (CommitResult & { root: ObjectId })[]>> {
  const made = { plain: [], encrypted: [] } as Record<'plain' | 'encrypted', (CommitResult & { root: ObjectId })[]>;
  for (const chunks of [OLD, NEW]) {
    made.plain.push(await commitImage(open, chunks));
    made.encrypted.push(await commitImage(open, chunks, 'vm/102', OWNER, KEY));
  }
  return made;
}

/** Spoils the record of an object in its pack. */
function damage(space: number, id: Uint8Array): void {
  const { index, packs } = open.store;
  const entry = index.first(space, id);
  const path = new Layout(root).sealedPack(packs.packId(index.pack(entry)));
  const bytes = readFileSync(path);
  bytes[index.offset(entry) + index.length(entry) - 20]! ^= 1;
  writeFileSync(path, bytes);
}

/** A committed stream of chunks in the encrypted space: a list right above data. */
async function commitStream(chunks: readonly string[]): Promise<{ ids: ObjectId[]; root: ObjectId }> {
  const session = await open.session('vm/103', OWNER, KEY);
  const ids: ObjectId[] = [];
  for (const chunk of chunks) ids.push(await putData(open, session, chunk));
  const entries = ids.map((id, place) => ({ length: chunks[place]!.length, id }));
  const { refs, payload } = encodeList({ childKind: Kind.data, height: 1, entries });
  const list = await session.put(Kind.list, refs, payload);
  const size = chunks.join('').length;
  const client = clientPart(list, size, 'vm/103', KEY);
  await session.commit({ ...client, archives: [{ ...client.archives[0]!, kind: 'stream' }] }, undefined, NO_SIGNAL);
  return { ids, root: list };
}

test('prune, collection, verification, accounting and repair need no key, and all comes back with it', async () => {
  const made = await fillStore();
  const unfinished = await open.session('vm/102', OWNER, KEY);
  const left = 'left by a backup that was cut off';
  await putPage(unfinished, [{ id: await putData(open, unfinished, left), length: left.length }]);
  await unfinished.suspend();
  await withoutKey();

  const accounting = await open.store.account(NO_SIGNAL, () => {});
  assert.equal(accounting.objectsUnreadable, 0);
  const figures = (group: string) =>
    accounting.snapshots.filter((each) => each.group === group).map((each) => each.bytesUnique);
  const [plain, encrypted] = [figures('vm/101'), figures('vm/102')] as [number[], number[]];
  for (const [place, bytes] of plain.entries())
    assert.equal(encrypted[place]! - bytes, 3 * 32, 'chunk, page and list of each are 32 bytes longer');

  const groups = [made.plain[0]!, made.encrypted[0]!].map(({ name }) => ({ group: name.group, times: [name.time] }));
  assert.equal((await removePruned.run(open.store, { ns: parseNamespace(''), groups }, SILENT)).removed, 2);
  const collected = await collect();
  assert.equal(collected.objectsLost, 0);
  const report = await verify();
  assert.deepEqual([report.damaged, report.objectsMissing, report.copiesDamaged], [[], 0, 0]);
  assert.ok(report.recordsEncrypted >= 4 && report.recordsEncrypted < report.recordsRead);
  const repaired = await open.store.repairPacks(false, NO_SIGNAL);
  assert.deepEqual([repaired.packs, repaired.copiesReleased], [[], 0]);

  await withoutKey();
  const retry = await open.session('vm/102', OWNER, KEY);
  assert.equal(retry.adoptedObjects, 2, 'leftovers were kept without the key');
  assert.deepEqual(chunksOf(1, made.encrypted[1]!.root), NEW);
  assert.deepEqual(chunksOf(PLAIN_SPACE, made.plain[1]!.root), NEW);
  const oldChunk = open.store.source.codec(1).id(Kind.data, new Uint8Array(0), Buffer.from(OLD[1]!));
  assert.equal(open.store.index.first(1, oldChunk), -1, 'what only the pruned snapshot had is gone');
});

test('damage of an encrypted image is told for all of it, of a plain one by range', async () => {
  const made = await fillStore();
  const page = open.store.source.get(1, made.encrypted[1]!.root).refs;
  const bad = Buffer.from(open.store.source.get(1, Buffer.from(page) as ObjectId).refs.subarray(32)) as ObjectId;
  const plainPage = open.store.source.get(0, made.plain[1]!.root).refs;
  const plainBad = Buffer.from(open.store.source.get(0, Buffer.from(plainPage) as ObjectId).refs.subarray(32));
  await withoutKey();
  damage(1, bad);
  damage(0, plainBad);
  const { damaged, copiesDamaged } = await verify();
  assert.equal(copiesDamaged, 2);
  const ranges = damaged.map(({ snapshot, ranges, withoutKey }) => [snapshot.slice(0, 6), ranges, withoutKey]);
  const sizeBytes = NEW.join('').length;
  assert.deepEqual(ranges, [
    ['vm/101', [{ offset: NEW[0]!.length, length: NEW[1]!.length }], undefined],
    ['vm/102', [{ offset: 0, length: sizeBytes }], true],
  ]);

  const session = await open.session('vm/102', OWNER, KEY);
  const damagedBase = session.bases.find((base) => base.damaged.length > 0);
  assert.deepEqual(damagedBase?.damaged, [{ archive: 'disk0.img', offset: NEW[0]!.length, length: NEW[1]!.length }]);
  assert.deepEqual(await putData(open, session, NEW[1]!), bad);
  assert.equal((await session.counters()).objectsNew, 1, 'what is damaged is stored anew');
  await session.suspend();
});

test('a lost chunk under an encrypted list does not keep a collection from its work, a lost page does', async () => {
  const { ids } = await commitStream(['one', 'two']);
  const made = await fillStore();
  await withoutKey();
  damage(1, ids[0]!);
  await verify();
  await open.store.forget(made.encrypted[0]!.name);
  await collect();
  const page = Buffer.from(open.store.source.refs(1, made.encrypted[1]!.root).refs) as ObjectId;
  damage(1, page);
  await verify();
  await assert.rejects(collect(), { code: 'object-damaged' });
});

test('a lost file of spaces comes back from the manifests, and the backup goes on in its space', async () => {
  const made = await fillStore();
  await open.close();
  const layout = new Layout(root);
  rmSync(layout.spaces);
  open = await OpenStore.open(root);
  await assert.rejects(open.session('vm/7', OWNER, deriveDataKey(Buffer.alloc(32, 9))), { code: 'datastore-damaged' });
  await open.close();
  assert.deepEqual(
    (await repairStateFiles(layout, true)).map(({ file }) => file),
    ['spaces'],
  );
  await repairStateFiles(layout, false);
  assert.deepEqual(await repairStateFiles(layout, false), []);
  open = await OpenStore.open(root);
  assert.equal((await open.session('vm/7', OWNER, KEY)).space, 1);
  assert.equal((await open.session('vm/7', OWNER, deriveDataKey(Buffer.alloc(32, 9)))).space, 2);
  assert.deepEqual(chunksOf(1, made.encrypted[0]!.root), OLD);
});
