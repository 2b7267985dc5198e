// The choice of a codec, the only place that asks whether a space is encrypted, and the codec of space plain.
import { EncryptingCodec } from './encrypting-codec.ts';
import type { ObjectId, StoredObject } from './object.ts';
import type { ObjectCodec, ObjectKey } from './object-codec.ts';
import { IdHasher } from './object-id.ts';
import { decodePayload, encodeRecord, openRecord, recordBound } from './record.ts';
import { Compressor, Decompressor } from './zstd.ts';

/** The codec of a space: without a key that of space plain. `compressionLevel` is zstd's. */
export function createCodec(key: ObjectKey | undefined, compressionLevel = 1): ObjectCodec {
  return key === undefined ? new PlainCodec(compressionLevel) : new EncryptingCodec(key, compressionLevel);
}

class PlainCodec implements ObjectCodec {
  readonly #hasher = new IdHasher();
  readonly #decompressor = new Decompressor();
  readonly #compressor: Compressor;

  constructor(compressionLevel: number) {
    this.#compressor = new Compressor(compressionLevel);
  }

  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    return this.#hasher.id(kind, refs, payload);
  }

  dataId(memory: Uint8Array, offset: number, length: number): ObjectId {
    return this.#hasher.dataId(memory, offset, length);
  }

  recordBound(refsBytes: number, payloadBytes: number): number {
    return recordBound(refsBytes, payloadBytes);
  }

  encode(target: Uint8Array, object: { kind: number; id: Uint8Array; refs: Uint8Array; payload: Uint8Array }): number {
    return encodeRecord(target, object, this.#compressor);
  }

  open(record: Uint8Array, id: Uint8Array): StoredObject {
    return openRecord(record, id, this.#hasher, this.#decompressor);
  }

  decodePayload(record: Uint8Array, target: Uint8Array): number {
    return decodePayload(record, target, this.#decompressor);
  }
}
