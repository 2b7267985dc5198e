// The header of the index snapshot on disk, its pack table and fan-out. Pure; docs/format.md, section 8.
import { shortHash } from '../../chunker/object-id.ts';

export const SNAPSHOT_HEADER_BYTES = 128;
export const SNAPSHOT_PACK_BYTES = 48;
export const FANOUT_BYTES = 8;
const MAGIC = Buffer.from('HOLDINDX', 'latin1');

export interface SnapshotPack {
  readonly packId: Buffer;
  readonly footerMac: Buffer;
  readonly fileLength: number;
  readonly recordCount: number;
  readonly kind: number;
}

export interface SnapshotHead {
  readonly storeId: Buffer;
  readonly fanoutBits: number;
  readonly entryCount: number;
  readonly entriesOffset: number;
  readonly packs: readonly SnapshotPack[];
  /** `ends[b]`: number of entries in bucket b and all before it. */
  readonly ends: Uint32Array;
  /** CRC-32 of each bucket's entries. */
  readonly checks: Uint32Array;
}

/** Aims at 64 entries a bucket, so that one look-up reads about 3 KiB. */
export function fanoutBitsFor(entryCount: number): number {
  return Math.max(0, Math.min(16, Math.ceil(Math.log2(Math.max(1, entryCount / 64)))));
}

/** The bucket of an id: its first `bits` bits. */
export function bucketOf(id: Uint8Array, bits: number, at = 0): number {
  return (((id[at] as number) << 8) | (id[at + 1] as number)) >>> (16 - bits);
}

/** Bytes before the entries, rounded up to a block. */
export function headBytes(packCount: number, fanoutBits: number): number {
  return (
    Math.ceil((SNAPSHOT_HEADER_BYTES + packCount * SNAPSHOT_PACK_BYTES + FANOUT_BYTES * 2 ** fanoutBits) / 4096) * 4096
  );
}

export function encodeSnapshotHead(head: SnapshotHead): Buffer {
  const bytes = Buffer.alloc(head.entriesOffset);
  MAGIC.copy(bytes);
  bytes.writeUInt16LE(1, 8);
  bytes.writeUInt8(head.fanoutBits, 10);
  bytes.writeUInt32LE(head.packs.length, 12);
  bytes.writeBigUInt64LE(BigInt(head.entryCount), 16);
  head.storeId.copy(bytes, 24);
  bytes.writeBigUInt64LE(BigInt(head.entriesOffset), 40);
  let at = SNAPSHOT_HEADER_BYTES;
  for (const pack of head.packs) {
    pack.packId.copy(bytes, at);
    pack.footerMac.copy(bytes, at + 16);
    bytes.writeBigUInt64LE(BigInt(pack.fileLength), at + 32);
    bytes.writeUInt32LE(pack.recordCount, at + 40);
    bytes.writeUInt8(pack.kind, at + 44);
    at += SNAPSHOT_PACK_BYTES;
  }
  for (let bucket = 0; bucket < head.ends.length; bucket++, at += FANOUT_BYTES) {
    bytes.writeUInt32LE(head.ends[bucket] as number, at);
    bytes.writeUInt32LE(head.checks[bucket] as number, at + 4);
  }
  headCheck(bytes, at).copy(bytes, 112);
  return bytes;
}

/** Bytes of the head that `prefix` (the first 128 bytes of a snapshot) announces; undefined when it is no snapshot of ours. */
export function announcedHeadBytes(prefix: Buffer): number | undefined {
  if (prefix.length < SNAPSHOT_HEADER_BYTES || !prefix.subarray(0, 8).equals(MAGIC) || prefix.readUInt16LE(8) !== 1)
    return undefined;
  const bits = prefix.readUInt8(10);
  if (bits > 16) return undefined;
  const expected = headBytes(prefix.readUInt32LE(12), bits);
  return prefix.readBigUInt64LE(40) === BigInt(expected) ? expected : undefined;
}

/** Reads a head; undefined when its check fails. */
export function decodeSnapshotHead(bytes: Buffer): SnapshotHead | undefined {
  if (announcedHeadBytes(bytes) !== bytes.length) return undefined;
  const fanoutBits = bytes.readUInt8(10);
  const packCount = bytes.readUInt32LE(12);
  const buckets = 2 ** fanoutBits;
  const end = SNAPSHOT_HEADER_BYTES + packCount * SNAPSHOT_PACK_BYTES + buckets * FANOUT_BYTES;
  if (!headCheck(bytes, end).equals(bytes.subarray(112, 128))) return undefined;
  const packs: SnapshotPack[] = [];
  let at = SNAPSHOT_HEADER_BYTES;
  for (let pack = 0; pack < packCount; pack++, at += SNAPSHOT_PACK_BYTES) {
    packs.push({
      packId: Buffer.from(bytes.subarray(at, at + 16)),
      footerMac: Buffer.from(bytes.subarray(at + 16, at + 32)),
      fileLength: Number(bytes.readBigUInt64LE(at + 32)),
      recordCount: bytes.readUInt32LE(at + 40),
      kind: bytes.readUInt8(at + 44),
    });
  }
  const ends = new Uint32Array(buckets);
  const checks = new Uint32Array(buckets);
  for (let bucket = 0; bucket < buckets; bucket++, at += FANOUT_BYTES) {
    ends[bucket] = bytes.readUInt32LE(at);
    checks[bucket] = bytes.readUInt32LE(at + 4);
  }
  return {
    storeId: Buffer.from(bytes.subarray(24, 40)),
    fanoutBits,
    entryCount: Number(bytes.readBigUInt64LE(16)),
    entriesOffset: bytes.length,
    packs,
    ends,
    checks,
  };
}

function headCheck(bytes: Buffer, end: number): Buffer {
  return shortHash(Buffer.concat([bytes.subarray(0, 112), bytes.subarray(SNAPSHOT_HEADER_BYTES, end)]));
}
