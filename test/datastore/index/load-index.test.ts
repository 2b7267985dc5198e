import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { copyFileSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Kind } from '../../../src/chunker/object.ts';
import { DiskLocator } from '../../../src/datastore/index/disk-locator.ts';
import { FLAG_DATA } from '../../../src/datastore/index/index-entry.ts';
import { type LoadedIndex, loadIndex } from '../../../src/datastore/index/load-index.ts';
import { ObjectIndex } from '../../../src/datastore/index/object-index.ts';
import { writeIndexSnapshot } from '../../../src/datastore/index/snapshot-writer.ts';
import { ObjectSource } from '../../../src/datastore/object-source.ts';
import { holdersPackFiles, readersPackFiles } from '../../../src/datastore/packs/pack-files.ts';
import { PackKind } from '../../../src/datastore/packs/pack-format.ts';
import { PackReader } from '../../../src/datastore/packs/pack-reader.ts';
import { SharedBuffers } from '../../../src/util/shared-buffers.ts';
import { type Appended, append, makeBuffer, makeRecord, randomRecord, Store } from '../fixture.ts';

function load(t: TestContext, store: Store, leaveOnDisk?: (entries: number) => boolean): LoadedIndex {
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  return loadIndex(store.layout, store.storeId, shared, holdersPackFiles(store.layout), leaveOnDisk);
}

function assertReads(store: Store, { index, packs }: LoadedIndex, records: readonly Appended[]): void {
  const reader = new PackReader(store.layout, packs);
  for (const { space, id, record, kind } of records) {
    const entry = index.first(space, id);
    assert.ok(entry >= 0, 'an object is missing from the index');
    assert.deepEqual(reader.read(index.pack(entry), index.offset(entry), index.length(entry)), record);
    assert.equal(index.has(entry, FLAG_DATA), kind === Kind.data);
  }
  reader.close();
}

/** Two sealed packs in the snapshot, one newer, and an open one. */
async function populated(
  t: TestContext,
): Promise<{ store: Store; old: Appended[]; fresh: Appended[]; packIds: Buffer[] }> {
  const store = await Store.create(t);
  const first = store.sealedPack([10, 2000, 70_000].map(randomRecord));
  const second = store.sealedPack([makeRecord(randomBytes(20), Kind.page, randomBytes(64))], PackKind.metadata);
  const before = load(t, store);
  writeIndexSnapshot(store.layout, store.storeId, before.index, before.packs);
  const third = store.sealedPack([11, 12].map(randomRecord));
  const open = store.writer();
  append(open, randomRecord(5));
  open.barrier();
  open.close();
  return {
    store,
    old: [...first.appended, ...second.appended],
    fresh: third.appended,
    packIds: [first, second, third].map((each) => each.packId),
  };
}

test('without a snapshot: every footer; open packs are left to the caller', async (t) => {
  const { store, old, fresh } = await populated(t);
  writeFileSync(store.layout.indexSnapshot, 'no snapshot');
  const loaded = load(t, store);
  assert.equal(loaded.index.count, old.length + fresh.length);
  assert.equal(loaded.entriesBeyondSnapshot, loaded.index.count);
  assert.deepEqual(loaded.warnings, []);
  assertReads(store, loaded, [...old, ...fresh]);
  for (let pack = 0; pack < 3; pack++) assert.ok(loaded.packs.isWhollyDurable(pack));
  const { sealed, open } = holdersPackFiles(store.layout);
  assert.deepEqual([sealed.length, open.length], [3, 1]);
});

test('with a snapshot: it, and the footers of packs that it does not name', async (t) => {
  const { store, old, fresh } = await populated(t);
  const loaded = load(t, store);
  assert.equal(loaded.entriesBeyondSnapshot, fresh.length);
  assert.equal(loaded.index.count, old.length + fresh.length);
  assertReads(store, loaded, [...old, ...fresh]);
  assert.equal(loaded.snapshot, undefined);
});

test('a snapshot that turns out to be damaged, or misses a pack, is as good as none', async (t) => {
  const { store, old, fresh, packIds } = await populated(t);
  const bytes = readFileSync(store.layout.indexSnapshot);
  bytes[bytes.length - 5]! ^= 1;
  writeFileSync(store.layout.indexSnapshot, bytes);
  const damaged = load(t, store);
  assert.equal(damaged.entriesBeyondSnapshot, old.length + fresh.length);
  assertReads(store, damaged, [...old, ...fresh]);
  bytes[bytes.length - 5]! ^= 1;
  writeFileSync(store.layout.indexSnapshot, bytes);
  renameSync(store.layout.sealedPack(packIds[1]!), store.layout.condemnedPack(packIds[1]!));
  const without = load(t, store);
  assert.equal(without.index.count, old.length - 1 + fresh.length);
  assertReads(store, without, [...old.slice(0, -1), ...fresh]);
});

test('a damaged footer: the pack is scanned, and said', async (t) => {
  const { store, old, fresh, packIds } = await populated(t);
  const path = store.layout.sealedPack(packIds[0]!);
  truncateSync(path, old[2]!.offset + 50);
  const loaded = load(t, store);
  assert.match(loaded.warnings.join(), new RegExp(`${packIds[0]!.toString('hex')}.*footer is damaged`));
  assertReads(store, loaded, [old[0]!, old[1]!, old[3]!, ...fresh]);
  assert.equal(loaded.index.first(0, old[2]!.id), -1);
});

