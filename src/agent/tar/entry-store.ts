// Entries of an archive while it is read, packed one behind the other: a million of them as objects of their own would take four times the memory.
import type { Content, DirectoryEntry } from '../../chunker/directory.ts';
import { STAT_BYTES, type StatFields, writeStat } from '../../chunker/stat-block.ts';
import type { ByteString } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';

const CHUNK_BYTES = 1024 * 1024;
/** Chunk number times this, plus the place in the chunk, is a handle: below 2^53 whatever fits in memory. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
const HEAD_BYTES = 16;

export interface StoredEntry {
  readonly content: number;
  readonly marks: number;
  readonly stat: StatFields;
  readonly xattrs: Uint8Array;
  readonly contentBytes: Uint8Array;
  readonly refs: Uint8Array;
}

export class EntryStore {
  readonly #chunks: Buffer[] = [];
  readonly #maxBytes: number;
  #used = 0;
  #bytes = 0;

  /** Takes at most `maxBytes`. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Keeps a copy, and answers with its handle. @throws `too-large` past the limit. */
  add(entry: StoredEntry): number {
    const { xattrs, contentBytes, refs } = entry;
    const length = HEAD_BYTES + STAT_BYTES + xattrs.length + contentBytes.length + refs.length;
    this.#bytes += length;
    if (this.#bytes > this.#maxBytes)
      throw new HoldfastError(
        'too-large',
        `the entries of the archive take more than ${this.#maxBytes} bytes of memory; unpack it and back up the directory`,
      );
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || this.#used + length > chunk.length) {
      chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, length));
      this.#chunks.push(chunk);
      this.#used = 0;
    }
    const at = this.#used;
    chunk[at] = entry.content;
    chunk[at + 1] = entry.marks;
    chunk.writeUInt32LE(xattrs.length, at + 4);
    chunk.writeUInt32LE(contentBytes.length, at + 8);
    chunk.writeUInt32LE(refs.length, at + 12);
    let to = at + HEAD_BYTES;
    for (const part of [writeStat(entry.stat), xattrs, contentBytes, refs]) {
      chunk.set(part, to);
      to += part.length;
    }
    this.#used = to;
    return (this.#chunks.length - 1) * MAX_CHUNK_BYTES + at;
  }

  /** The entry under a name. All but the stat block are views. */
  read(handle: number, name: ByteString): DirectoryEntry {
    const chunk = this.#chunks[Math.floor(handle / MAX_CHUNK_BYTES)] as Buffer;
    const at = handle % MAX_CHUNK_BYTES;
    const statEnd = at + HEAD_BYTES + STAT_BYTES;
    const xattrEnd = statEnd + chunk.readUInt32LE(at + 4);
    const contentEnd = xattrEnd + chunk.readUInt32LE(at + 8);
    return {
      name,
      content: chunk[at] as (typeof Content)[keyof typeof Content],
      marks: chunk[at + 1] as number,
      errno: 0,
      stat: Buffer.from(chunk.subarray(at + HEAD_BYTES, statEnd)),
      xattrs: chunk.subarray(statEnd, xattrEnd),
      contentBytes: chunk.subarray(xattrEnd, contentEnd),
      refs: chunk.subarray(contentEnd, contentEnd + chunk.readUInt32LE(at + 12)),
    };
  }
}
