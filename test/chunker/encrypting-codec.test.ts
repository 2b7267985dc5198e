// Encrypted records: what comes back is what went in or an error, whatever happened to the bytes in between; and nothing of the content
// shows without the key.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createCodec } from '../../src/chunker/create-codec.ts';
import { deriveDataKey } from '../../src/chunker/data-key.ts';
import { ENCRYPTION_OVERHEAD_BYTES } from '../../src/chunker/encrypting-codec.ts';
import { Kind, MAX_OBJECT_BYTES } from '../../src/chunker/object.ts';
import { objectKeyOf } from '../../src/chunker/object-codec.ts';
import { shortHash } from '../../src/chunker/object-id.ts';
import { Codec, readRecordHeader, recordIsWhole, recordRefs } from '../../src/chunker/record.ts';
import { referenceRecord } from './reference-record.ts';

const secret = Buffer.alloc(32, 7);
const key = deriveDataKey(secret);
const codec = createCodec(objectKeyOf(key));
const other = createCodec(deriveDataKey(Buffer.alloc(32, 8)));
const plain = createCodec(undefined);
const damaged = { code: 'object-damaged' };
const NO_REFS = Buffer.alloc(0);

function makeRecord(kind: number, refs: Uint8Array, payload: Uint8Array, by = codec) {
  const id = Buffer.from(by.id(kind, refs, payload));
  const target = Buffer.alloc(by.recordBound(refs.length, payload.length), 0xee);
  return { id, record: target.subarray(0, by.encode(target, { kind, id, refs, payload })) };
}

/** Makes the checksum hold again, as whoever alters a record on purpose would. */
function reseal(record: Buffer): Buffer {
  const end = record.length - 16;
  shortHash(record.subarray(0, end)).copy(record, end);
  return record;
}

const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 2000 }),
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 100_000 }))
    .map(([byte, n]) => Buffer.alloc(n, byte)),
);

test('what is encoded comes back, and the clear part tells kind, refs and stored length only', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: 0, max: 5 }),
      payloads,
      (kind, refCount, payload) => {
        const refs = randomBytes(refCount * 32);
        const { id, record } = makeRecord(kind, refs, payload);
        assert.ok(recordIsWhole(record));
        const header = readRecordHeader(record)!;
        assert.deepEqual([header.kind, header.crypt, header.rawLength, header.refCount], [kind, 1, 0, refCount]);
        assert.deepEqual(recordRefs(record, header), refs);
        assert.deepEqual(codec.open(record, id), { kind, refs, payload: Buffer.from(payload) });
        const target = Buffer.alloc(payload.length + 3, 0xaa);
        assert.equal(codec.decodePayload(record, target), payload.length);
        assert.deepEqual(target, Buffer.concat([payload, Buffer.alloc(3, 0xaa)]));
        if (payload.length > 0)
          assert.throws(() => codec.decodePayload(record, Buffer.alloc(payload.length - 1)), damaged);
      },
    ),
  );
});

test('the largest object, stored raw and compressed', () => {
  for (const payload of [randomBytes(MAX_OBJECT_BYTES), Buffer.alloc(MAX_OBJECT_BYTES, 'ab')]) {
    const { id, record } = makeRecord(Kind.data, NO_REFS, payload);
    assert.ok(Buffer.compare(codec.open(record, id).payload, payload) === 0);
  }
});

test('data in the middle of a memory has the id that any object gets', () => {
  const memory = randomBytes(5000);
  const before = Buffer.from(memory);
  const id = Buffer.from(codec.dataId(memory, 100, 4000));
  assert.deepEqual(id, codec.id(Kind.data, NO_REFS, memory.subarray(100, 4100)));
  assert.deepEqual(memory, before);
});

test('ids depend on the key and on the kind', () => {
  const ids = [plain, codec, other].flatMap((by) =>
    [1, 2].map((kind) => by.id(kind, NO_REFS, Buffer.from('same')).toString('hex')),
  );
  assert.equal(new Set(ids).size, 6);
});

test('each encoding has a nonce of its own, also past what is drawn at once', () => {
  const nonces = new Set<string>();
  for (let n = 0; n < 3000; n++)
    nonces.add(makeRecord(Kind.data, NO_REFS, Buffer.from('x')).record.toString('hex', 56, 68));
  assert.equal(nonces.size, 3000);
});

