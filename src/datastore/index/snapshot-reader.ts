// Reads the index snapshot: whole, into the shared index, or a few ids by `pread` for short commands (docs/format.md, section 8).
// Any mismatch with the packs that are there makes the snapshot worthless, and it is left alone.
import { openSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { closeQuietly, readFully } from '../../util/direct-io.ts';
import { systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import type { PackFiles } from '../packs/pack-files.ts';
import { decodeTrailer, TRAILER_BYTES } from '../packs/pack-format.ts';
import { ENTRY_BYTES } from './index-entry.ts';
import {
  announcedHeadBytes,
  bucketOf,
  decodeSnapshotHead,
  SNAPSHOT_HEADER_BYTES,
  type SnapshotHead,
} from './snapshot-format.ts';

const READ_BYTES = 4 * 1024 * 1024;

/** One entry as it stands in the snapshot; `pack` is a place in the snapshot's pack table. */
export interface SnapshotEntry {
  readonly space: number;
  readonly pack: number;
  readonly offset: number;
  readonly lengthAndFlags: number;
}

export class IndexSnapshot {
  readonly head: SnapshotHead;
  readonly #fd: number;

  private constructor(fd: number, head: SnapshotHead) {
    this.#fd = fd;
    this.head = head;
  }

  /**
   * Opens the snapshot of this store when there is one and every pack that it names is there unchanged.
   */
  static open(layout: Layout, storeId: Buffer, files: PackFiles): IndexSnapshot | undefined {
    let fd: number;
    try {
      fd = openSync(layout.indexSnapshot, 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const head = readHead(fd);
    const usable = head?.storeId.equals(storeId) && head.packs.every((pack) => packIsUnchanged(files, pack));
    if (head !== undefined && usable) return new IndexSnapshot(fd, head);
    closeQuietly(fd);
    return undefined;
  }

  /** The snapshot that another thread has opened, which closes it; by then the file may have been replaced. */
  static opened(descriptor: number): IndexSnapshot {
    const head = readHead(descriptor);
    if (head === undefined) throw new Error('an index snapshot that another thread has read changed');
    return new IndexSnapshot(descriptor, head);
  }

  get descriptor(): number {
    return this.#fd;
  }

  /** Hands all entries to `take`, `count` at a time, 12 words each; false when a bucket fails its check. */
  readAll(take: (entries: Int32Array, count: number) => void): boolean {
    const { ends, checks, entriesOffset } = this.head;
    let buffer = Buffer.from(new ArrayBuffer(READ_BYTES));
    for (let bucket = 0; bucket < ends.length; ) {
      // As many whole buckets as fit one read; a bucket alone when it is larger.
      const first = bucket === 0 ? 0 : (ends[bucket - 1] as number);
      let last = bucket + 1;
      while (last < ends.length && ((ends[last] as number) - first) * ENTRY_BYTES <= READ_BYTES) last++;
      const count = (ends[last - 1] as number) - first;
      if (count * ENTRY_BYTES > buffer.length) buffer = Buffer.from(new ArrayBuffer(count * ENTRY_BYTES));
      const bytes = buffer.subarray(0, count * ENTRY_BYTES);
      if (readFully(this.#fd, bytes, entriesOffset + first * ENTRY_BYTES) < bytes.length) return false;
      let at = 0;
      for (; bucket < last; bucket++) {
        const end = ((ends[bucket] as number) - first) * ENTRY_BYTES;
        if (crc32(bytes.subarray(at, end)) !== checks[bucket]) return false;
        at = end;
      }
      take(new Int32Array(buffer.buffer), count);
    }
    return true;
  }

  /** The entries of (space, id), read from disk; undefined when the bucket fails its check. */
  find(space: number, id: Uint8Array): SnapshotEntry[] | undefined {
    const { ends, checks, entriesOffset, fanoutBits } = this.head;
    const bucket = bucketOf(id, fanoutBits);
    const first = bucket === 0 ? 0 : (ends[bucket - 1] as number);
    const bytes = Buffer.allocUnsafe(((ends[bucket] as number) - first) * ENTRY_BYTES);
    if (readFully(this.#fd, bytes, entriesOffset + first * ENTRY_BYTES) < bytes.length) return undefined;
    if (crc32(bytes) !== checks[bucket]) return undefined;
    const found: SnapshotEntry[] = [];
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
      if (bytes.compare(id, 0, 32, at, at + 32) !== 0 || bytes.readUInt32LE(at + 32) !== space) continue;
      found.push({
        space,
        pack: bytes.readUInt32LE(at + 36),
        offset: bytes.readUInt32LE(at + 40),
        lengthAndFlags: bytes.readUInt32LE(at + 44),
      });
    }
    return found;
  }

  close(): void {
    closeQuietly(this.#fd);
  }
}

function readHead(fd: number): SnapshotHead | undefined {
  const prefix = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
  if (readFully(fd, prefix, 0) < prefix.length) return undefined;
  const length = announcedHeadBytes(prefix);
  if (length === undefined) return undefined;
  const head = Buffer.alloc(length);
  return readFully(fd, head, 0) === length ? decodeSnapshotHead(head) : undefined;
}

function packIsUnchanged(files: PackFiles, pack: SnapshotHead['packs'][number]): boolean {
  // One byte more than the trailer, so that the same read sees a file that has grown.
  const end = Buffer.alloc(TRAILER_BYTES + 1);
  const fd = files.openSealed(pack.packId);
  if (fd === undefined) return false;
  try {
    if (readSync(fd, end, 0, end.length, pack.fileLength - TRAILER_BYTES) !== TRAILER_BYTES) return false;
  } finally {
    closeQuietly(fd);
  }
  return decodeTrailer(end.subarray(0, TRAILER_BYTES))?.mac.equals(pack.footerMac) ?? false;
}
