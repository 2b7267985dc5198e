// The index snapshot on disk: writer and reader against each other, and every reason to ignore it.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { insertEntry } from '../../../src/datastore/index/load-index.ts';
import { ObjectIndex } from '../../../src/datastore/index/object-index.ts';
import {
  bucketOf,
  decodeSnapshotHead,
  encodeSnapshotHead,
  fanoutBitsFor,
  headBytes,
  type SnapshotHead,
} from '../../../src/datastore/index/snapshot-format.ts';
import { IndexSnapshot } from '../../../src/datastore/index/snapshot-reader.ts';
import { writeIndexSnapshot } from '../../../src/datastore/index/snapshot-writer.ts';
import { holdersPackFiles } from '../../../src/datastore/packs/pack-files.ts';
import { PackState } from '../../../src/datastore/packs/pack-table.ts';
import { SharedBuffers } from '../../../src/util/shared-buffers.ts';
import { referenceBlake3 } from '../../chunker/reference-blake3.ts';
import { randomRecord, Store } from '../fixture.ts';

interface Row {
  readonly id: Buffer;
  readonly space: number;
  readonly pack: number;
  readonly offset: number;
  readonly length: number;
}

const rowText = ({ id, space, pack, offset, length }: Row) =>
  `${id.toString('hex')} ${space} ${pack} ${offset} ${length}`;

/** A store with three sealed packs and an index of invented entries in them; every tenth object has two copies. */
async function filled(t: TestContext, objects: number): Promise<{ store: Store; index: ObjectIndex; rows: Row[] }> {
  const store = await Store.create(t);
  for (let n = 0; n < 3; n++) store.sealedPack([randomRecord(n)], 1 + (n % 2));
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  const index = ObjectIndex.create(shared, objects);
  const rows: Row[] = [];
  for (let n = 0; n < objects; n++) {
    const id = randomBytes(32);
    // Some differ late only: sorting must look at every byte.
    if (n % 7 === 0) id.fill(0x81, 0, 4 + (n % 4) * 8);
    const row = { id, space: n % 4, pack: n % 3, offset: 128 + n, length: 1 + (n % 5000) };
    rows.push(row);
    if (n % 10 === 0) rows.push({ ...row, pack: (n + 1) % 3 });
  }
  for (const row of rows) insertEntry(index, row.pack, { ...row, kind: 1, depth: 0 });
  return { store, index, rows };
}

function readAll(snapshot: IndexSnapshot): Row[] | undefined {
  const rows: Row[] = [];
  const whole = snapshot.readAll((entries, count) => {
    // The buffer behind the words is used again.
    const bytes = Buffer.from(Buffer.from(entries.buffer, entries.byteOffset, count * 48));
    for (let at = 0; at < bytes.length; at += 48) {
      rows.push({
        id: bytes.subarray(at, at + 32),
        space: bytes.readUInt32LE(at + 32),
        pack: bytes.readUInt32LE(at + 36),
        offset: bytes.readUInt32LE(at + 40),
        length: bytes.readUInt32LE(at + 44) & 0x1ffffff,
      });
    }
  });
  return whole ? rows : undefined;
}

for (const objects of [0, 1, 63, 65, 300, 5000, 30_000]) {
  test(`what was written is read: ${objects} objects`, async (t) => {
    const { store, index, rows } = await filled(t, objects);
    const length = writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
    assert.equal(readFileSync(store.layout.indexSnapshot).length, Math.max(length, 4096));
    const snapshot = IndexSnapshot.open(store.layout, store.storeId, holdersPackFiles(store.layout));
    assert.ok(snapshot !== undefined);
    t.after(() => snapshot.close());
    assert.equal(snapshot.head.entryCount, rows.length);
    assert.equal(snapshot.head.fanoutBits, fanoutBitsFor(rows.length));
    assert.deepEqual(
      snapshot.head.packs.map(({ packId, kind }) => [packId, kind]),
      [0, 1, 2].map((pack) => [store.packs.packId(pack), 1 + (pack % 2)]),
    );
    const found = readAll(snapshot)!;
    assert.deepEqual(found.map(rowText).sort(), rows.map(rowText).sort());
    const order = (a: Row, b: Row) =>
      Buffer.compare(a.id, b.id) || a.space - b.space || a.pack - b.pack || a.offset - b.offset;
    assert.deepEqual(found, [...found].sort(order), 'sorted by id, space, pack, offset');
    for (const row of rows.slice(0, 300)) {
      const copies = rows.filter((other) => other.id === row.id);
      const read: string[] = snapshot
        .find(row.space, row.id)!
        .map(({ space, pack, offset, lengthAndFlags }) =>
          rowText({ id: row.id, space, pack, offset, length: lengthAndFlags & 0x1ffffff }),
        );
      assert.deepEqual(read.sort(), copies.map(rowText).sort());
      assert.deepEqual(snapshot.find(row.space + 1, row.id), []);
    }
    assert.deepEqual(snapshot.find(0, randomBytes(32)), []);
  });
}