test('neither plain bytes nor what they compress to stand in a record', () => {
  for (const payload of [randomBytes(64), Buffer.alloc(5000, 'secret ')]) {
    const { record } = makeRecord(Kind.data, NO_REFS, payload);
    const packed = makeRecord(Kind.data, NO_REFS, payload, plain).record.subarray(56, -16);
    for (const bytes of [payload, packed])
      for (let at = 0; at + 8 <= bytes.length; at += 5) assert.ok(!record.includes(bytes.subarray(at, at + 8)));
    assert.ok(![key.encryptionKey, key.idKey].some((secret) => record.includes(Buffer.from(secret))));
  }
});

for (const [what, payload] of Object.entries({
  raw: randomBytes(80),
  compressed: Buffer.alloc(3000, 'abc'),
  empty: NO_REFS,
})) {
  test(`no byte of a record stored ${what} may change, with the checksum made anew`, () => {
    const refs = randomBytes(64);
    const { id, record } = makeRecord(Kind.list, refs, payload);
    const target = Buffer.alloc(4000);
    for (let at = 0; at < record.length - 16; at++) {
      const flipped = Buffer.from(record);
      flipped[at]! ^= 1 << (at % 8);
      assert.equal(recordIsWhole(flipped), false, `byte ${at}`);
      reseal(flipped);
      assert.throws(() => codec.open(flipped, id), damaged, `byte ${at}`);
      assert.throws(() => codec.decodePayload(flipped, target), damaged, `byte ${at}`);
    }
    for (let length = 0; length < record.length; length++)
      assert.throws(() => codec.open(record.subarray(0, length), id), damaged, `cut to ${length}`);
  });
}

test('another key opens nothing, and another id is refused', () => {
  const { id, record } = makeRecord(Kind.data, NO_REFS, Buffer.from('mine'));
  assert.throws(() => other.open(record, id), { ...damaged, message: /another key/ });
  assert.throws(() => plain.open(record, id), damaged);
  assert.throws(() => codec.open(record, Buffer.alloc(32)), { ...damaged, message: /does not match its id/ });
  const clear = makeRecord(Kind.data, NO_REFS, Buffer.from('mine'), plain);
  assert.throws(() => codec.open(clear.record, clear.id), { ...damaged, message: /not an encrypted record/ });
});

test('who has the key and lies about an object does not get it past its reader', () => {
  const payload = Buffer.from('the payload that the id was made of');
  const honest = {
    kind: Kind.data as number,
    codec: Codec.raw as number,
    id: codec.id(Kind.data, NO_REFS, payload),
    refs: NO_REFS,
    nonce: randomBytes(12),
    rawLength: payload.length,
    packed: payload,
  };
  const open = (lie: Partial<typeof honest>) => codec.open(referenceRecord(secret, { ...honest, ...lie }), honest.id);
  assert.deepEqual(open({}).payload, payload);
  const lies: Partial<typeof honest>[] = [
    { packed: Buffer.from(payload).fill(0, 0, 3) },
    { rawLength: payload.length - 1 },
    { rawLength: payload.length + 1 },
    { rawLength: MAX_OBJECT_BYTES + 1 },
    { rawLength: 0xffffffff },
    { codec: Codec.zstd },
    { codec: Codec.zstdWithBases },
    { kind: Kind.blob },
    { refs: randomBytes(32) },
  ];
  for (const lie of lies) assert.throws(() => open(lie), damaged, JSON.stringify(lie));
});

test('only what objects need goes to a thread, in memory of its own', () => {
  const given = objectKeyOf(key);
  assert.deepEqual(Object.keys(given).sort(), ['encryptionKey', 'fingerprint', 'idKey']);
  for (const bytes of [given.idKey, given.encryptionKey]) assert.equal(bytes.buffer.byteLength, 32);
});

test('a record is longer than a plain one by nonce, length and tag', () => {
  const payload = randomBytes(5000);
  const lengths = [codec, plain].map((by) => makeRecord(Kind.data, NO_REFS, payload, by).record.length) as [
    number,
    number,
  ];
  assert.equal(lengths[0] - lengths[1], ENCRYPTION_OVERHEAD_BYTES);
});
