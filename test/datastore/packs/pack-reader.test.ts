import assert from 'node:assert/strict';
import { readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { test } from 'node:test';
import { PackReader } from '../../../src/datastore/packs/pack-reader.ts';
import { Arena } from '../../../src/util/arena.ts';
import { append, makeBuffer, randomRecord, Store } from '../fixture.ts';

const openPacks = (store: Store) =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(store.layout.packs);
    } catch {
      return false;
    }
  }).length;

test('reads records by place, buffered and past the page cache, at any alignment', async (t) => {
  const store = await Store.create(t);
  const { pack, appended } = store.sealedPack([1, 4000, 100_000, 3, 4096].map(randomRecord));
  const reader = new PackReader(store.layout, store.packs);
  t.after(() => reader.close());
  const { bytes } = new Arena(65536 + 400_000).allocate(300_000);
  for (const { offset, record } of appended) {
    assert.deepEqual(reader.read(pack, offset, record.length), record);
    const at = reader.readRange(pack, offset, record.length, bytes);
    assert.deepEqual(Buffer.from(bytes.subarray(at, at + record.length)), record);
  }
  const first = appended[0]!;
  const last = appended.at(-1)!;
  const length = last.offset + last.record.length - first.offset;
  const at = reader.readRange(pack, first.offset, length, bytes.subarray(0, length + 8192));
  for (const { offset, record } of appended) {
    const place = at + offset - first.offset;
    assert.deepEqual(Buffer.from(bytes.subarray(place, place + record.length)), record);
  }
});

test('follows a pack from .open to .pack to condemned/, with files open and without', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer());
  const { offset, record } = append(writer, randomRecord(500));
  writer.flush();
  const packId = store.packs.packId(writer.pack);
  const early = new PackReader(store.layout, store.packs);
  const read = (reader: PackReader) => assert.deepEqual(reader.read(writer.pack, offset, record.length), record);
  const readFresh = () => {
    const reader = new PackReader(store.layout, store.packs);
    read(reader);
    reader.close();
    read(early);
  };
  readFresh();
  writer.seal();
  readFresh();
  renameSync(store.layout.sealedPack(packId), store.layout.condemnedPack(packId));
  readFresh();
  rmSync(store.layout.condemnedPack(packId));
  read(early);
  early.close();
  assert.throws(() => read(new PackReader(store.layout, store.packs)), {
    code: 'object-missing',
    message: new RegExp(packId.toString('hex')),
  });
});

test('a truncated pack is damage, said with its name', async (t) => {
  const store = await Store.create(t);
  const { pack, packId, path, appended } = store.sealedPack([randomRecord(5000), randomRecord(9000)]);
  const [first, second] = appended as [(typeof appended)[0], (typeof appended)[0]];
  truncateSync(path, second.offset + 100);
  const reader = new PackReader(store.layout, store.packs);
  t.after(() => reader.close());
  const { bytes } = new Arena(65536 + 100_000).allocate(50_000);
  const error = { code: 'object-damaged', message: new RegExp(`${packId.toString('hex')}.*truncated`) };
  assert.throws(() => reader.read(pack, second.offset, second.record.length), error);
  assert.throws(() => reader.readRange(pack, second.offset, second.record.length, bytes), error);
  assert.deepEqual(reader.read(pack, first.offset, first.record.length), first.record);
  const at = reader.readRange(pack, first.offset, first.record.length, bytes);
  assert.deepEqual(Buffer.from(bytes.subarray(at, at + first.record.length)), first.record);
});

test('keeps a bounded number of files open, those used last, and closes them all', async (t) => {
  const store = await Store.create(t);
  const packs = Array.from({ length: 70 }, () => store.sealedPack([randomRecord(10)]));
  const reader = new PackReader(store.layout, store.packs);
  const before = openPacks(store);
  for (const { pack, appended } of [...packs, ...packs]) {
    reader.read(packs[0]!.pack, packs[0]!.appended[0]!.offset, 10);
    assert.deepEqual(reader.read(pack, appended[0]!.offset, appended[0]!.record.length), appended[0]!.record);
    assert.ok(openPacks(store) - before <= 64);
  }
  rmSync(packs[0]!.path);
  reader.read(packs[0]!.pack, packs[0]!.appended[0]!.offset, 10);
  reader.close();
  assert.equal(openPacks(store), before);
});

test('trouble of the process is not damage of the pack', async (t) => {
  const store = await Store.create(t);
  const { path, pack, appended } = store.sealedPack([randomRecord(10)]);
  const reader = new PackReader(store.layout, store.packs);
  rmSync(path);
  // A name that may not be looked up: what EMFILE, EACCES and ENOMEM have in common is that the record may be whole.
  symlinkSync(path, path);
  assert.throws(() => reader.read(pack, appended[0]!.offset, 10), { code: 'ELOOP' });
});
