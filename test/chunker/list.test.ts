import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeList, type List, ListBuilder, type ListEntry, parseList } from '../../src/chunker/list.ts';
import { Kind, LIST_FANOUT, type ObjectId } from '../../src/chunker/object.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const damaged = { code: 'object-damaged' };

const entry = fc
  .tuple(
    fc.oneof(fc.integer({ min: 1, max: 2 ** 24 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
    fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined }),
  )
  .map(([length, id]): ListEntry => ({ length, id: id && (Buffer.from(id) as ObjectId) }));

test('round trip: any entries, also very long ones', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), (entries, childKind) => {
      const list: List = { childKind, height: childKind === Kind.list ? 2 : 1, entries };
      const { refs, payload } = encodeList(list);
      assert.deepEqual(parseList(payload, refs), list);
    }),
  );
});

test('the bytes of a list', () => {
  const id = Buffer.alloc(32, 9) as ObjectId;
  const { refs, payload } = encodeList({
    childKind: Kind.page,
    height: 1,
    entries: [
      { length: 2 ** 24, id },
      { length: 2 ** 40, id: undefined },
    ],
  });
  assert.equal(payload.toString('hex'), '0102010002000000' + '0000000100000000' + '0000000000010080');
  assert.deepEqual(refs, id);
});

/** A list by hand. */
function payloadOf(head: readonly number[], words: readonly bigint[], count = words.length): Buffer {
  const payload = Buffer.alloc(8 + words.length * 8);
  payload.set(head);
  payload.writeUInt32LE(count, 4);
  words.forEach((word, place) => {
    payload.writeBigUInt64LE(word, 8 + place * 8);
  });
  return payload;
}

test('malformed payloads are refused', () => {
  const none = Buffer.alloc(0);
  const one = randomBytes(32);
  const hole = 1n << 63n;
  const bad: [string, Buffer, Buffer][] = [
    ['nothing', none, none],
    ['another version', payloadOf([2, 2, 1], []), none],
    ['a count that lies', payloadOf([1, 2, 1], [1n], 2), one],
    ['too many entries', payloadOf([1, 2, 1], new Array(LIST_FANOUT + 1).fill(hole | 1n)), none],
    ['a byte too few', payloadOf([1, 2, 1], [1n]).subarray(0, 15), one],
    ['leaves at height 2', payloadOf([1, 2, 2], [1n]), one],
    ['leaves at height 0', payloadOf([1, 1, 0], [1n]), one],
    ['lists at height 1', payloadOf([1, 3, 1], [1n]), one],
    ['an entry without length', payloadOf([1, 2, 1], [0n]), one],
    ['a hole without length', payloadOf([1, 2, 1], [hole]), none],
    ['a length beyond 2^53', payloadOf([1, 2, 1], [1n << 53n]), one],
    ['a ref too few', payloadOf([1, 2, 1], [1n, 1n]), one],
    ['a ref too many', payloadOf([1, 2, 1], [hole | 1n]), one],
    ['half a ref', payloadOf([1, 2, 1], [1n]), one.subarray(0, 16)],
  ];
  for (const [why, payload, refs] of bad) assert.throws(() => parseList(payload, refs), damaged, why);
  assert.equal(parseList(payloadOf([1, 2, 1], new Array(LIST_FANOUT).fill(hole | 1n)), none).entries.length, 1024);
});

test('random bytes raise object-damaged or are a consistent list', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 80 }),
      fc.boolean(),
      fc.uint8Array({ maxLength: 128 }),
      (bytes, head, refs) => {
        const payload = Buffer.from(bytes);
        if (head && payload.length >= 8) payloadOf([1, 2, 1], [], Math.floor((payload.length - 8) / 8)).copy(payload);
        try {
          const list = parseList(payload, refs);
          assert.equal(list.entries.filter((each) => each.id !== undefined).length * 32, refs.length);
        } catch (error) {
          assert.ok(error instanceof HoldfastError && error.code === 'object-damaged', String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

/** Builds a list of `count` leaves of 1 to 7 bytes and keeps only shapes: how many entries each stored list has, by height. */
async function shapeOf(count: number): Promise<{ counts: number[][]; root: List; bytes: number; largest: number }> {
  const counts: number[][] = [];
  const id = Buffer.alloc(32) as ObjectId;
  let last: { refs: Uint8Array; payload: Buffer } = { refs: id, payload: id };
  let largest = 0;
  const builder = new ListBuilder(Kind.page, async (kind, refs, payload) => {
    assert.equal(kind, Kind.list);
    last = { refs: Buffer.from(refs), payload: Buffer.from(payload) };
    const height = last.payload[2] as number;
    counts[height] ??= [];
    counts[height].push(last.payload.readUInt32LE(4));
    largest = Math.max(largest, payload.length + refs.length);
    return id;
  });
  let bytes = 0;
  for (let n = 0; n < count; n++) {
    bytes += 1 + (n % 7);
    await builder.add({ length: 1 + (n % 7), id: n % 5 === 0 ? id : undefined });
  }
  await builder.finish();
  const root = parseList(last.payload, last.refs);
  assert.equal(root.height, counts.length - 1, 'the root is stored last and is the highest');
  return { counts: counts.slice(1), root, bytes, largest };
}

const sum = (entries: readonly ListEntry[]) => entries.reduce((total, each) => total + each.length, 0);

for (const [count, heights] of [
  [0, [[0]]],
  [1, [[1]]],
  [1023, [[1023]]],
  [1024, [[1024]]],
  [1025, [[1024, 1], [2]]],
  [2048, [[1024, 1024], [2]]],
] as const) {
  test(`the tree above ${count} leaves`, async () => {
    const { counts, root, bytes } = await shapeOf(count);
    assert.deepEqual(counts, heights);
    assert.equal(sum(root.entries), bytes);
    assert.equal(root.childKind, heights.length === 1 ? Kind.page : Kind.list);
  });
}

test('the tree above 1024² + 1 leaves: filled from the left, no level more than needed, no list larger than 40 KiB', async () => {
  const more = await shapeOf(LIST_FANOUT ** 2 + 1);
  assert.deepEqual(more.counts, [[...new Array(1024).fill(1024), 1], [1024, 1], [2]]);
  assert.equal(sum(more.root.entries), more.bytes);
  assert.ok(more.largest <= 8 + LIST_FANOUT * 40);
});

test('an error of put ends the build', async () => {
  const builder = new ListBuilder(Kind.data, () => Promise.reject(new HoldfastError('disk-full', 'no room')));
  for (let n = 0; n < LIST_FANOUT - 1; n++) await builder.add({ length: 1, id: undefined });
  await assert.rejects(builder.add({ length: 1, id: undefined }), { code: 'disk-full' });
});
