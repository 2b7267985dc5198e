import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { Kind } from '../../../src/chunker/object.ts';
import { BLOCK_BYTES, FRAME_HEADER_BYTES, FrameCodec, FrameType } from '../../../src/datastore/packs/pack-format.ts';
import { readPackHeader, scanRecords } from '../../../src/datastore/packs/pack-scan.ts';
import {
  type Appended,
  append,
  footerOf,
  makeBuffer,
  makeRecord,
  placeOf,
  randomRecord,
  Store,
  scanFile,
  temporaryDirectory,
} from '../fixture.ts';

/** A pack that was being written: three stretches of records, each ended by a barrier, and records behind the last one. */
async function unsealed(
  t: TestContext,
  sizes: readonly number[] = [300, 9000, 5, 70_000, 1200],
): Promise<{ bytes: Buffer; stretches: Appended[][]; path: string }> {
  const store = await Store.create(t);
  const writer = store.writer();
  const stretches: Appended[][] = [];
  for (let n = 0; n < 4; n++) {
    stretches.push(sizes.map((bytes) => append(writer, randomRecord(bytes), n)));
    if (n < 3) writer.barrier();
  }
  writer.flush();
  writer.close();
  return { bytes: readFileSync(store.openPath(writer)), stretches, path: join(temporaryDirectory(t), 'pack') };
}

const end = (record: Appended) => record.offset + record.record.length;

function scan(path: string, bytes: Buffer): string[] | undefined {
  writeFileSync(path, bytes);
  return scanFile(path);
}

test('a whole file gives every record; a cut one all that end before the cut', async (t) => {
  const { bytes, stretches, path } = await unsealed(t);
  const all = stretches.flat();
  assert.deepEqual(scan(path, bytes), all.map(placeOf));
  const edges = all.flatMap(({ offset, record }) => [
    offset - FRAME_HEADER_BYTES,
    offset,
    offset + 56,
    offset + record.length,
  ]);
  const blocks = Array.from({ length: bytes.length / BLOCK_BYTES }, (_, n) => n * BLOCK_BYTES);
  for (const cut of [...edges.flatMap((edge) => [edge - 1, edge, edge + 1]), ...blocks].filter((at) => at >= 128)) {
    const expected = all.filter((record) => end(record) <= cut).map(placeOf);
    assert.deepEqual(scan(path, bytes.subarray(0, cut)), expected, `cut at ${cut}`);
  }
  for (const cut of [0, 1, 127]) assert.equal(scan(path, bytes.subarray(0, cut)), undefined);
});

