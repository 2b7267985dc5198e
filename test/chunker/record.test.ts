import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { Kind, MAX_OBJECT_BYTES } from '../../src/chunker/object.ts';
import { IdHasher, shortHash } from '../../src/chunker/object-id.ts';
import {
  CHECKSUM_BYTES,
  Codec,
  decodePayload,
  encodeRecord,
  openRecord,
  RECORD_HEADER_BYTES,
  readRecordHeader,
  recordBound,
  recordId,
  recordIsWhole,
  recordRefs,
} from '../../src/chunker/record.ts';
import { Compressor, Decompressor } from '../../src/chunker/zstd.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const hasher = new IdHasher();
const compressor = new Compressor(1);
const decompressor = new Decompressor();
const damaged = { code: 'object-damaged' };

function makeRecord(kind: number, refs: Uint8Array, payload: Uint8Array): { id: Buffer; record: Buffer } {
  const id = hasher.id(kind, refs, payload);
  const target = Buffer.alloc(recordBound(refs.length, payload.length), 0xee);
  return { id, record: target.subarray(0, encodeRecord(target, { kind, id, refs, payload }, compressor)) };
}

/** Puts a right checksum on changed bytes: what only lengths, codec and id can then find. */
function reseal(record: Buffer): Buffer {
  const end = record.length - CHECKSUM_BYTES;
  shortHash(record.subarray(0, end)).copy(record, end);
  return record;
}

const bytesOf = (length: number, kind: 'random' | 'text') =>
  kind === 'random' ? randomBytes(length) : Buffer.alloc(length, 'the same again ');

test('round trip: any kind, refs, size and content', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: 0, max: 8 }),
      fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 300_000 })),
      fc.constantFrom('random' as const, 'text' as const),
      (kind, refCount, length, content) => {
        const refs = randomBytes(refCount * 32);
        const payload = bytesOf(length, content);
        const { id, record } = makeRecord(kind, refs, payload);
        assert.ok(recordIsWhole(record));
        assert.deepEqual(recordId(record), id);
        const header = readRecordHeader(record);
        assert.ok(header !== undefined);
        assert.deepEqual(recordRefs(record, header), refs);
        assert.equal(header.rawLength, length);
        assert.equal(header.recordLength, record.length);
        assert.deepEqual(openRecord(record, id, hasher, decompressor), { kind, refs, payload });
      },
    ),
    { numRuns: 80 },
  );
});

test('a payload is stored raw exactly when zstd saves less than 3 %', () => {
  const codecOf = (payload: Buffer) => readRecordHeader(makeRecord(Kind.data, Buffer.alloc(0), payload).record)?.codec;
  assert.equal(codecOf(Buffer.alloc(0)), Codec.raw);
  assert.equal(codecOf(Buffer.alloc(4096)), Codec.zstd);
  assert.equal(codecOf(randomBytes(65536)), Codec.raw);
  // Random bytes with a run of zeros: zstd saves the run, so its length decides. 3 % are 1,966 bytes.
  const withZeros = (zeros: number) => Buffer.concat([randomBytes(65536 - zeros), Buffer.alloc(zeros)]);
  for (const zeros of [1024, 1700, 1900]) assert.equal(codecOf(withZeros(zeros)), Codec.raw, `${zeros} zeros`);
  for (const zeros of [2600, 4096]) assert.equal(codecOf(withZeros(zeros)), Codec.zstd, `${zeros} zeros`);
});

test('the largest object round-trips within its bound', () => {
  const payload = randomBytes(MAX_OBJECT_BYTES - 32);
  const { id, record } = makeRecord(Kind.blob, randomBytes(32), payload);
  assert.ok(recordIsWhole(record));
  assert.ok(openRecord(record, id, hasher, decompressor).payload.equals(payload));
});

test('an encoding stays inside its bound and touches nothing behind it', () => {
  for (const payload of [Buffer.alloc(0), Buffer.alloc(1), randomBytes(5000), Buffer.alloc(70_000, 'x')]) {
    const bound = recordBound(32, payload.length);
    const target = Buffer.alloc(bound + 64, 0xcc);
    const length = encodeRecord(
      target.subarray(0, bound),
      { kind: 1, id: randomBytes(32), refs: randomBytes(32), payload },
      compressor,
    );
    assert.ok(length <= bound);
    assert.ok(target.subarray(bound).every((byte) => byte === 0xcc));
  }
});

