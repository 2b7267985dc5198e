// Encrypted records: AES-256-GCM with a nonce of 12 random bytes for each encoding, so that no two ever share one, header and refs as
// associated data, and the plain length inside the ciphertext. docs/format.md, section 3.

import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomFillSync } from 'node:crypto';
import { copyShared } from '../util/copy-shared.ts';
import { MAX_OBJECT_BYTES, type ObjectId, type StoredObject } from './object.ts';
import type { ObjectCodec, ObjectKey } from './object-codec.ts';
import { IdHasher, secretIdKey } from './object-id.ts';
import {
  Codec,
  Crypt,
  damagedRecord,
  isWorthwhile,
  RECORD_HEADER_BYTES,
  readRecordHeader,
  recordBound,
  recordRefs,
  sealRecord,
  unpackPayload,
  writeRecordHeader,
} from './record.ts';
import { Compressor, Decompressor } from './zstd.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const LENGTH_BYTES = 4;
/** Bytes by which encryption lengthens a stored payload. */
export const ENCRYPTION_OVERHEAD_BYTES = NONCE_BYTES + LENGTH_BYTES + TAG_BYTES;
/** Random bytes are drawn for so many records at once: a draw costs as much as 100 nonces. */
const NONCES_PER_DRAW = 1024;

const CIPHER = 'aes-256-gcm';

export class EncryptingCodec implements ObjectCodec {
  readonly #hasher: IdHasher;
  readonly #key: KeyObject;
  readonly #compressor: Compressor;
  readonly #decompressor = new Decompressor();
  readonly #nonces: () => Uint8Array;

  /** `nonces` is for tests alone: a nonce that comes twice under one key gives the plain texts away. */
  constructor(key: ObjectKey, compressionLevel: number, nonces: () => Uint8Array = randomNonces()) {
    const idKey = Buffer.from(key.idKey);
    this.#hasher = new IdHasher((kind) => secretIdKey(idKey, kind));
    this.#key = createSecretKey(key.encryptionKey);
    this.#compressor = new Compressor(compressionLevel);
    this.#nonces = nonces;
  }

  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    return this.#hasher.id(kind, refs, payload);
  }

  dataId(memory: Uint8Array, offset: number, length: number): ObjectId {
    return this.#hasher.dataId(memory, offset, length);
  }

  recordBound(refsBytes: number, payloadBytes: number): number {
    return recordBound(refsBytes, payloadBytes) + ENCRYPTION_OVERHEAD_BYTES;
  }

  encode(target: Uint8Array, object: { kind: number; id: Uint8Array; refs: Uint8Array; payload: Uint8Array }): number {
    const { payload } = object;
    const nonceAt = RECORD_HEADER_BYTES + object.refs.length;
    const plainAt = nonceAt + NONCE_BYTES;
    const payloadAt = plainAt + LENGTH_BYTES;
    // The plain text is laid out where its ciphertext will stand: the cipher's output is the only copy.
    let codec: number = Codec.zstd;
    let packed = this.#compressor.compress(target.subarray(payloadAt), payload);
    if (!isWorthwhile(packed, payload.length)) {
      codec = Codec.raw;
      packed = payload.length;
      copyShared(target, payloadAt, payload);
    }
    const lengths = { storedLength: packed + ENCRYPTION_OVERHEAD_BYTES, rawLength: 0 };
    const view = writeRecordHeader(target, object, { codec, crypt: Crypt.aes256Gcm, ...lengths });
    view.setUint32(plainAt, payload.length, true);
    const nonce = this.#nonces();
    target.set(nonce, nonceAt);
    const cipher = createCipheriv(CIPHER, this.#key, nonce);
    cipher.setAAD(target.subarray(0, nonceAt));
    copyShared(target, plainAt, cipher.update(target.subarray(plainAt, payloadAt + packed)));
    cipher.final();
    target.set(cipher.getAuthTag(), payloadAt + packed);
    return sealRecord(target, payloadAt + packed + TAG_BYTES);
  }

  open(record: Uint8Array, id: Uint8Array): StoredObject {
    const { header, plain, rawLength } = this.#decrypt(record);
    const payload = Buffer.allocUnsafe(rawLength);
    unpackPayload(record, header.codec, plain, payload, this.#decompressor);
    const refs = Buffer.from(recordRefs(record, header));
    if (!this.#hasher.id(header.kind, refs, payload).equals(id))
      throw damagedRecord(record, 'its content does not match its id');
    return { kind: header.kind, refs, payload };
  }

  decodePayload(record: Uint8Array, target: Uint8Array): number {
    const { header, plain, rawLength } = this.#decrypt(record);
    if (rawLength > target.length)
      throw damagedRecord(record, `it holds ${rawLength} bytes where ${target.length} were expected`);
    unpackPayload(record, header.codec, plain, target.subarray(0, rawLength), this.#decompressor);
    return rawLength;
  }

  /** Header, the payload as the record's codec says, and its plain length, all of them vouched for by the tag. */
  #decrypt(record: Uint8Array) {
    const header = readRecordHeader(record);
    if (header === undefined || header.recordLength > record.length)
      throw damagedRecord(record, 'its header is not a record header');
    if (header.crypt !== Crypt.aes256Gcm || header.storedLength < ENCRYPTION_OVERHEAD_BYTES || header.rawLength !== 0)
      throw damagedRecord(record, 'it is not an encrypted record, and stands where only such may stand');
    const { storedAt: nonceAt } = header;
    const tagAt = nonceAt + header.storedLength - TAG_BYTES;
    const decipher = createDecipheriv(CIPHER, this.#key, record.subarray(nonceAt, nonceAt + NONCE_BYTES));
    decipher.setAAD(record.subarray(0, nonceAt));
    decipher.setAuthTag(record.subarray(tagAt, tagAt + TAG_BYTES));
    const bytes = decipher.update(record.subarray(nonceAt + NONCE_BYTES, tagAt));
    try {
      decipher.final();
    } catch (cause) {
      throw damagedRecord(record, 'it was altered, or encrypted with another key', cause);
    }
    const rawLength = bytes.readUInt32LE(0);
    if (rawLength > MAX_OBJECT_BYTES) throw damagedRecord(record, `it claims to hold ${rawLength} bytes`);
    return { header, plain: bytes.subarray(LENGTH_BYTES), rawLength };
  }
}

/** An endless row of fresh nonces; each is valid until the next. */
function randomNonces(): () => Uint8Array {
  const drawn = Buffer.alloc(NONCE_BYTES * NONCES_PER_DRAW);
  let used = drawn.length;
  return () => {
    if (used === drawn.length) {
      randomFillSync(drawn);
      used = 0;
    }
    used += NONCE_BYTES;
    return drawn.subarray(used - NONCE_BYTES, used);
  };
}
