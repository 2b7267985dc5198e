// How objects of one space become records and come back: what a thread knows of a space is its codec. Records of space plain show their
// content to everybody; those of any other space only to who has the key. docs/format.md, sections 2 and 3.
import type { DataKey } from './data-key.ts';
import type { ObjectId, StoredObject } from './object.ts';

/** What of a data key objects need: threads get no more of it. */
export type ObjectKey = Pick<DataKey, 'fingerprint' | 'idKey' | 'encryptionKey'>;

/** One thread's way between objects and records of one space. Not to be shared between threads. */
export interface ObjectCodec {
  /** The id of any object; `refs` are ids one after the other. */
  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId;
  /** The id of the data object at `offset` of `memory`; 4 bytes before it are borrowed. Valid until the next call. */
  dataId(memory: Uint8Array, offset: number, length: number): ObjectId;
  /** Most bytes that `encode` needs for an object of these plain sizes. */
  recordBound(refsBytes: number, payloadBytes: number): number;
  /** Writes the record into `target` and returns its length. The payload must not overlap `target`. */
  encode(target: Uint8Array, object: { kind: number; id: Uint8Array; refs: Uint8Array; payload: Uint8Array }): number;
  /**
   * Decodes a record of any kind and checks that it is the object it should be.
   * @throws `object-damaged` when it is not.
   */
  open(record: Uint8Array, id: Uint8Array): StoredObject;
  /**
   * Decodes a record's payload into `target` and returns its length. Says nothing of its id.
   * @throws `object-damaged` when it cannot be decoded, or does not fit `target`.
   */
  decodePayload(record: Uint8Array, target: Uint8Array): number;
}

/** What of a key may go to another thread, in memory that holds nothing else. */
export function objectKeyOf({ fingerprint, idKey, encryptionKey }: ObjectKey): ObjectKey {
  return { fingerprint, idKey: new Uint8Array(idKey), encryptionKey: new Uint8Array(encryptionKey) };
}
