// The object model: what an object is, how it is named, and the bounds that everything else relies on. docs/format.md, section 2.

declare const objectIdBrand: unique symbol;

/** The 32-byte name of an object within its space. */
export type ObjectId = Buffer & { readonly [objectIdBrand]: true };

export const ID_BYTES = 32;

/** Object kinds; the set is open, and code that only follows refs carries kinds it does not know. */
export const Kind = { data: 1, page: 2, list: 3, directory: 4, blob: 5 } as const;

/** Bytes of an image that one page describes; every page starts with a forced cut. */
export const PAGE_BYTES = 16 * 1024 * 1024;

/** Most entries of one list. */
export const LIST_FANOUT = 1024;

/** Most bytes that refs and payload of one object take together. */
export const MAX_OBJECT_BYTES = 16 * 1024 * 1024 + 64 * 1024;

/** The number of the space whose ids anybody can check. */
export const PLAIN_SPACE = 0;

/** An object as its author sees it: `refs` are ids one after the other (32 bytes each). */
export interface StoredObject {
  readonly kind: number;
  readonly refs: Uint8Array;
  readonly payload: Uint8Array;
}

/** Takes a copy of 32 bytes as an id. */
export function copyId(bytes: Uint8Array, offset = 0): ObjectId {
  return Buffer.from(bytes.subarray(offset, offset + ID_BYTES)) as ObjectId;
}

/** Reads an id from 64 hexadecimal digits; undefined when the text is anything else. */
export function parseId(text: string): ObjectId | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? (Buffer.from(text, 'hex') as ObjectId) : undefined;
}
