// Rule D3: after an unclean stop the good records of unsealed packs are copied, sealed and only then published.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Kind } from '../../../src/chunker/object.ts';
import { FLAG_DATA } from '../../../src/datastore/index/index-entry.ts';
import { type LoadedIndex, loadIndex } from '../../../src/datastore/index/load-index.ts';
import { holdersPackFiles } from '../../../src/datastore/packs/pack-files.ts';
import { decodePackHeader, PackKind } from '../../../src/datastore/packs/pack-format.ts';
import { PackReader } from '../../../src/datastore/packs/pack-reader.ts';
import type { PackWriter } from '../../../src/datastore/packs/pack-writer.ts';
import { type Recovery, recoverPacks } from '../../../src/datastore/packs/recover-packs.ts';
import { SharedBuffers } from '../../../src/util/shared-buffers.ts';
import { type Appended, append, footerOf, makeBuffer, makeRecord, randomRecord, Store } from '../fixture.ts';

async function recover(t: TestContext, store: Store): Promise<LoadedIndex & { recovery: Recovery }> {
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  const loaded = loadIndex(store.layout, store.storeId, shared, holdersPackFiles(store.layout));
  const recovery = await recoverPacks(store.layout, loaded.packs, loaded.index, { storeId: store.storeId, epoch: 9 });
  return { ...loaded, recovery };
}

function assertHolds(store: Store, { index, packs }: LoadedIndex, records: readonly Appended[]): void {
  const reader = new PackReader(store.layout, packs);
  for (const { space, id, record, kind } of records) {
    const entry = index.first(space, id);
    assert.ok(entry >= 0);
    assert.deepEqual(reader.read(index.pack(entry), index.offset(entry), index.length(entry)), record);
    assert.equal(index.has(entry, FLAG_DATA), kind === Kind.data);
    assert.ok(packs.isWhollyDurable(index.pack(entry)));
  }
  reader.close();
}

/** A process that ended without sealing: what it handed to the kernel is there. */
function abandon(writer: PackWriter): void {
  writer.flush();
  writer.close();
}

test('copies every good record, of any kind and space, keeps kind and session, and drops the old file', async (t) => {
  const store = await Store.create(t);
  const data = store.writer();
  const meta = store.writer(makeBuffer(), PackKind.metadata);
  const sealed = store.sealedPack([randomRecord(77)]);
  const records = [100, 0, 900_000, 5, 65_536].map((bytes, n) => append(data, randomRecord(bytes), n));
  data.barrier();
  records.push(append(data, randomRecord(4000)));
  records.push(append(meta, makeRecord(randomBytes(40), Kind.page, randomBytes(96)), 2));
  abandon(data);
  abandon(meta);
  const old = [data, meta].map((writer) => store.packs.packId(writer.pack));
  const { recovery, index, packs, ...rest } = await recover(t, store);
  assert.deepEqual(recovery, { packs: 2, records: 7, warnings: [] });
  assertHolds(store, { index, packs, ...rest }, [...records, ...sealed.appended]);
  assert.equal(index.count, 8);
  assert.deepEqual(store.condemnedFiles(), old.map((id) => `${id.toString('hex')}.pack`).sort());
  const names = store.packFiles();
  assert.equal(names.length, 3);
  for (const name of names.filter((each) => !sealed.path.endsWith(each))) {
    const header = decodePackHeader(readFileSync(`${store.layout.packs}/${name}`).subarray(0, 128));
    assert.deepEqual(header?.sessionId, Buffer.alloc(16, 5));
    assert.equal(header?.epoch, 9);
    assert.equal(
      header?.kind,
      footerOf(`${store.layout.packs}/${name}`)!.table.length === 48 ? PackKind.metadata : PackKind.data,
    );
  }
});

test('damaged records are left out, those around them are not', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  const records = [3000, 4000, 5000].map((bytes) => append(writer, randomRecord(bytes)));
  writer.barrier();
  const path = store.openPath(writer);
  abandon(writer);
  const bytes = readFileSync(path);
  bytes[records[1]!.offset + 500]! ^= 1;
  writeFileSync(path, bytes);
  const loaded = await recover(t, store);
  assert.equal(loaded.recovery.records, 2);
  assertHolds(store, loaded, [records[0]!, records[2]!]);
  assert.equal(loaded.index.first(0, records[1]!.id), -1);
});