test('every single flipped bit is found, by the checksum or by the id', () => {
  for (const payload of [Buffer.alloc(0), randomBytes(90), Buffer.alloc(900, 'abc')]) {
    const { id, record } = makeRecord(Kind.page, randomBytes(64), payload);
    for (let bit = 0; bit < record.length * 8; bit++) {
      const flipped = Buffer.from(record);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(recordIsWhole(flipped), false, `bit ${bit}`);
      // With a right checksum (a liar, not an accident) the id still holds kind, refs and payload.
      let opened: ReturnType<typeof openRecord> | undefined;
      try {
        opened = openRecord(reseal(flipped), id, hasher, decompressor);
      } catch (error) {
        assert.ok(error instanceof HoldfastError && error.code === 'object-damaged', `bit ${bit}: ${error}`);
      }
      if (opened !== undefined) {
        assert.deepEqual(opened, { kind: Kind.page, refs: Buffer.from(record.subarray(56, 120)), payload });
      }
    }
  }
});

test('a cut or lengthened record is not whole, and never opens as something else', () => {
  const { id, record } = makeRecord(Kind.blob, randomBytes(32), randomBytes(200));
  for (let length = 0; length < record.length; length++) {
    const cut = record.subarray(0, length);
    assert.equal(recordIsWhole(cut), false);
    assert.throws(() => openRecord(cut, id, hasher, decompressor), damaged);
  }
  assert.equal(recordIsWhole(Buffer.concat([record, Buffer.alloc(1)])), false);
});

test('lying lengths under a right checksum are refused', () => {
  const payload = Buffer.alloc(5000, 'lie');
  const { id, record } = makeRecord(Kind.data, Buffer.alloc(0), payload);
  const raw = makeRecord(Kind.data, Buffer.alloc(0), randomBytes(500));
  const change = (source: Buffer, at: number, value: number) => {
    const changed = Buffer.from(source);
    changed.writeUInt32LE(value, at);
    return reseal(changed);
  };
  for (const rawLength of [0, 1, 4999, 5001, 2 ** 25, 2 ** 32 - 1]) {
    assert.throws(() => openRecord(change(record, 16, rawLength), id, hasher, decompressor), damaged);
  }
  for (const storedLength of [0, 1, 499, 501, 2 ** 25, 2 ** 32 - 1]) {
    assert.throws(() => openRecord(change(raw.record, 12, storedLength), raw.id, hasher, decompressor), damaged);
    assert.equal(recordIsWhole(change(raw.record, 12, storedLength)), false);
  }
  for (const refCount of [1, 5, 1_048_576, 2 ** 32 - 1]) {
    assert.throws(() => openRecord(change(raw.record, 8, refCount), raw.id, hasher, decompressor), damaged);
  }
});

test('what this version cannot decode says so', () => {
  const { id, record } = makeRecord(Kind.data, Buffer.alloc(0), Buffer.alloc(5000, 'x'));
  const withByte = (at: number, value: number) => {
    const changed = Buffer.from(record);
    changed[at] = value;
    return reseal(changed);
  };
  assert.throws(() => openRecord(withByte(7, 1), id, hasher, decompressor), { ...damaged, message: /encrypted/ });
  for (const codec of [2, 3, 255]) {
    assert.throws(() => openRecord(withByte(6, codec), id, hasher, decompressor), { ...damaged, message: /codec/ });
  }
  assert.equal(readRecordHeader(withByte(0, 0)), undefined);
  assert.equal(readRecordHeader(withByte(4, 2)), undefined);
  assert.equal(readRecordHeader(withByte(5, 0)), undefined);
  assert.equal(readRecordHeader(withByte(20, 5)), undefined);
});

test('decodePayload keeps to the target that it is given', () => {
  for (const payload of [randomBytes(1000), Buffer.alloc(1000, 'z')]) {
    const { record } = makeRecord(Kind.data, Buffer.alloc(0), payload);
    assert.throws(() => decodePayload(record, Buffer.alloc(999), decompressor), damaged);
    const target = Buffer.alloc(1100, 0xdd);
    assert.equal(decodePayload(record, target, decompressor), 1000);
    assert.deepEqual(target.subarray(0, 1000), payload);
    assert.ok(target.subarray(1000).every((byte) => byte === 0xdd));
  }
});

test('random bytes never open and never raise anything but object-damaged', () => {
  const start = makeRecord(Kind.data, randomBytes(32), randomBytes(50)).record;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: start.length }), (bytes, keep) => {
      const garbage = Buffer.concat([start.subarray(0, keep), bytes]);
      if (garbage.equals(start)) return;
      assert.equal(recordIsWhole(garbage), false);
      try {
        openRecord(reseal(garbage.length < 16 ? Buffer.alloc(16) : garbage), Buffer.alloc(32), hasher, decompressor);
        assert.fail('it opened');
      } catch (error) {
        assert.ok(error instanceof HoldfastError && error.code === 'object-damaged', String(error));
      }
    }),
  );
});

test('a header shorter than a record is none', () => {
  assert.equal(readRecordHeader(Buffer.alloc(RECORD_HEADER_BYTES)), undefined);
  assert.equal(readRecordHeader(Buffer.alloc(0)), undefined);
});