test('the file is what docs/format.md says', async (t) => {
  const { store, index, rows } = await filled(t, 100);
  writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
  const bytes = readFileSync(store.layout.indexSnapshot);
  const bits = 1;
  assert.equal(bytes.toString('latin1', 0, 8), 'HOLDINDX');
  assert.deepEqual([bytes.readUInt16LE(8), bytes[10], bytes[11], bytes.readUInt32LE(12)], [1, bits, 0, 3]);
  assert.equal(bytes.readBigUInt64LE(16), BigInt(rows.length));
  assert.deepEqual(bytes.subarray(24, 40), store.storeId);
  assert.equal(bytes.readBigUInt64LE(40), 4096n);
  assert.ok(bytes.subarray(48, 112).every((byte) => byte === 0));
  const fanoutAt = 128 + 3 * 48;
  const headEnd = fanoutAt + 2 ** bits * 8;
  const check = referenceBlake3(Buffer.concat([bytes.subarray(0, 112), bytes.subarray(128, headEnd)]));
  assert.deepEqual(bytes.subarray(112, 128), check.subarray(0, 16));
  const low = rows.filter((row) => row.id[0]! < 128).length;
  assert.equal(bytes.readUInt32LE(fanoutAt), low);
  assert.equal(bytes.readUInt32LE(fanoutAt + 8), rows.length);
  assert.equal(bytes.readUInt32LE(fanoutAt + 4), crc32(bytes.subarray(4096, 4096 + low * 48)));
  assert.equal(bytes.readUInt32LE(fanoutAt + 12), crc32(bytes.subarray(4096 + low * 48)));
  assert.equal(bytes.length, 4096 + rows.length * 48);
});

test('buckets are the first bits of an id; the fan-out follows the number of entries', () => {
  const id = Buffer.from('b7c5', 'hex');
  assert.deepEqual(
    [0, 1, 2, 4, 8, 12, 16].map((bits) => bucketOf(id, bits)),
    [0, 1, 2, 0xb, 0xb7, 0xb7c, 0xb7c5],
  );
  assert.equal(bucketOf(Buffer.from('ffb7c5', 'hex'), 16, 1), 0xb7c5);
  assert.deepEqual([0, 64, 65, 128, 129, 64 * 65536, 2 ** 27].map(fanoutBitsFor), [0, 0, 1, 1, 2, 16, 16]);
});

test('a head round-trips for any fan-out, and any flipped bit makes it none', () => {
  for (const fanoutBits of [0, 1, 7, 16]) {
    const buckets = 2 ** fanoutBits;
    const pack = { packId: randomBytes(16), footerMac: randomBytes(16), fileLength: 2 ** 40, recordCount: 9, kind: 2 };
    const head: SnapshotHead = {
      storeId: randomBytes(16),
      fanoutBits,
      entryCount: buckets,
      entriesOffset: headBytes(2, fanoutBits),
      packs: [pack, pack],
      ends: Uint32Array.from({ length: buckets }, (_, n) => n + 1),
      checks: Uint32Array.from({ length: buckets }, (_, n) => n * 77),
    };
    const bytes = encodeSnapshotHead(head);
    assert.deepEqual(decodeSnapshotHead(bytes), head);
    assert.equal(decodeSnapshotHead(bytes.subarray(0, -1)), undefined);
    const end = 128 + 2 * 48 + buckets * 8;
    for (let bit = 0; bit < end * 8; bit += fanoutBits > 7 ? 40_009 : 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(decodeSnapshotHead(changed), undefined, `bit ${bit}`);
    }
  }
});

