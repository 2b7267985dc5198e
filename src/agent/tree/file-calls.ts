// System calls on file trees that Node does not offer, from file-calls.c: relative to open directories, never through a symbolic link, with
// extended attributes. Measured: a directory of 1,000 files is listed, looked at and asked for attributes in one call.
import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import { STAT_BYTES } from '../../chunker/stat-block.ts';
import type { ByteString } from '../../util/byte-string.ts';

/** Bytes of a stat block with the device's major and minor number behind it. */
export const STAT_OUT_BYTES = STAT_BYTES + 8;

/** What of a file's metadata to set; the same bits say what could not be set. */
export const Metadata = { owner: 1, mode: 2, times: 4, xattrs: 8, acls: 16, attributes: 32, all: 63 } as const;

/** Flags for `open`: a directory, or a regular file that may be anything else by now; neither through a symbolic link. */
export const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
export const OPEN_TO_READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOATIME;
export const OPEN_NEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * All calls answer with a number: 0 or more, or the negative errno. A directory is an open descriptor, a name one component in it (for
 * `open` with directory -1: a path).
 */
export interface FileCalls {
  /** A descriptor, closed on exec. O_NOATIME is left out where the caller may not use it. */
  open(directory: number, name: ByteString, flags: number, mode: number): number;
  /** Closes what `open` gave: Node warns of descriptors that it closes and did not open itself. */
  close(fd: number): number;
  /** All names but . and .., sorted by their bytes, each once: a byte with the length, then the name. */
  listNames(directory: number): Buffer | number;
  /** Scan records (`readScan`) of names in the form of `listNames`; a name that cannot be looked at has its errno in its record. */
  scan(directory: number, names: Uint8Array): Buffer | number;
  /** Writes the stat block and the device of a name, or with an empty name of the descriptor itself, to `out` (76 bytes). */
  stat(directory: number, name: ByteString, out: Uint8Array): number;
  /** Reads a file from its start until it or `target` ends, and its stat block after that: the bytes read. */
  readFile(directory: number, name: ByteString, target: Uint8Array, out: Uint8Array): number;
  /** Where from `offset` on the next data (or hole) begins; -ENXIO when no data follows. */
  seek(fd: number, offset: number, wantsHole: boolean | number): number;
  makeDirectory(directory: number, name: ByteString, mode: number): number;
  makeSymlink(directory: number, name: ByteString, target: ByteString): number;
  /** A device, FIFO or socket; `mode` with its type bits. */
  makeNode(directory: number, name: ByteString, mode: number, major: number, minor: number): number;
  makeLink(directory: number, name: ByteString, existingDirectory: number, existingName: ByteString): number;
  remove(directory: number, name: ByteString, isDirectory: boolean | number): number;
  /** Within one directory; -EEXIST when the new name is taken, unless `mayReplace`. */
  rename(directory: number, name: ByteString, newName: ByteString, mayReplace: boolean | number): number;
  /**
   * Sets what `wanted` (bits of `Metadata`) names of `fd`, or with fd -1 of the name itself; `readFailures` reads the answer. When the owner
   * cannot be set, set-id bits are left out of the mode.
   */
  setMetadata(
    directory: number,
    name: ByteString,
    fd: number,
    stat: Uint8Array,
    xattrs: Uint8Array,
    wanted: number,
  ): number;
  /** A new file with its data and metadata; negative: there is no file. Else as `setMetadata`. */
  writeFile(
    directory: number,
    name: ByteString,
    data: Uint8Array,
    stat: Uint8Array,
    xattrs: Uint8Array,
    wanted: number,
  ): number;
  /** Another descriptor of the same open file or socket, closed on exec. */
  duplicate(fd: number): number;
}

/** Loads the compiled calls, which lie beside this file: in src/agent/tree/ and, next to the bundle, in dist/. */
export function loadFileCalls(): FileCalls {
  const binding = createRequire(import.meta.url)('./file-calls.node') as Record<keyof FileCalls, unknown>;
  const flag = (value: boolean | number): number => Number(value);
  const raw = binding as unknown as FileCalls;
  return {
    ...raw,
    seek: (fd, offset, wantsHole) => raw.seek(fd, offset, flag(wantsHole)),
    rename: (directory, name, newName, mayReplace) => raw.rename(directory, name, newName, flag(mayReplace)),
    remove: (directory, name, isDirectory) => raw.remove(directory, name, flag(isDirectory)),
  };
}

/** The name of an errno, such as ENOENT, for a negative result or a positive errno. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-Math.abs(errno));
}

/** What `setMetadata` and `writeFile` could not set: bits of `Metadata`, and the first errno. */
export function readFailures(result: number): { readonly kinds: number; readonly errno: number } {
  return { kinds: result & 0xff, errno: result >>> 8 };
}

/** One record of `scan`. Views into the scan's buffer. */
export interface Scanned {
  readonly name: ByteString;
  /** Why it could not be looked at; 0 when it could. */
  readonly errno: number;
  /** Why its extended attributes could not be read; they are empty then. */
  readonly xattrErrno: number;
  readonly isMountPoint: boolean;
  /** A regular file with fewer blocks than its size needs. */
  readonly isSparse: boolean;
  readonly stat: Buffer;
  /** Device that it lies on, as major * 2^32 + minor. */
  readonly device: number;
  /** Of a symbolic link. */
  readonly target: Buffer;
  readonly xattrs: Buffer;
}

/** Before the stat block of a scan record; the name, the extended attributes and the target of a link follow that. */
const SCAN_HEADER_BYTES = 24;

/** Reads the records of a scan one by one. */
export function* readScan(scan: Buffer): Generator<Scanned> {
  for (let at = 0; at < scan.length; at += scan.readUInt32LE(at)) {
    const { stat, name, xattrs, target, end } = recordAt(scan, at);
    const marks = scan[at + 7] as number;
    yield {
      name: scan.toString('latin1', name, xattrs) as ByteString,
      errno: scan[at + 5] as number,
      xattrErrno: scan[at + 6] as number,
      isMountPoint: (marks & 1) !== 0,
      isSparse: (marks & 2) !== 0,
      stat: scan.subarray(stat, name),
      device: scan.readUInt32LE(at + 16) * 2 ** 32 + scan.readUInt32LE(at + 20),
      target: scan.subarray(target, end),
      xattrs: scan.subarray(xattrs, target),
    };
  }
}

/** Where the parts of the scan record at `at` begin: each ends where the next begins. */
export function recordAt(
  scan: Buffer,
  at: number,
): {
  readonly stat: number;
  readonly name: number;
  readonly xattrs: number;
  readonly target: number;
  readonly end: number;
} {
  const stat = at + SCAN_HEADER_BYTES;
  const name = stat + STAT_BYTES;
  const xattrs = name + (scan[at + 4] as number);
  const target = xattrs + scan.readUInt32LE(at + 12);
  return { stat, name, xattrs, target, end: target + scan.readUInt32LE(at + 8) };
}

/** Whether the record at `at` was looked at without any error. */
export function isWholeRecord(scan: Buffer, at: number): boolean {
  return scan[at + 5] === 0 && scan[at + 6] === 0;
}
