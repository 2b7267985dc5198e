// Reads the index snapshot: whole, into the shared index, or a few ids by `pread` for short commands (docs/format.md, section 8).
// Any mismatch with the packs that are there makes the snapshot worthless, and it is left alone.
import { openSync, readSync, statSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { closeQuietly, readFully } from '../../util/direct-io.ts';
import { systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
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

  /** Opens the snapshot of this store when there is one and every pack that it names is there unchanged. */
  static open(layout: Layout, storeId: Buffer): IndexSnapshot | undefined {
    let fd: number;
    try {
      fd = openSync(layout.indexSnapshot, 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const head = readHead(fd);
    const usable = head?.storeId.equals(storeId) && head.packs.every((pack) => packIsUnchanged(layout, pack));
    if (head !== undefined && usable) return new IndexSnapshot(fd, head);
    closeQuietly(fd);
    return undefined;
  }

  /** Hands all entries to `take`, 48 bytes each at `at` in `bytes`; false when a bucket fails its check. */
  forEach(take: (bytes: Buffer, at: number) => void): boolean {
    const { ends, checks, entriesOffset } = this.head;
    for (let bucket = 0; bucket < ends.length; ) {
      // As many whole buckets as fit one read; a bucket alone when it is larger.
      const first = bucket === 0 ? 0 : (ends[bucket - 1] as number);
      let last = bucket + 1;
      while (last < ends.length && ((ends[last] as number) - first) * ENTRY_BYTES <= READ_BYTES) last++;
      const bytes = Buffer.allocUnsafe(((ends[last - 1] as number) - first) * ENTRY_BYTES);
      if (readFully(this.#fd, bytes, entriesOffset + first * ENTRY_BYTES) < bytes.length) return false;
      let at = 0;
      for (; bucket < last; bucket++) {
        const end = ((ends[bucket] as number) - first) * ENTRY_BYTES;
        if (crc32(bytes.subarray(at, end)) !== checks[bucket]) return false;
        at = end;
      }
      for (let entry = 0; entry < bytes.length; entry += ENTRY_BYTES) take(bytes, entry);
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

function packIsUnchanged(layout: Layout, pack: SnapshotHead['packs'][number]): boolean {
  const path = layout.sealedPack(pack.packId);
  try {
    if (statSync(path).size !== pack.fileLength) return false;
    const end = Buffer.alloc(TRAILER_BYTES);
    const fd = openSync(path, 'r');
    try {
      readSync(fd, end, 0, TRAILER_BYTES, pack.fileLength - TRAILER_BYTES);
    } finally {
      closeQuietly(fd);
    }
    return decodeTrailer(end)?.mac.equals(pack.footerMac) ?? false;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
