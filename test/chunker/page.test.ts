import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { PAGE_BYTES } from '../../src/chunker/object.ts';
import { PageBuilder, parsePage } from '../../src/chunker/page.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const damaged = { code: 'object-damaged' };
const BLOCK = 4096;

/** A page by hand: lengths, holes negative. */
function payloadOf(lengths: readonly number[], count = lengths.length): Buffer {
  const payload = Buffer.alloc(8 + lengths.length * 4);
  payload.writeUInt8(1);
  payload.writeUInt32LE(count, 4);
  lengths.forEach((length, place) => {
    payload.writeUInt32LE(length < 0 ? 2 ** 31 - length : length, 8 + place * 4);
  });
  return payload;
}

const pieces = fc.array(fc.record({ blocks: fc.integer({ min: 1, max: 64 }), hole: fc.boolean() }), { maxLength: 60 });

test('what was added is what is read, neighbouring holes joined, from one builder again and again', () => {
  const builder = new PageBuilder();
  fc.assert(
    fc.property(pieces, (added) => {
      builder.clear();
      const expected: { offset: number; length: number; id: Buffer | undefined }[] = [];
      let offset = 0;
      for (const { blocks, hole } of added) {
        const length = blocks * BLOCK;
        const id = hole ? undefined : randomBytes(32);
        const last = expected.at(-1);
        if (id === undefined) builder.addHole(length);
        else builder.addData(length, id);
        if (id === undefined && last !== undefined && last.id === undefined) last.length += length;
        else expected.push({ offset, length, id });
        offset += length;
      }
      const { refs, payload } = builder.finish();
      const read = parsePage(payload, refs.length / 32).map(({ ref, ...place }) => ({
        ...place,
        id: ref < 0 ? undefined : Buffer.from(refs.subarray(ref * 32, ref * 32 + 32)),
      }));
      assert.deepEqual(read, expected);
    }),
  );
});

test('the bytes of a page', () => {
  const builder = new PageBuilder();
  builder.addData(65536, Buffer.alloc(32, 1));
  builder.addHole(16384);
  builder.addHole(4096);
  builder.addData(100, Buffer.alloc(32, 2));
  const { refs, payload } = builder.finish();
  assert.equal(Buffer.from(payload).toString('hex'), '01000000' + '03000000' + '00000100' + '00500080' + '64000000');
  assert.deepEqual(Buffer.from(refs), Buffer.concat([Buffer.alloc(32, 1), Buffer.alloc(32, 2)]));
});

test('the finest page fits: 4,096 pieces of one block, and a hole of a whole page', () => {
  const builder = new PageBuilder();
  for (let n = 0; n < PAGE_BYTES / BLOCK; n++) {
    if (n % 2 === 0) builder.addData(BLOCK, Buffer.alloc(32, n));
    else builder.addHole(BLOCK);
  }
  const { refs, payload } = builder.finish();
  assert.equal(parsePage(payload, refs.length / 32).length, 4096);
  builder.clear();
  builder.addHole(PAGE_BYTES / 2);
  builder.addHole(PAGE_BYTES / 2);
  assert.deepEqual(parsePage(builder.finish().payload, 0), [{ offset: 0, length: PAGE_BYTES, ref: -1 }]);
});

test('malformed payloads are refused', () => {
  const bad: [string, Buffer, number][] = [
    ['nothing', Buffer.alloc(0), 0],
    ['only a version', Buffer.of(1), 0],
    ['another version', Buffer.from(payloadOf([])).fill(2, 0, 1), 0],
    ['a count that lies', payloadOf([BLOCK], 2), 1],
    ['a count far beyond', payloadOf([BLOCK], 2 ** 32 - 1), 1],
    ['a byte too many', Buffer.concat([payloadOf([BLOCK]), Buffer.alloc(1)]), 1],
    ['no length', payloadOf([0]), 1],
    ['a hole without length', payloadOf([-0, BLOCK]), 1],
    ['longer than a page', payloadOf([PAGE_BYTES, BLOCK]), 2],
    ['one piece longer than a page', payloadOf([PAGE_BYTES + 1]), 1],
    ['a ref too few', payloadOf([BLOCK, BLOCK]), 1],
    ['a ref too many', payloadOf([BLOCK, -BLOCK]), 2],
  ];
  for (const [why, payload, refCount] of bad) assert.throws(() => parsePage(payload, refCount), damaged, why);
  assert.deepEqual(parsePage(payloadOf([]), 0), []);
});

test('random bytes raise object-damaged or are a consistent page', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.boolean(),
      fc.integer({ min: 0, max: 12 }),
      (bytes, head, refs) => {
        const payload = Buffer.from(bytes);
        if (head && payload.length >= 8) payloadOf([], Math.floor((payload.length - 8) / 4)).copy(payload);
        try {
          const read = parsePage(payload, refs);
          assert.equal(read.filter((piece) => piece.ref >= 0).length, refs);
          assert.ok(read.every((piece) => piece.length > 0 && piece.offset + piece.length <= PAGE_BYTES));
        } catch (error) {
          assert.ok(error instanceof HoldfastError && error.code === 'object-damaged', String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('a payload inside a larger buffer is read at its own place', () => {
  const around = Buffer.alloc(100, 0xff);
  payloadOf([BLOCK, -BLOCK]).copy(around, 13);
  assert.deepEqual(parsePage(around.subarray(13, 29), 1), [
    { offset: 0, length: BLOCK, ref: 0 },
    { offset: BLOCK, length: BLOCK, ref: -1 },
  ]);
});
