// Golden encrypted records. To add a case, write its recipe with empty texts and take them from the failure; an existing case is never
// edited. The nonce is given here alone.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deriveDataKey } from '../../src/chunker/data-key.ts';
import { EncryptingCodec } from '../../src/chunker/encrypting-codec.ts';
import { Codec, readRecordHeader } from '../../src/chunker/record.ts';
import { Decompressor } from '../../src/chunker/zstd.ts';
import { referenceRecord, referenceSecretId, referenceSubkey } from './reference-record.ts';

interface EncryptedCase {
  readonly name: string;
  readonly kind: number;
  /** Hexadecimal, as all bytes here. */
  readonly refs: string;
  readonly payload: string | { readonly repeat: string; readonly times: number };
  readonly nonce: string;
  readonly id: string;
  readonly codec: 'raw' | 'zstd';
  /** The payload as it was encrypted, where that is not the plain one: another release of zstd may compress otherwise. */
  readonly packed?: string;
  readonly record: string;
}

const { secret, cases } = JSON.parse(
  readFileSync(new URL('../vectors/encrypted-records.json', import.meta.url), 'utf8'),
) as { secret: string; cases: EncryptedCase[] };
const secretBytes = Buffer.from(secret, 'hex');
const key = deriveDataKey(secretBytes);

test('the subkeys, by the reference', () => {
  for (const [purpose, ours] of Object.entries({
    id: key.idKey,
    encryption: key.encryptionKey,
    signature: key.signatureKey,
  }))
    assert.deepEqual(Buffer.from(ours), referenceSubkey(secretBytes, purpose));
  assert.equal(key.fingerprint, referenceSubkey(secretBytes, 'fingerprint').toString('hex'));
  assert.equal(key.cutSeed, referenceSubkey(secretBytes, 'cut').toString('hex', 0, 16));
});

for (const one of cases) {
  const refs = Buffer.from(one.refs, 'hex');
  const payload = Buffer.from(
    typeof one.payload === 'string' ? one.payload : one.payload.repeat.repeat(one.payload.times),
    'hex',
  );
  const nonce = Buffer.from(one.nonce, 'hex');
  const codec = new EncryptingCodec(key, 1, () => nonce);
  const id = Buffer.from(one.id, 'hex');

  test(`${one.name}: the id, by our code and by the reference`, () => {
    assert.equal(codec.id(one.kind, refs, payload).toString('hex'), one.id);
    assert.equal(referenceSecretId(secretBytes, one.kind, refs, payload).toString('hex'), one.id);
  });

  test(`${one.name}: every byte of the record, by our code and by the reference`, () => {
    const target = Buffer.alloc(codec.recordBound(refs.length, payload.length));
    const record = target.subarray(0, codec.encode(target, { kind: one.kind, id, refs, payload }));
    assert.equal(readRecordHeader(record)?.codec, Codec[one.codec]);
    if (one.codec === 'raw' || one.record === '') assert.equal(record.toString('hex'), one.record);
    const packed = one.packed === undefined ? payload : Buffer.from(one.packed, 'hex');
    const plain = { kind: one.kind, codec: Codec[one.codec], id, refs, nonce, rawLength: payload.length, packed };
    assert.equal(referenceRecord(secretBytes, plain).toString('hex'), one.record);
    if (one.packed !== undefined) {
      const unpacked = Buffer.alloc(payload.length);
      assert.equal(new Decompressor().decompress(unpacked, packed), payload.length);
      assert.deepEqual(unpacked, payload);
    }
  });

  test(`${one.name}: it opens`, () => {
    assert.deepEqual(codec.open(Buffer.from(one.record, 'hex'), id), { kind: one.kind, refs, payload });
  });
}