test('again and again, and from any point where it was stopped: nothing is lost, nothing is published twice for long', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  const records = [100, 5000].map((bytes) => append(writer, randomRecord(bytes)));
  abandon(writer);
  const path = store.openPath(writer);
  const kept = `${store.layout.root}/kept`;
  copyFileSync(path, kept);
  const first = await recover(t, store);
  assert.equal(first.recovery.records, 2);
  const second = await recover(t, store);
  assert.deepEqual(second.recovery, { packs: 0, records: 0, warnings: [] });
  assertHolds(store, second, records);
  // Stopped after the copies were sealed, before the old file was dropped.
  renameSync(kept, path);
  const third = await recover(t, store);
  assert.equal(third.recovery.records, 2);
  assertHolds(store, third, records);
  // Stopped in the middle of the copying: the copy is itself an open pack.
  const copy = store.packFiles()[0]!;
  renameSync(`${store.layout.packs}/${copy}`, `${store.layout.packs}/${copy.replace('.pack', '.open')}`);
  const fourth = await recover(t, store);
  assertHolds(store, fourth, records);
  assert.ok(store.packFiles().every((name) => name.endsWith('.pack')));
});

test('a footer without its rename changes nothing: the pack is copied', async (t) => {
  const store = await Store.create(t);
  const { path, packId, appended } = store.sealedPack([randomRecord(100), randomRecord(50)]);
  renameSync(path, store.layout.openPack(packId));
  const loaded = await recover(t, store);
  assert.equal(loaded.recovery.records, 2);
  assertHolds(store, loaded, appended);
  assert.ok(!existsSync(store.layout.openPack(packId)));
});

test('a pack of another store is said and left alone', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer(), PackKind.data, Buffer.alloc(16, 0xab));
  append(writer, randomRecord(100));
  abandon(writer);
  const { recovery, index } = await recover(t, store);
  assert.equal(index.count, 0);
  assert.deepEqual([recovery.packs, recovery.records], [0, 0]);
  assert.match(recovery.warnings.join(), new RegExp(`${'ab'.repeat(16)}.*ignored`));
  assert.ok(existsSync(store.openPath(writer)));
});

test('files to which nothing was written go, and so does a pack without records', async (t) => {
  const store = await Store.create(t);
  const empty = Buffer.alloc(16, 1);
  const zeros = Buffer.alloc(16, 2);
  writeFileSync(store.layout.openPack(empty), '');
  writeFileSync(store.layout.openPack(zeros), Buffer.alloc(8192));
  const writer = store.writer();
  writer.barrier();
  writer.close();
  const { recovery, index } = await recover(t, store);
  assert.deepEqual(recovery, { packs: 3, records: 0, warnings: [] });
  assert.equal(index.count, 0);
  assert.deepEqual(store.packFiles(), []);
});

test('a pack whose header was damaged is not thrown away: it holds what only a repair can get back', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  append(writer, randomRecord(5000));
  abandon(writer);
  const path = store.openPath(writer);
  const bytes = readFileSync(path);
  bytes[40]! ^= 1;
  writeFileSync(path, bytes);
  const { recovery } = await recover(t, store);
  assert.match(recovery.warnings.join(), /header is damaged/);
  assert.deepEqual(readFileSync(path), bytes);
});

test('more than one pack takes goes into several', async (t) => {
  const store = await Store.create(t);
  const made = randomRecord(16 * 1024 * 1024);
  const writer = store.writer(makeBuffer(1 << 20));
  for (let n = 0; n < 9; n++) append(writer, made);
  abandon(writer);
  const { recovery, index } = await recover(t, store);
  assert.equal(recovery.records, 9);
  assert.equal(index.count, 9);
  assert.deepEqual(
    store
      .packFiles()
      .map((name) => footerOf(`${store.layout.packs}/${name}`)!.table.length / 48)
      .sort(),
    [1, 8],
  );
});
