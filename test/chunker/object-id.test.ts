import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { copyId, Kind, parseId } from '../../src/chunker/object.ts';
import { hexHash, IdHasher, plainIdKey, shortHash } from '../../src/chunker/object-id.ts';
import { referenceBlake3, referenceId } from './reference-blake3.ts';

const counting = (length: number) => Buffer.from(Array.from({ length }, (_, n) => n % 251));

test('the reference is BLAKE3: the official vectors', () => {
  // github.com/BLAKE3-team/BLAKE3, test_vectors.json: inputs count up modulo 251.
  const key = Buffer.from('whats the Elvish word for friend');
  const official: [number, string, string][] = [
    [0, 'af1349b9f5f9a1a6a0404dea36dcc949', '92b2b75604ed3c761f9d6f62392c8a92'],
    [1, '2d3adedff11b61f14c886e35afa03673', '6d7878dfff2f485635d39013278ae14f'],
    [1024, '42214739f095a406f3fc83deb889744a', '75c46f6f3d9eb4f55ecaaee480db732e'],
    [1025, 'd00278ae47eb27b34faecf67b4fe263f', '357dc55de0c7e382c900fd6e320acc04'],
  ];
  for (const [length, plain, keyed] of official) {
    assert.equal(referenceBlake3(counting(length)).subarray(0, 16).toString('hex'), plain);
    assert.equal(referenceBlake3(counting(length), key).subarray(0, 16).toString('hex'), keyed);
  }
});

test('hashes, short hashes and macs agree with the reference at every tree shape', () => {
  const key = Buffer.alloc(32, 7);
  for (const length of [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3072, 4097, 8193, 16384, 31745]) {
    const bytes = counting(length);
    assert.equal(hexHash(bytes), referenceBlake3(bytes).toString('hex'));
    assert.deepEqual(shortHash(bytes), referenceBlake3(bytes).subarray(0, 16));
    assert.deepEqual(shortHash(bytes, key), referenceBlake3(bytes, key).subarray(0, 16));
  }
});

test('ids are what docs/format.md says, for any kind, refs and payload, in any order of calls', () => {
  const hasher = new IdHasher();
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: 0, max: 5 }),
      fc.uint8Array({ maxLength: 3000 }),
      (kind, refCount, payload) => {
        const refs = counting(refCount * 32);
        assert.deepEqual(hasher.id(kind, refs, payload), referenceId(kind, refs, payload));
      },
    ),
    { numRuns: 60 },
  );
});

test('an id tells kinds, refs and payload apart', () => {
  const hasher = new IdHasher();
  const bytes = counting(64);
  const none = Buffer.alloc(0);
  const ids = [
    hasher.id(Kind.data, none, bytes),
    hasher.id(Kind.blob, none, bytes),
    hasher.id(Kind.list, bytes, none),
    hasher.id(Kind.list, none, bytes),
    hasher.id(Kind.list, bytes.subarray(0, 32), bytes.subarray(32)),
  ].map((id) => id.toString('hex'));
  assert.equal(new Set(ids).size, ids.length);
  assert.notDeepEqual(plainIdKey(1), plainIdKey(2));
});

test('dataId is the id of the data object in memory, and restores the bytes before it', () => {
  const hasher = new IdHasher();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4096 }), fc.nat(), (bytes, at) => {
      const memory = Uint8Array.from(bytes);
      const offset = 4 + (at % (bytes.length - 3));
      const expected = referenceId(Kind.data, Buffer.alloc(0), bytes.subarray(offset));
      assert.deepEqual(hasher.dataId(memory, offset, bytes.length - offset), expected);
      assert.deepEqual(memory, bytes);
    }),
    { numRuns: 60 },
  );
});

test('ids are copied and read from text, or not at all', () => {
  const bytes = counting(40);
  const id = copyId(bytes, 8);
  assert.deepEqual(id, bytes.subarray(8));
  bytes.fill(0);
  assert.notDeepEqual(id, bytes.subarray(8));
  assert.deepEqual(parseId(id.toString('hex')), id);
  for (const text of ['', 'ab', 'g'.repeat(64), 'A'.repeat(64), `${'a'.repeat(64)}\n`, 'a'.repeat(65)]) {
    assert.equal(parseId(text), undefined);
  }
});
