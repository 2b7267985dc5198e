// The one object in which a local and a remote backup differ: what a worker puts records into and reads them from.
import type { ObjectId, StoredObject } from '../chunker/object.ts';
import type { ObjectCodec } from '../chunker/object-codec.ts';

/** One thread's hand in an open session. */
export interface ObjectSink {
  /**
   * Puts the data object that lies in the thread's arena at `offset`. The 4 bytes before it are borrowed while it is hashed, and
   * must belong to the arena. The id is valid until the next call.
   */
  putData(offset: number, length: number): ObjectId;
  /** Puts any object. @throws `out-of-scope` when it names an object that the session does not know. */
  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId;
  /** Whether all of these ids, one after the other, may be named and can be read. */
  knows(ids: Uint8Array): boolean;
  /** The id that an object has in the session's space. */
  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId;
  /** Reads an object that the session may read. */
  get(id: ObjectId): StoredObject;
  /** Of a sink that is far away. */
  readonly foresight?: Foresight;
}

/** How pages that a base has are spared a sink that is far away: their ids are made first, and when they are as expected nothing is put. */
export interface Foresight {
  /** Whether to look first: not where what is known may be bad, nor after pages that were others than expected. */
  readonly isWorthIt: boolean;
  /** The id that `putData` would return. Valid until the next call. */
  dataId(offset: number, length: number): ObjectId;
  /** Takes over a page as it was expected, with all that it names. */
  take(page: ObjectId, refs: Uint8Array): void;
  /** Learns from a page that was put. */
  learn(wasExpected: boolean): void;
}

/** One thread's way to stored objects, for a restore. */
export interface ObjectFetcher {
  /** Decodes what `fetch` delivers. */
  readonly codec: ObjectCodec;
  /** Reads and checks an object. @throws `object-missing`, `object-damaged`, `key-missing`. */
  get(id: ObjectId): StoredObject;
  /**
   * Reads the records of data objects, neighbours in one go, and hands each to `deliver` with its place among `ids`, in order. The
   * record is valid during the call only and is not checked; undefined stands for one that cannot be read in this way: use `get`.
   */
  fetch(ids: readonly Uint8Array[], deliver: (place: number, record: Uint8Array | undefined) => void): void;
}
