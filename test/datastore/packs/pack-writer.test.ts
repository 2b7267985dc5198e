import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Kind } from '../../../src/chunker/object.ts';
import { BLOCK_BYTES, decodePackHeader, PACK_MAX_RECORDS } from '../../../src/datastore/packs/pack-format.ts';
import { PackState } from '../../../src/datastore/packs/pack-table.ts';
import {
  type Appended,
  append,
  appendFinished,
  footerOf,
  footerPlaces,
  makeBuffer,
  makeRecord,
  placeOf,
  randomRecord,
  Store,
  scanFile,
  standsIn,
} from '../fixture.ts';

test('records of all sizes, barriers anywhere: footer, scan and file agree, and durable blocks are never written again', async (t) => {
  const store = await Store.create(t);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 40_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 40_000, max: 400_000 }) },
    { weight: 2, arbitrary: fc.constantFrom('barrier' as const, 'flush' as const) },
  );
  // With room for a record that overhangs, and without.
  const buffers = [makeBuffer(), makeBuffer(65536, 0)];
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 25 }),
      fc.boolean(),
      fc.constantFrom(...buffers),
      (steps, sealed, buffer) => {
        const writer = store.writer(buffer);
        const open = store.openPath(writer);
        const appended: Appended[] = [];
        let durable = Buffer.alloc(0);
        const assertPrefix = (path: string) => {
          assert.ok(
            readFileSync(path).subarray(0, durable.length).equals(durable),
            'a durable block was written again',
          );
        };
        for (const each of steps) {
          if (typeof each === 'number') {
            const before = writer.end;
            const put = each % 2 === 0 ? append : appendFinished;
            appended.push(put(writer, randomRecord(each), each % 3));
            assert.equal(appended.at(-1)!.offset, before + 16);
          } else {
            writer[each]();
            assert.ok(store.packs.writtenEnd(writer.pack) >= writer.end, `${each} left something in the buffer`);
            if (each === 'flush') continue;
            assert.ok(writer.isDurable);
            assert.equal(writer.end % BLOCK_BYTES, 0);
            assert.equal(store.packs.durableEnd(writer.pack), writer.end);
            assertPrefix(open);
            durable = readFileSync(open);
            assert.deepEqual(scanFile(open), appended.map(placeOf));
          }
        }
        if (!sealed) {
          writer.close();
          assertPrefix(open);
          rmSync(open);
          return;
        }
        writer.seal();
        const path = store.sealedPath(writer);
        assertPrefix(path);
        assert.equal(store.packs.state(writer.pack), PackState.sealed);
        assert.ok(store.packs.isWhollyDurable(writer.pack));
        assert.equal(footerOf(path)!.fileLength, store.packs.durableEnd(writer.pack));
        assert.deepEqual(footerPlaces(path), appended.map(placeOf));
        assert.deepEqual(scanFile(path), appended.map(placeOf));
        for (const record of appended) assert.ok(standsIn(path, record));
        rmSync(path);
      },
    ),
    { numRuns: 25 },
  );
});

test('the largest record passes through a buffer a fraction of its size', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer(8192, 4096));
  const records = [100, 16 * 1024 * 1024, 1, 8192 - 128].map((bytes) => append(writer, randomRecord(bytes)));
  writer.seal();
  assert.deepEqual(scanFile(store.sealedPath(writer)), records.map(placeOf));
  assert.deepEqual(footerPlaces(store.sealedPath(writer)), records.map(placeOf));
  for (const record of records) assert.ok(standsIn(store.sealedPath(writer), record));
});

test('records that end at, just before and just behind every edge of the buffer', async (t) => {
  const store = await Store.create(t);
  const buffer = makeBuffer(8192, 4096);
  for (let bytes = 7950; bytes <= 8080; bytes += 3) {
    const writer = store.writer(buffer);
    const records = [bytes, 10, bytes].map((length) => append(writer, randomRecord(length)));
    writer.barrier();
    records.push(append(writer, randomRecord(3)));
    writer.seal();
    assert.deepEqual(scanFile(store.sealedPath(writer)), records.map(placeOf), `${bytes}`);
    for (const record of records) assert.ok(standsIn(store.sealedPath(writer), record));
  }
});

test('finished records have whole frames: a scan finds them without a checkpoint or a footer', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer(8192, 4096));
  const records = [0, 40, 5000, 7950, 30_000, 3].map((bytes) => appendFinished(writer, randomRecord(bytes)));
  writer.seal();
  const path = store.sealedPath(writer);
  assert.deepEqual(footerPlaces(path), records.map(placeOf));
  truncateSync(path, footerOf(path)!.footerOffset);
  assert.deepEqual(scanFile(path), records.map(placeOf));
});

