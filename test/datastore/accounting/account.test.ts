// Accounting on the real store, against a model that walks every tree in full and compares sets.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { ID_BYTES, type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { readAccounting } from '../../../src/datastore/accounting/accounting-file.ts';
import { presentSnapshots, usageOf } from '../../../src/datastore/accounting/present-snapshots.ts';
import { reportSpace } from '../../../src/datastore/accounting/space-report.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { NO_LIMITS } from '../../../src/datastore/limits/limits-file.ts';
import type { CommitResult } from '../../../src/datastore/sessions/session-commit.ts';
import type { Accounting } from '../../../src/schema/accounting-file.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { clientPart, createTemporaryStore, NO_SIGNAL, OpenStore, OWNER, putWholeImage } from '../../support/store.ts';

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

async function commit(ns: string, group: string, chunks: readonly string[]): Promise<CommitResult> {
  const session = await open.store.openSession({
    ns: parseNamespace(ns),
    group: parseGroup(group),
    owner: OWNER,
    compressionLevel: 1,
  });
  const image = await putWholeImage(open, session, chunks);
  // Labels of different groups follow each other too, so that it is clear which snapshot is the oldest.
  return await session.commit(clientPart(image.root, image.sizeBytes, group), 1_800_000_000 + ++labels, NO_SIGNAL);
}
let labels = 0;

/** Every object of a snapshot, with its bytes on disk. */
function objectsOf({ manifest }: CommitResult): Map<string, number> {
  const { index, source } = open.store;
  const found = new Map<string, number>();
  const pending = manifest.client.archives.map((archive) => Buffer.from(archive.root, 'hex') as ObjectId);
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (found.has(id.toString('hex'))) continue;
    found.set(id.toString('hex'), index.length(index.first(PLAIN_SPACE, id)));
    const { refs } = source.get(PLAIN_SPACE, id);
    for (let at = 0; at < refs.length; at += ID_BYTES)
      pending.push(Buffer.from(refs.subarray(at, at + ID_BYTES)) as ObjectId);
  }
  return found;
}

/** Bytes of objects that some of the sets have and none of the others. */
function onlyIn(some: readonly Map<string, number>[], others: readonly Map<string, number>[]): number {
  const all = new Map(some.flatMap((each) => [...each]));
  let bytes = 0;
  for (const [id, length] of all) if (!others.some((other) => other.has(id))) bytes += length;
  return bytes;
}

const count = (): Promise<Accounting> => open.store.account(NO_SIGNAL, assert.fail);
const report = () => reportSpace(new Layout(root), open.store.groups, NO_LIMITS, 1_800_000_000);
const rowOf = (accounting: Accounting, { name }: CommitResult) => {
  const row = accounting.snapshots.find((each) => each.group === name.group && each.time === name.time);
  assert.ok(row !== undefined);
  return row;
};

test('unique, exclusive, attributed and live bytes are those of the model, through groups and nested namespaces', async () => {
  const all = [
    await commit('', 'vm/1', ['everywhere', 'vm/1 always', 'vm/1 first']),
    await commit('', 'vm/1', ['everywhere', 'vm/1 always', 'vm/1 second']),
    await commit('a', 'vm/2', ['everywhere', 'in a', 'vm/2']),
    await commit('a/b', 'vm/3', ['everywhere', 'in a', 'in a/b', 'vm/3']),
    await commit('a/b', 'vm/4', ['in a/b', 'vm/1 second again', 'vm/1 first']),
    await commit('a/b', 'vm/4', ['in a/b', 'vm/1 second again', 'vm/1 first']),
  ];
  const accounting = await count();
  const sets = all.map(objectsOf);
  const select = (wanted: (ns: string, group: string) => boolean): [Map<string, number>[], Map<string, number>[]] => {
    const isIn = all.map(({ name }) => wanted(name.ns, name.group));
    return [sets.filter((_, place) => isIn[place]), sets.filter((_, place) => !isIn[place])];
  };
  all.forEach((snapshot, place) => {
    const row = rowOf(accounting, snapshot);
    assert.equal(row.bytesUnique, onlyIn([sets[place]!], sets.toSpliced(place, 1)), `unique of ${place}`);
    assert.equal(row.bytesAttributed, onlyIn([sets[place]!], sets.slice(0, place)), `attributed to ${place}`);
    assert.equal(row.bytesStored, snapshot.manifest.server.bytesStored);
  });
  assert.ok((rowOf(accounting, all[0]!).bytesStored as number) > 0);
  assert.equal(accounting.bytesLive, onlyIn(sets, []));
  assert.equal(accounting.objectsUnreadable, 0);
  const { groups, namespaces } = await report();
  assert.equal(groups.length, 4);
  for (const row of groups)
    assert.equal(
      row.bytesExclusive,
      onlyIn(...select((ns, group) => ns === row.ns && group === row.group)),
      row.group!,
    );
  for (const row of namespaces)
    assert.equal(
      row.bytesExclusive,
      onlyIn(...select((ns) => row.ns === '' || `${ns}/`.startsWith(`${row.ns}/`))),
      row.ns,
    );
});

test('each list and page is read a few times at most, however many snapshots share it', async () => {
  for (let n = 0; n < 20; n++) await commit('', 'vm/1', ['the same', 'each time']);
  assert.ok((await count()).metadataRead <= 4, 'once for the first snapshot, once when the second shares it');
});

test('unique is what forgetting frees', async () => {
  const first = await commit('', 'vm/1', ['shared', 'only in the first']);
  await commit('', 'vm/1', ['shared', 'only in the second']);
  const before = await count();
  await open.store.forget(first.name);
  const after = await count();
  assert.equal(before.bytesLive - after.bytesLive, rowOf(before, first).bytesUnique);
  assert.equal(
    after.bytesRecords - after.bytesLive,
    rowOf(before, first).bytesUnique,
    'it is pending until it is collected',
  );
});

test('status between two counts: later snapshots by what they stored, forgotten ones not at all, and both are said', async () => {
  const first = await commit('', 'vm/1', ['one']);
  assert.equal((await report()).accountedAt, null);
  const accounting = await count();
  const second = await commit('', 'vm/2', ['two']);
  await open.store.forget(first.name);
  const space = await report();
  assert.equal(space.accountedAt, accounting.time);
  assert.deepEqual([space.snapshotsSince, space.forgottenSince], [1, 1]);
  const { snapshots } = await presentSnapshots(open.store.groups, accounting);
  assert.equal(usageOf(snapshots).ownerBytes(OWNER), second.manifest.server.bytesStored);
  assert.equal(space.groups.length, 1);
});

test('a snapshot whose manifest was accounted is not read again', async () => {
  const { name } = await commit('', 'vm/1', ['one']);
  await count();
  writeFileSync(open.store.groups.manifestPath(name), 'not a manifest any more');
  assert.deepEqual((await report()).unreadableManifests, []);
  assert.equal((await report()).snapshotsSince, 0);
});

test('a damaged file of figures is as good as none', async () => {
  await commit('', 'vm/1', ['one']);
  await count();
  writeFileSync(join(root, 'accounting.json'), '{"format":1}');
  assert.equal(await readAccounting(new Layout(root)), undefined);
  assert.equal((await report()).snapshotsSince, 1);
});

test('no count while a garbage collection runs, nor two at once', async () => {
  await open.store.collectGarbage({ signal: NO_SIGNAL }, async () => {
    await assert.rejects(count(), { code: 'datastore-locked' });
  });
  await commit('', 'vm/1', ['one']);
  const counts = await Promise.allSettled([count(), count()]);
  assert.deepEqual(counts.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});
