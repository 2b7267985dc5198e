// An ObjectSink that keeps objects in a map: what a worker would have stored, to be looked at.

import type { ObjectSink } from '../../../src/agent/object-sink.ts';
import { ID_BYTES, Kind, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { parsePage } from '../../../src/chunker/page.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

export class MemorySink implements ObjectSink {
  readonly objects = new Map<string, StoredObject>();
  readonly #memory: Uint8Array;
  /** Ids are valid until the next call, as those of a real sink. */
  readonly #id = Buffer.alloc(ID_BYTES);
  readonly #hasher = new IdHasher();

  /** `memory` is the whole memory that `putData` offsets count in. */
  constructor(memory: Uint8Array) {
    this.#memory = memory;
  }

  dataId(offset: number, length: number): ObjectId {
    return this.#hasher.dataId(this.#memory, offset, length);
  }

  putData(offset: number, length: number): ObjectId {
    const id = this.dataId(offset, length);
    return this.#keep(id, Kind.data, new Uint8Array(0), this.#memory.subarray(offset, offset + length));
  }

  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    return this.#keep(this.#hasher.id(kind, refs, payload), kind, refs, payload);
  }

  knows(ids: Uint8Array): boolean {
    for (let at = 0; at < ids.length; at += ID_BYTES)
      if (!this.objects.has(Buffer.from(ids.subarray(at, at + ID_BYTES)).toString('hex'))) return false;
    return true;
  }

  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    return this.#hasher.id(kind, refs, payload);
  }

  get(id: ObjectId): StoredObject {
    const object = this.objects.get(id.toString('hex'));
    if (object === undefined) throw new HoldfastError('object-missing', `no object ${id.toString('hex')}`);
    return object;
  }

  /** The bytes that a page describes. */
  pageBytes(page: ObjectId | undefined, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    if (page === undefined) return bytes;
    const { refs, payload } = this.get(page);
    for (const piece of parsePage(payload, refs.length / ID_BYTES)) {
      if (piece.ref < 0) continue;
      const id = Buffer.from(refs.subarray(piece.ref * ID_BYTES, (piece.ref + 1) * ID_BYTES)) as ObjectId;
      bytes.set(this.get(id).payload, piece.offset);
    }
    return bytes;
  }

  #keep(id: ObjectId, kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    this.objects.set(id.toString('hex'), { kind, refs: Buffer.from(refs), payload: Buffer.from(payload) });
    this.#id.set(id);
    return this.#id as ObjectId;
  }
}