test('the header says where the pack comes from', async (t) => {
  const store = await Store.create(t);
  const before = Date.now();
  const writer = store.writer(makeBuffer(), 2);
  writer.barrier();
  const header = decodePackHeader(readFileSync(store.openPath(writer)).subarray(0, 128));
  assert.ok(header !== undefined);
  assert.deepEqual(header.packId, store.packs.packId(writer.pack));
  assert.deepEqual(header.storeId, store.storeId);
  assert.deepEqual(header.sessionId, Buffer.alloc(16, 5));
  assert.equal(header.kind, 2);
  assert.equal(store.packs.kind(writer.pack), 2);
  assert.equal(header.epoch, 3);
  assert.ok(header.createdMs >= before && header.createdMs <= Date.now());
  const other = store.writer();
  other.barrier();
  const second = decodePackHeader(readFileSync(store.openPath(other)).subarray(0, 128));
  assert.notDeepEqual(second?.salt, header.salt);
  assert.notDeepEqual(second?.packId, header.packId);
});

test('nothing is durable, or written, before it is asked for', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  const record = append(writer, randomRecord(100));
  const end = record.offset + record.record.length;
  assert.ok(!writer.isEmpty && !writer.isDurable);
  assert.equal(statSync(store.openPath(writer)).size, 0);
  writer.flush();
  assert.ok(store.packs.writtenEnd(writer.pack) >= end);
  assert.ok(!writer.isDurable && !store.packs.isDurable(writer.pack, end));
  writer.barrier();
  assert.ok(writer.isDurable && store.packs.isDurable(writer.pack, end));
  const size = statSync(store.openPath(writer)).size;
  writer.barrier();
  writer.flush();
  assert.equal(statSync(store.openPath(writer)).size, size, 'a barrier with nothing new writes nothing');
  append(writer, randomRecord(1));
  assert.ok(!writer.isDurable);
});

test('each checkpoint names the one before it, and the records since then', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  const checkpoints: { at: number; records: number }[] = [];
  for (const records of [2, 0, 1, 90]) {
    for (let n = 0; n < records; n++) append(writer, randomRecord(20));
    writer.flush();
    // A table of up to 84 records makes a checkpoint of one block.
    checkpoints.push({ at: writer.end - (records > 84 ? 2 : 1) * BLOCK_BYTES, records });
    writer.barrier();
    checkpoints.push({ at: writer.end - BLOCK_BYTES, records: 0 });
  }
  const bytes = readFileSync(store.openPath(writer));
  const read = checkpoints.map(({ at }) => ({
    type: bytes[at + 4],
    records: bytes.readUInt32LE(at + 16),
    previous: Number(bytes.readBigUInt64LE(at + 24)),
  }));
  const places = [0, ...new Set(checkpoints.map(({ at }) => at))];
  for (const [n, { at, records }] of checkpoints.entries()) {
    if (checkpoints[n - 1]?.at === at) continue;
    assert.deepEqual(read[n], { type: 3, records, previous: places[places.indexOf(at) - 1] });
  }
  assert.ok(places.length > 5);
  writer.close();
});

test('an empty pack seals and reads back as empty', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  assert.ok(writer.isEmpty);
  writer.seal();
  assert.equal(footerOf(store.sealedPath(writer))!.table.length, 0);
  assert.deepEqual(scanFile(store.sealedPath(writer)), []);
});

test('a pack is full at 65,536 records, and its footer has them all', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer(1 << 20));
  const made = makeRecord(Buffer.alloc(0));
  for (let n = 0; n < PACK_MAX_RECORDS; n++) {
    assert.ok(!writer.isFull);
    append(writer, { ...made, id: made.id });
  }
  assert.ok(writer.isFull);
  writer.seal();
  assert.equal(footerOf(store.sealedPath(writer))!.table.length, PACK_MAX_RECORDS * 48);
});

test('a pack is full at 128 MiB', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer(4 << 20));
  const made = makeRecord(randomBytes(16 * 1024 * 1024), Kind.data);
  let last = 0;
  while (!writer.isFull) last = append(writer, made).offset;
  assert.ok(last < 128 * 1024 * 1024);
  assert.ok(writer.end >= 128 * 1024 * 1024);
  writer.close();
});

test('an encoder that throws leaves the pack as it was', async (t) => {
  const store = await Store.create(t);
  for (const buffer of [makeBuffer(), makeBuffer(8192, 64)]) {
    const writer = store.writer(buffer);
    const records = [append(writer, randomRecord(50))];
    const failing = () =>
      writer.append(0, randomBytes(32), 1, 8000, (target) => {
        target.fill(0xee);
        throw new Error('no');
      });
    assert.throws(failing, /no/);
    records.push(append(writer, randomRecord(60)));
    writer.seal();
    assert.deepEqual(scanFile(store.sealedPath(writer)), records.map(placeOf));
  }
});

test('a missing packs/ is a clear error', async (t) => {
  const store = await Store.create(t);
  rmSync(store.layout.packs, { recursive: true });
  assert.throws(() => store.writer(), { code: 'write-failed', message: /cannot create pack/ });
});

test("closing again never closes a descriptor that is somebody else's by now", async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  append(writer, randomRecord(10));
  writer.seal();
  const other = store.writer();
  const record = append(other, randomRecord(10));
  writer.close();
  other.seal();
  assert.deepEqual(scanFile(store.sealedPath(other)), [placeOf(record)]);
});