test('a snapshot that does not belong to what is there is ignored', async (t) => {
  const { store, index } = await filled(t, 500);
  writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
  const path = store.layout.indexSnapshot;
  const opens = () => {
    const snapshot = IndexSnapshot.open(store.layout, store.storeId, holdersPackFiles(store.layout));
    snapshot?.close();
    return snapshot !== undefined;
  };
  const during = (what: string, change: () => void, back: () => void) => {
    assert.ok(opens());
    change();
    assert.ok(!opens(), what);
    back();
  };
  const bytes = readFileSync(path);
  const restore = () => writeFileSync(path, bytes);
  assert.equal(
    IndexSnapshot.open(store.layout, randomBytes(16), holdersPackFiles(store.layout)),
    undefined,
    'of another store',
  );
  during('gone', () => rmSync(path), restore);
  during('empty', () => writeFileSync(path, ''), restore);
  during('cut in its head', () => writeFileSync(path, bytes.subarray(0, 4000)), restore);
  during('another version', () => writeFileSync(path, Buffer.from(bytes).fill(2, 8, 9)), restore);
  const pack = store.layout.sealedPack(store.packs.packId(1));
  const packBytes = readFileSync(pack);
  const packBack = () => writeFileSync(pack, packBytes);
  during(
    'a pack is gone',
    () => renameSync(pack, `${pack}.away`),
    () => renameSync(`${pack}.away`, pack),
  );
  during('a pack is longer', () => writeFileSync(pack, Buffer.concat([packBytes, Buffer.alloc(4096)])), packBack);
  during(
    'a pack has another footer',
    () => copyFileSync(store.layout.sealedPack(store.packs.packId(2)), pack),
    packBack,
  );
  during('a pack lost its footer', () => writeFileSync(pack, Buffer.alloc(packBytes.length)), packBack);
  assert.ok(opens());
});

test('a bucket that fails its check is noticed, whole or one by one', async (t) => {
  const { store, index, rows } = await filled(t, 2000);
  writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
  const bytes = readFileSync(store.layout.indexSnapshot);
  bytes[bytes.length - 48 * 3]! ^= 1;
  writeFileSync(store.layout.indexSnapshot, bytes);
  const snapshot = IndexSnapshot.open(store.layout, store.storeId, holdersPackFiles(store.layout))!;
  assert.equal(readAll(snapshot), undefined);
  const last = rows.filter(
    (row) => bucketOf(row.id, snapshot.head.fanoutBits) === 2 ** snapshot.head.fanoutBits - 1,
  )[0]!;
  assert.equal(snapshot.find(last.space, last.id), undefined);
  const first = rows.filter((row) => bucketOf(row.id, snapshot.head.fanoutBits) === 0)[0]!;
  assert.ok(snapshot.find(first.space, first.id)!.length > 0);
  snapshot.close();
  writeFileSync(store.layout.indexSnapshot, bytes.subarray(0, -100));
  const cut = IndexSnapshot.open(store.layout, store.storeId, holdersPackFiles(store.layout))!;
  assert.equal(readAll(cut), undefined);
  assert.equal(cut.find(last.space, last.id), undefined);
  cut.close();
});

test('only what stands in sealed packs is written, without the mark of quarantine', async (t) => {
  const { store, index, rows } = await filled(t, 100);
  const open = store.packs.add(randomBytes(16), 1, PackState.open);
  const condemned = store.packs.add(randomBytes(16), 1, PackState.condemned);
  const damaged = store.sealedPack([randomRecord(5)]);
  const damagedBytes = readFileSync(damaged.path);
  writeFileSync(damaged.path, damagedBytes.fill(0, damagedBytes.length - 64));
  for (const pack of [open, condemned, damaged.pack]) index.insert(0, randomBytes(32), pack, 1, 1);
  index.quarantine(index.first(rows[0]!.space, rows[0]!.id));
  writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
  const snapshot = IndexSnapshot.open(store.layout, store.storeId, holdersPackFiles(store.layout))!;
  t.after(() => snapshot.close());
  assert.deepEqual(readAll(snapshot)!.map(rowText).sort(), rows.map(rowText).sort());
  assert.ok(snapshot.find(rows[0]!.space, rows[0]!.id)!.every((entry) => entry.lengthAndFlags < 1 << 26));
});

test('a pack that begins while the snapshot is written is not mistaken for another', async (t) => {
  const { store, index, rows } = await filled(t, 50);
  // What a session in another thread does after the packs were listed: a number that the list does not have.
  index.insert(0, randomBytes(32), store.packs.count, 128, 100);
  writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
  const snapshot = IndexSnapshot.open(store.layout, store.storeId, holdersPackFiles(store.layout))!;
  t.after(() => snapshot.close());
  assert.deepEqual(readAll(snapshot)!.map(rowText).sort(), rows.map(rowText).sort());
});

test('writing replaces the old file only when the new one is whole', async (t) => {
  const { store, index } = await filled(t, 50);
  writeIndexSnapshot(store.layout, store.storeId, index, store.packs);
  const bytes = readFileSync(store.layout.indexSnapshot);
  rmSync(store.layout.sealedPack(store.packs.packId(0)));
  assert.throws(() => writeIndexSnapshot(store.layout, store.storeId, index, store.packs));
  assert.deepEqual(readFileSync(store.layout.indexSnapshot), bytes);
  assert.ok(!existsSync(`${store.layout.indexSnapshot}.tmp`));
});
