// Object ids: BLAKE3 in keyed mode over u32 refCount, refs and plain payload, one key per kind. docs/format.md, section 2.
import { createRequire } from 'node:module';
import type { Blake3Hasher as Hasher } from '@napi-rs/blake-hash';
import { ID_BYTES, Kind, type ObjectId } from './object.ts';

const { Blake3Hasher, blake3 } = loadBinding();

const DOMAIN = 'holdfast object id v1\0';

/** The key under which ids of one kind are made in space plain (32 bytes). */
export function plainIdKey(kind: number): Buffer {
  return blake3(Buffer.concat([Buffer.from(`${DOMAIN}plain\0`, 'latin1'), Buffer.of(kind)]));
}

/** The key under which ids of one kind are made in the spaces of a data key; `idKey` is its subkey `id`. */
export function secretIdKey(idKey: Uint8Array, kind: number): Buffer {
  return keyedHash(idKey, Buffer.concat([Buffer.from(DOMAIN, 'latin1'), Buffer.of(kind)]));
}

/** Makes ids, those of space plain unless told otherwise. Keeps one native hasher per kind (`reset` keeps the key), so one instance per thread. */
export class IdHasher {
  readonly #keyOf: (kind: number) => Buffer;
  readonly #hashers = new Map<number, Hasher>();
  readonly #data: Hasher;
  readonly #count = Buffer.alloc(4);
  readonly #dataId = Buffer.alloc(ID_BYTES) as ObjectId;

  /** `keyOf` gives the key under which ids of a kind are made. */
  constructor(keyOf: (kind: number) => Buffer = plainIdKey) {
    this.#keyOf = keyOf;
    this.#data = this.#hasher(Kind.data);
  }

  #hasher(kind: number): Hasher {
    let hasher = this.#hashers.get(kind);
    if (hasher === undefined) {
      hasher = Blake3Hasher.newKeyed(this.#keyOf(kind));
      this.#hashers.set(kind, hasher);
    }
    return hasher;
  }

  /** The id of any object; `refs` are ids one after the other. */
  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    const hasher = this.#hasher(kind);
    this.#count.writeUInt32LE(refs.length / ID_BYTES);
    hasher.reset();
    hasher.update(this.#count);
    if (refs.length > 0) hasher.update(refs as Buffer);
    hasher.update(payload as Buffer);
    return hasher.digestBuffer() as ObjectId;
  }

  /**
   * The id of the data object that lies in `memory` at `offset`. The 4 bytes before it serve as the zero refCount while
   * the hash runs and are put back: one update instead of two saves a quarter of the time (5.1 against 3.6 GB/s at 64 KiB).
   * The id is valid until the next call: a native Buffer for each costs 1.2 µs, a tenth of the hash, and its collection.
   */
  dataId(memory: Uint8Array, offset: number, length: number): ObjectId {
    const a = memory[offset - 4] as number;
    const b = memory[offset - 3] as number;
    const c = memory[offset - 2] as number;
    const d = memory[offset - 1] as number;
    memory[offset - 4] = memory[offset - 3] = memory[offset - 2] = memory[offset - 1] = 0;
    this.#data.reset();
    this.#data.update(memory.subarray(offset - 4, offset + length) as Buffer);
    memory[offset - 4] = a;
    memory[offset - 3] = b;
    memory[offset - 2] = c;
    memory[offset - 1] = d;
    this.#dataId.write(this.#data.digest('hex'), 'hex');
    return this.#dataId;
  }
}

/** The first 16 bytes of BLAKE3, keyed when a key is given: checksums and macs of the format. */
export function shortHash(bytes: Uint8Array, key?: Uint8Array): Buffer {
  if (key === undefined) return blake3(bytes as Buffer).subarray(0, 16);
  return keyedHash(key, bytes).subarray(0, 16);
}

/** BLAKE3 in keyed mode (32-byte key), 32 bytes: subkeys and signatures. */
export function keyedHash(key: Uint8Array, bytes: Uint8Array): Buffer {
  return Blake3Hasher.newKeyed(key as Buffer)
    .update(bytes as Buffer)
    .digestBuffer();
}

/** BLAKE3 of some bytes as hexadecimal text. */
export function hexHash(bytes: Uint8Array): string {
  return blake3(bytes as Buffer).toString('hex');
}

/**
 * The package finds out which C library there is by a full report of the process, 5 ms in every thread; so its binary for Debian is tried
 * first.
 */
function loadBinding(): typeof import('@napi-rs/blake-hash') {
  const require = createRequire(import.meta.url);
  try {
    return require(`@napi-rs/blake-hash-linux-${process.arch}-gnu`);
  } catch {
    return require('@napi-rs/blake-hash');
  }
}