test('any flipped byte costs at most the record it is in: the others come back through checkpoints', async (t) => {
  const { bytes, stretches, path } = await unsealed(t, [300, 5000, 5, 1200]);
  const all = stretches.flat();
  fc.assert(
    fc.property(
      fc.integer({ min: 128, max: end(stretches[2]!.at(-1)!) - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (at, flip) => {
        const changed = Buffer.from(bytes);
        changed[at]! ^= flip;
        const found = new Set(scan(path, changed));
        for (const [n, stretch] of stretches.entries()) {
          const first = stretch[0]!.offset - FRAME_HEADER_BYTES;
          const last = end(stretch.at(-1)!);
          for (const record of stretch) {
            const hit = at >= record.offset && at < end(record);
            // Only damage in the checkpoint itself and in the frames of one stretch would cost more.
            if (!hit && !(at >= last && at < (stretches[n + 1]?.[0]?.offset ?? 0) - FRAME_HEADER_BYTES)) {
              assert.ok(
                found.has(placeOf(record)),
                `byte ${at}: lost ${placeOf(record)} of stretch ${n} from ${first}`,
              );
            }
            assert.equal(hit && found.has(placeOf(record)), false, `byte ${at}: a damaged record was taken`);
          }
        }
        assert.ok([...found].every((place) => all.map(placeOf).includes(place)));
      },
    ),
    { numRuns: 150 },
  );
});

test('a damaged checkpoint does not stop the scan while the frames before it hold', async (t) => {
  const { bytes, stretches, path } = await unsealed(t);
  const at = Math.ceil(end(stretches[0]!.at(-1)!) / BLOCK_BYTES) * BLOCK_BYTES;
  assert.equal(bytes[at + 4], FrameType.checkpoint);
  const broken = Buffer.from(bytes);
  broken[at + 20]! ^= 1;
  // The tag of a frame covers header and end of the body: the table's own bytes are the mac's.
  assert.deepEqual(scan(path, broken), stretches.flat().map(placeOf));
  broken[at + 12]! ^= 1;
  // Now the frame itself is bad, and the next checkpoint knows the records since this one.
  assert.deepEqual(scan(path, broken), stretches.flat().map(placeOf));
});

test('a table is not believed: its mac counts, and each record that it names', async (t) => {
  const { bytes, stretches, path } = await unsealed(t);
  const [first, second] = stretches as [Appended[], Appended[], ...Appended[][]];
  const broken = Buffer.from(bytes);
  broken[first[0]!.offset - 4]! ^= 1;
  const table = Math.ceil(end(first.at(-1)!) / BLOCK_BYTES) * BLOCK_BYTES + 32;
  broken[table + 36 + 48]! ^= 8;
  const found = scan(path, broken);
  // The first checkpoint is void, so the scan goes on behind the second one with what that knows.
  assert.deepEqual(found, [second, stretches[2]!, stretches[3]!].flat().map(placeOf));
  const again = Buffer.from(bytes);
  again[first[0]!.offset - 4]! ^= 1;
  again[first[2]!.offset + 60]! ^= 1;
  assert.deepEqual(
    scan(path, again),
    stretches
      .flat()
      .filter((each) => each !== first[2])
      .map(placeOf),
  );
});

test('several bad places in one stretch, and a whole block of zeros', async (t) => {
  const { bytes, stretches, path } = await unsealed(t);
  const [, second] = stretches as [Appended[], Appended[]];
  const zeroed = Buffer.from(bytes);
  const hole = Math.ceil(second[3]!.offset / BLOCK_BYTES) * BLOCK_BYTES;
  zeroed.fill(0, hole, hole + BLOCK_BYTES);
  zeroed[second[0]!.offset - 1]! ^= 1;
  assert.deepEqual(
    scan(path, zeroed),
    stretches
      .flat()
      .filter((each) => each !== second[3])
      .map(placeOf),
  );
});

test('a pack inside a payload is never taken, however it is aligned and whatever is damaged around it', async (t) => {
  // So large that the padding in it is less than 3 % and zstd leaves it as it is.
  const guest = await unsealed(t, [60_000, 300_000]);
  const store = await Store.create(t);
  const path = join(temporaryDirectory(t), 'pack');
  // Where the hostile payload begins: header, a frame with a record of 40 bytes, frame and header of the next.
  const payloadAt = 128 + 16 + (56 + 40 + 16) + 16 + 56;
  for (const shift of [0, 1, 2048, BLOCK_BYTES - payloadAt]) {
    const writer = store.writer(makeBuffer());
    // Random bytes in front bring the foreign blocks to several places, at last to block boundaries of this file.
    const hostile = makeRecord(Buffer.concat([randomBytes(shift), guest.bytes, randomBytes(100)]));
    const records = [append(writer, randomRecord(40)), append(writer, hostile), append(writer, randomRecord(50))];
    writer.barrier();
    writer.close();
    const bytes = readFileSync(store.openPath(writer));
    assert.equal(bytes.indexOf('HOLDPACK', 8), payloadAt + shift);
    assert.deepEqual(scan(path, bytes), records.map(placeOf));
    for (const damage of [records[0]!.offset - 3, records[1]!.offset - 3, records[1]!.offset + 30]) {
      const changed = Buffer.from(bytes);
      changed[damage]! ^= 1;
      const expected = damage > records[1]!.offset ? [records[0]!, records[2]!] : records;
      assert.deepEqual(scan(path, changed), expected.map(placeOf), `shift ${shift}, damage at ${damage}`);
    }
    const cut = bytes.subarray(0, end(records[1]!) - 1);
    assert.deepEqual(scan(path, cut), [placeOf(records[0]!)]);
  }
});

test('a foreign checkpoint exactly at a block boundary is passed over: the salt is not ours', async (t) => {
  const ours = await unsealed(t, [300]);
  const other = await unsealed(t, [300]);
  const spliced = Buffer.concat([ours.bytes.subarray(0, BLOCK_BYTES), other.bytes.subarray(BLOCK_BYTES)]);
  assert.deepEqual(scan(ours.path, spliced), [placeOf(ours.stretches[0]![0]!)]);
});

test('our own checkpoint at another place is passed over: a tag holds for one offset only', async (t) => {
  const { bytes, stretches, path } = await unsealed(t, [300]);
  const moved = Buffer.concat([bytes.subarray(0, BLOCK_BYTES), Buffer.alloc(BLOCK_BYTES), bytes.subarray(BLOCK_BYTES)]);
  assert.deepEqual(scan(path, moved), [placeOf(stretches[0]![0]!)]);
});

test('random garbage behind a header, and in place of one', async (t) => {
  const { bytes, stretches, path } = await unsealed(t, [300]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), (garbage) => {
      const place = placeOf(stretches[0]![0]!);
      assert.deepEqual(scan(path, Buffer.concat([bytes.subarray(0, 128), garbage])), []);
      assert.deepEqual(scan(path, Buffer.concat([bytes.subarray(0, BLOCK_BYTES), garbage])), [place]);
      assert.equal(scan(path, Buffer.from(garbage)), undefined);
    }),
    { numRuns: 40 },
  );
});

