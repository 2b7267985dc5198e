// Turns the entries of one directory, in the order of their names, into objects: one leaf, or parts and the index above them. Where parts begin
// depends on the names, so that a new name changes one part. docs/format.md, section 4.
import { type DirectoryEntry, type DirectoryPart, encodeParts, LeafBuilder } from '../../chunker/directory.ts';
import { Kind, type ObjectId } from '../../chunker/object.ts';
import type { ByteString } from '../../util/byte-string.ts';

const MIN_PART_ENTRIES = 128;
const MAX_PART_ENTRIES = 4096;
const PART_NAME_MASK = 511;
/** Payload and refs of a part, before its last entry. */
export const MAX_PART_BYTES = 1024 * 1024;

/** Whether a part that has `count` entries ends before `name`. */
export function endsPartBefore(name: ByteString, count: number): boolean {
  return count >= MAX_PART_ENTRIES || (count >= MIN_PART_ENTRIES && (fnv1a(name) & PART_NAME_MASK) === 0);
}

/** FNV-1a with 32 bits, over the bytes of a name. */
function fnv1a(name: ByteString): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

/** Holds one part at a time. */
export class DirectoryWriter {
  readonly #leaf = new LeafBuilder();
  readonly #parts: DirectoryPart[] = [];
  readonly #put: (kind: number, refs: Uint8Array, payload: Uint8Array) => ObjectId;
  #first = '' as ByteString;

  /** `put` stores an object; its answer may be valid until the next call only. */
  constructor(put: (kind: number, refs: Uint8Array, payload: Uint8Array) => ObjectId) {
    this.#put = put;
  }

  /** Names must rise. */
  add(entry: DirectoryEntry): void {
    if (endsPartBefore(entry.name, this.#leaf.count) || this.#leaf.sizeBytes >= MAX_PART_BYTES) this.#endPart();
    if (this.#leaf.count === 0) this.#first = entry.name;
    this.#leaf.add(entry);
  }

  /** Stores what is unfinished; the directory's object. */
  finish(): ObjectId {
    if (this.#parts.length > 0) {
      if (this.#leaf.count > 0) this.#endPart();
      const { refs, payload } = encodeParts(this.#parts);
      return Buffer.from(this.#put(Kind.directory, refs, payload)) as ObjectId;
    }
    const { refs, payload } = this.#leaf.finish();
    return Buffer.from(this.#put(Kind.directory, refs, payload)) as ObjectId;
  }

  #endPart(): void {
    const { refs, payload } = this.#leaf.finish();
    this.#parts.push({ first: this.#first, id: Buffer.from(this.#put(Kind.directory, refs, payload)) as ObjectId });
  }
}
