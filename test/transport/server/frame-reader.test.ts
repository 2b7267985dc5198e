// Bodies cut into records, in whatever pieces they arrive.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameReader } from '../../../src/transport/server/frame-reader.ts';
import { framed } from './rig.ts';

const MAX = 5 << 20;

/** The records of a body that comes in pieces of these lengths, round and round. */
function read(reader: FrameReader, body: Buffer, pieces: readonly number[]): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0, n = 0; at < body.length; n++) {
    const end = Math.min(body.length, at + pieces[n % pieces.length]!);
    reader.give(body.subarray(at, end));
    for (;;) {
      const record = reader.next();
      if (record !== undefined) found.push(Buffer.from(record));
      else if (reader.largeBytes > 0) reader.allowLarge();
      else break;
    }
    at = end;
  }
  return found;
}

const records = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 0, max: 200_000 }).map((length) => Buffer.alloc(length, length)),
  ),
  { maxLength: 6 },
);

test('records come back as they were, however the body is cut, with one reader for all bodies', () => {
  const reader = new FrameReader(MAX);
  fc.assert(
    fc.property(
      records,
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 5 }),
      (given, pieces) => {
        reader.reset();
        assert.deepEqual(
          read(reader, framed(given), given.length === 0 || Math.max(...pieces) > 50 ? pieces : [997]),
          given.map((each) => Buffer.from(each)),
        );
        assert.equal(reader.isWithin, false);
      },
    ),
  );
});

test('a body that ends anywhere else than between two frames is known to be cut', () => {
  const body = framed([Buffer.alloc(10, 1), Buffer.alloc(20, 2)]);
  for (let length = 0; length <= body.length; length++) {
    const reader = new FrameReader(MAX);
    const found = read(reader, body.subarray(0, length), [3]).length;
    assert.equal(found, length < 14 ? 0 : length < 38 ? 1 : 2);
    assert.equal(reader.isWithin, ![0, 14, 38].includes(length), String(length));
  }
});

test('a long record waits before any memory is taken, a longer one is refused at its length', () => {
  const reader = new FrameReader(MAX);
  const long = Buffer.alloc(3 << 20, 7);
  reader.give(framed([long]).subarray(0, 100));
  assert.equal(reader.next(), undefined);
  assert.equal(reader.largeBytes, long.length);
  assert.equal(reader.next(), undefined, 'until it is let in');
  reader.allowLarge();
  assert.equal(reader.largeBytes, 0);
  assert.equal(reader.next(), undefined);
  reader.give(framed([long, long]).subarray(100));
  assert.ok(reader.next()?.equals(long));
  assert.equal(reader.next(), undefined);
  assert.equal(reader.largeBytes, long.length, 'the next one waits again');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(MAX + 1);
  reader.reset();
  reader.give(length);
  assert.throws(() => reader.next(), { code: 'too-large' });
});

test('a record that comes in one piece is not copied', () => {
  const reader = new FrameReader(MAX);
  const body = framed([Buffer.alloc(100, 1)]);
  reader.give(body);
  assert.equal(reader.next()?.buffer, body.buffer);
});