test('frames that claim more than the file, or more than any frame of ours, end nothing but themselves', async (t) => {
  const { bytes, stretches, path } = await unsealed(t, [300, 400]);
  const [first] = stretches as [Appended[]];
  const codec = new FrameCodec(bytes.subarray(32, 64));
  for (const claimed of [2 ** 31, 2 ** 32 - 1, bytes.length]) {
    const changed = Buffer.from(bytes);
    const at = first[1]!.offset - FRAME_HEADER_BYTES;
    changed.writeUInt32LE(claimed, at);
    assert.deepEqual(scan(path, changed), stretches.flat().map(placeOf));
    // A pad has no content that its tag could vouch for; even an authentic one must not lead out of the file.
    codec.writeHeader(changed.subarray(at), at, FrameType.pad, claimed, 0);
    assert.deepEqual(scan(path, changed), stretches.flat().map(placeOf));
  }
});

test('a record whose checksum fails under a good tag is left out', async (t) => {
  const { bytes, stretches, path } = await unsealed(t, [300, 400]);
  const [first] = stretches as [Appended[]];
  const changed = Buffer.from(bytes);
  changed[first[0]!.offset + 100]! ^= 1;
  assert.deepEqual(scan(path, changed), stretches.flat().slice(1).map(placeOf));
});

test('the scan says kind and space of what it finds', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer(makeBuffer(), 2);
  const records = [
    append(writer, makeRecord(randomBytes(50), Kind.page, randomBytes(64)), 7),
    append(writer, makeRecord(randomBytes(9), 222), 1),
  ];
  writer.flush();
  writer.close();
  const fd = openSync(store.openPath(writer), 'r');
  t.after(() => closeSync(fd));
  const found = [...scanRecords(fd, readPackHeader(fd)!)];
  assert.deepEqual(
    found.map(({ kind, space }) => [kind, space]),
    [
      [Kind.page, 7],
      [222, 1],
    ],
  );
  assert.deepEqual(
    found.map(({ id }) => Buffer.from(id)),
    records.map(({ id }) => Buffer.from(id)),
  );
});

test('a sealed pack is read by its footer only when header, trailer, mac and length belong together', async (t) => {
  const store = await Store.create(t);
  const { path, appended } = store.sealedPack([randomRecord(500), randomRecord(9000)]);
  const bytes = readFileSync(path);
  const copy = join(temporaryDirectory(t), 'pack');
  const footer = (changed: Buffer) => {
    writeFileSync(copy, changed);
    return footerOf(copy);
  };
  assert.equal(footer(bytes)?.table.length, appended.length * 48);
  assert.equal(footer(bytes)?.fileLength, bytes.length);
  const trailer = bytes.length - 64;
  const places = {
    header: 20,
    'footer table': Number(bytes.readBigUInt64LE(trailer + 8)) + 30,
    'footer offset': trailer + 8,
    'trailer magic': trailer,
    'pack id': trailer + 25,
    mac: bytes.length - 1,
  };
  for (const [what, at] of Object.entries(places)) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1;
    assert.equal(footer(changed), undefined, what);
  }
  for (const cut of [0, 100, 128, 191, bytes.length - 1, bytes.length - BLOCK_BYTES]) {
    assert.equal(footer(bytes.subarray(0, cut)), undefined, `cut at ${cut}`);
  }
  assert.equal(footer(Buffer.concat([bytes, Buffer.alloc(64)])), undefined);
  const other = store.sealedPack([randomRecord(500), randomRecord(9000)]);
  const foreignEnd = Buffer.concat([
    bytes.subarray(0, trailer - 2000),
    readFileSync(other.path).subarray(trailer - 2000),
  ]);
  assert.equal(footer(foreignEnd), undefined, 'the end of another pack');
  const far = Buffer.from(bytes);
  far.writeBigUInt64LE(2n ** 60n, trailer + 8);
  assert.equal(footer(far), undefined);
});
