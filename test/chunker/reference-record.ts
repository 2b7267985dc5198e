// Encrypted records written from docs/format.md, without any code of ours but BLAKE3's reference: what ours are compared with, and how a
// liar with the key would make them.
import { createCipheriv } from 'node:crypto';
import { referenceBlake3 } from './reference-blake3.ts';

export interface ReferenceRecord {
  readonly kind: number;
  readonly codec: number;
  readonly id: Uint8Array;
  readonly refs: Uint8Array;
  readonly nonce: Uint8Array;
  /** What the ciphertext says that the payload's plain length is. */
  readonly rawLength: number;
  /** The payload as `codec` says. */
  readonly packed: Uint8Array;
}

/** A subkey of a data key (section 2). */
export function referenceSubkey(secret: Uint8Array, purpose: string): Buffer {
  return referenceBlake3(Buffer.from(`holdfast data key v1\0${purpose}`, 'latin1'), secret);
}

/** The id of an object in a space of this data key. */
export function referenceSecretId(secret: Uint8Array, kind: number, refs: Uint8Array, payload: Uint8Array): Buffer {
  const domain = Buffer.concat([Buffer.from('holdfast object id v1\0', 'latin1'), Buffer.of(kind)]);
  const count = Buffer.alloc(4);
  count.writeUInt32LE(refs.length / 32);
  const key = referenceBlake3(domain, referenceSubkey(secret, 'id'));
  return referenceBlake3(Buffer.concat([count, refs, payload]), key);
}

export function referenceRecord(secret: Uint8Array, record: ReferenceRecord): Buffer {
  const { kind, codec, id, refs, nonce, rawLength, packed } = record;
  const header = Buffer.alloc(24);
  header.write('HDFR', 'latin1');
  header.set([1, kind, codec, 1], 4);
  header.writeUInt32LE(refs.length / 32, 8);
  header.writeUInt32LE(12 + 4 + packed.length + 16, 12);
  const clear = Buffer.concat([header, id, refs]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(rawLength);
  const cipher = createCipheriv('aes-256-gcm', referenceSubkey(secret, 'encryption'), nonce);
  cipher.setAAD(clear);
  const ciphertext = Buffer.concat([cipher.update(Buffer.concat([length, packed])), cipher.final()]);
  const content = Buffer.concat([clear, nonce, ciphertext, cipher.getAuthTag()]);
  return Buffer.concat([content, referenceBlake3(content).subarray(0, 16)]);
}
