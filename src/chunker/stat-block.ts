// The stat block of a file: what the file system says of it, as 68 bytes that are compared and stored as they are. docs/format.md, section 4.

export const STAT_BYTES = 68;

/** File types, as in the upper bits of a mode. */
export const FileType = {
  fifo: 0o010000,
  characterDevice: 0o020000,
  directory: 0o040000,
  blockDevice: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
} as const;

const TYPE_MASK = 0o170000;

/** A stat block with names; times are nanoseconds since 1970. */
export interface StatFields {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  readonly major: number;
  readonly minor: number;
  /** Bits of statx: 0x4 compressed, 0x10 immutable, 0x20 append-only, 0x40 no dump. */
  readonly attributes: number;
}

/** One of `FileType`, or another value for what this version does not know. */
export function fileType(stat: Uint8Array): number {
  return u32(stat, 0) & TYPE_MASK;
}

export function modeOf(stat: Uint8Array): number {
  return u32(stat, 0);
}

/** Size of a regular file; 0 for all else. */
export function sizeOf(stat: Uint8Array): number {
  return u32(stat, 16) + u32(stat, 20) * 2 ** 32;
}

/** Number of names; 1 for a directory. */
export function nlinkOf(stat: Uint8Array): number {
  return u32(stat, 12);
}

/** Names an inode within its file system: equal for hard links. */
export function inodeKey(stat: Uint8Array): string {
  return Buffer.from(stat.buffer, stat.byteOffset + 40, 8).toString('latin1');
}

export function readStat(stat: Uint8Array): StatFields {
  const view = new DataView(stat.buffer, stat.byteOffset, STAT_BYTES);
  const time = (seconds: number, nanoseconds: number): bigint =>
    view.getBigInt64(seconds, true) * 1_000_000_000n + BigInt(view.getUint32(nanoseconds, true));
  return {
    mode: view.getUint32(0, true),
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
    nlink: view.getUint32(12, true),
    sizeBytes: sizeOf(stat),
    mtimeNs: time(24, 48),
    ctimeNs: time(32, 52),
    inode: view.getBigUint64(40, true),
    major: view.getUint32(56, true),
    minor: view.getUint32(60, true),
    attributes: view.getUint32(64, true),
  };
}

export function writeStat(fields: StatFields): Buffer {
  const stat = Buffer.alloc(STAT_BYTES);
  stat.writeUInt32LE(fields.mode, 0);
  stat.writeUInt32LE(fields.uid, 4);
  stat.writeUInt32LE(fields.gid, 8);
  stat.writeUInt32LE(fields.nlink, 12);
  stat.writeBigUInt64LE(BigInt(fields.sizeBytes), 16);
  writeTime(stat, fields.mtimeNs, 24, 48);
  writeTime(stat, fields.ctimeNs, 32, 52);
  stat.writeBigUInt64LE(fields.inode, 40);
  stat.writeUInt32LE(fields.major, 56);
  stat.writeUInt32LE(fields.minor, 60);
  stat.writeUInt32LE(fields.attributes, 64);
  return stat;
}

/** A copy with another size: that of what was really read. */
export function withSize(stat: Uint8Array, sizeBytes: number): Buffer {
  const copy = Buffer.from(stat);
  copy.writeBigUInt64LE(BigInt(sizeBytes), 16);
  return copy;
}

/** Nanoseconds are never negative: seconds round down. */
function writeTime(stat: Buffer, time: bigint, seconds: number, nanoseconds: number): void {
  const rest = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  stat.writeBigInt64LE((time - rest) / 1_000_000_000n, seconds);
  stat.writeUInt32LE(Number(rest), nanoseconds);
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}