test('packs that are not ours, or not packs, are said and left alone', async (t) => {
  const store = await Store.create(t);
  const mine = store.sealedPack([randomRecord(9)]);
  const foreign = store.writer(makeBuffer(), PackKind.data, Buffer.alloc(16, 0xcd));
  const record = append(foreign, randomRecord(10));
  foreign.seal();
  const garbage = Buffer.alloc(16, 1);
  writeFileSync(store.layout.sealedPack(garbage), randomBytes(9000));
  const renamed = Buffer.alloc(16, 2);
  writeFileSync(store.layout.sealedPack(renamed), readFileSync(mine.path));
  writeFileSync(`${store.layout.packs}/notes.txt`, 'not a pack');
  const { index, warnings } = load(t, store);
  assert.equal(warnings.length, 3);
  assert.ok(warnings.some((each) => each.includes('cd'.repeat(16)) && each.includes('another datastore')));
  assert.ok(warnings.some((each) => each.includes(garbage.toString('hex')) && each.includes('not a pack')));
  assert.ok(warnings.some((each) => each.includes(renamed.toString('hex'))));
  assert.equal(index.first(0, record.id), -1);
  assert.equal(index.count, 1);
});

test('an empty store', async (t) => {
  const store = await Store.create(t);
  const { index, packs, warnings, entriesBeyondSnapshot } = load(t, store);
  assert.deepEqual([index.count, packs.count, warnings.length, entriesBeyondSnapshot], [0, 0, 0, 0]);
});

test('for a short command the snapshot stays on disk, and objects are found in both places', async (t) => {
  const { store, old, fresh } = await populated(t);
  const seen: number[] = [];
  const loaded = load(t, store, (entries) => seen.push(entries) > 0);
  assert.deepEqual(seen, [old.length]);
  assert.equal(loaded.index.count, fresh.length);
  assert.ok(loaded.snapshot !== undefined);
  t.after(() => loaded.snapshot?.close());
  const locator = new DiskLocator(loaded.snapshot, loaded.index);
  const source = new ObjectSource(locator, new PackReader(store.layout, loaded.packs));
  t.after(() => source.packs.close());
  for (const { id, kind } of [...old, ...fresh]) assert.equal(source.get(0, id).kind, kind);
  assert.throws(() => source.get(0, randomBytes(32) as never), { code: 'object-missing' });
  assert.throws(() => source.refs(1, old[0]!.id), { code: 'object-missing' });
});

test('on disk too, a copy that was found bad is not offered again, and the other one is', async (t) => {
  const store = await Store.create(t);
  const made = randomRecord(500);
  const first = store.sealedPack([made]);
  store.sealedPack([made]);
  const before = load(t, store);
  writeIndexSnapshot(store.layout, store.storeId, before.index, before.packs);
  store.sealedPack([made]);
  const loaded = load(t, store, () => true);
  t.after(() => loaded.snapshot?.close());
  const bytes = readFileSync(first.path);
  bytes[first.appended[0]!.offset + 70]! ^= 1;
  writeFileSync(first.path, bytes);
  const locator = new DiskLocator(loaded.snapshot!, loaded.index);
  assert.equal(locator.copies(0, made.id).length, 3);
  for (let left = 3; left > 0; left--) {
    const [copy, ...others] = locator.copies(0, made.id);
    assert.equal(others.length, left - 1);
    assert.equal(locator.length(copy!), made.record.length);
    locator.quarantine(copy!);
  }
  assert.deepEqual(locator.copies(0, made.id), []);
  const source = new ObjectSource(
    new DiskLocator(loaded.snapshot!, loaded.index),
    new PackReader(store.layout, loaded.packs),
  );
  assert.equal(source.get(0, made.id).payload.length, 500);
  source.packs.close();
});

test('an index that is attached elsewhere sees what was loaded', async (t) => {
  const { store, old } = await populated(t);
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  loadIndex(store.layout, store.storeId, shared, holdersPackFiles(store.layout));
  const view = ObjectIndex.attach(shared);
  for (const { id } of old) assert.ok(view.first(0, id) >= 0);
});

test('L1: a reader finds what is dropped while it looks, and a holder does not count it', async (t) => {
  const { store, old, fresh, packIds } = await populated(t);
  const files = readersPackFiles(store.layout);
  const holders = holdersPackFiles(store.layout);
  for (const packId of packIds) renameSync(store.layout.sealedPack(packId), store.layout.condemnedPack(packId));
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  const loaded = loadIndex(store.layout, store.storeId, shared, files);
  assert.equal(loaded.entriesBeyondSnapshot, fresh.length, 'the index snapshot still holds');
  assertReads(store, loaded, [...old, ...fresh]);
  const later = loadIndex(store.layout, store.storeId, shared, readersPackFiles(store.layout));
  assertReads(store, later, [...old, ...fresh]);
  assert.equal(loadIndex(store.layout, store.storeId, shared, holders).index.count, 0);
});

test('a pack is listed once, as sealed, when it is found under both names', async (t) => {
  const { store, packIds } = await populated(t);
  const [sealed, both] = [readersPackFiles(store.layout).sealed.length, packIds[0]!];
  copyFileSync(store.layout.sealedPack(both), store.layout.openPack(both));
  const files = readersPackFiles(store.layout);
  assert.equal(files.sealed.length, sealed);
  assert.ok(files.open.every((packId) => !packId.equals(both)));
});
