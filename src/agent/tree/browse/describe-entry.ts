// An entry of a tree as plain facts, for whoever shows it.
import { Content, type DirectoryEntry, eachXattr, Mark } from '../../../chunker/directory.ts';
import { type ObjectId, parseId } from '../../../chunker/object.ts';
import { FileType, fileType, readStat, sizeOf } from '../../../chunker/stat-block.ts';
import type { Archive } from '../../../schema/manifest.ts';
import { type ByteString, fromBytes } from '../../../util/byte-string.ts';
import { TYPE_LETTERS } from './find-entries.ts';

/** The id of a tree's root object. */
export type TreeRoot = ObjectId;

export interface EntryFacts {
  /** A letter of find's `-type`, or `?`. */
  readonly type: string;
  /** With the bits of the type. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Of a regular file; 0 for all else. */
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  /** Of a symbolic link. */
  readonly target: ByteString | undefined;
  /** Of a device. */
  readonly device: { readonly major: number; readonly minor: number } | undefined;
  /** Names of the extended attributes. */
  readonly xattrs: readonly ByteString[];
  /** Why its content could not be read for the backup; 0 when it could. */
  readonly errno: number;
  readonly isMountPoint: boolean;
  /** `immutable`, `append-only`, `compressed`, `no-dump`. */
  readonly attributes: readonly string[];
}

const ATTRIBUTES: readonly (readonly [number, string])[] = [
  [0x4, 'compressed'],
  [0x10, 'immutable'],
  [0x20, 'append-only'],
  [0x40, 'no-dump'],
];

export function describeEntry(entry: DirectoryEntry): EntryFacts {
  const stat = readStat(entry.stat);
  const type = fileType(entry.stat);
  const isDevice = type === FileType.blockDevice || type === FileType.characterDevice;
  const isLink = type === FileType.symlink && entry.content === Content.inline;
  return {
    type: typeLetter(entry),
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    links: stat.nlink,
    sizeBytes: stat.sizeBytes,
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    inode: stat.inode,
    target: isLink ? fromBytes(entry.contentBytes) : undefined,
    device: isDevice ? { major: stat.major, minor: stat.minor } : undefined,
    xattrs: [...eachXattr(entry.xattrs)].map(({ name }) => name),
    errno: entry.content === Content.unreadable ? entry.errno : 0,
    isMountPoint: (entry.marks & Mark.mountPoint) !== 0,
    attributes: ATTRIBUTES.filter(([bit]) => (stat.attributes & bit) !== 0).map(([, name]) => name),
  };
}

/** A letter of find's `-type`, or `?`. */
export function typeLetter({ stat }: DirectoryEntry): string {
  return TYPE_LETTERS.get(fileType(stat)) ?? '?';
}

/** Size of a regular file; 0 for all else. */
export function sizeOfEntry({ stat }: DirectoryEntry): number {
  return sizeOf(stat);
}

export function rootOf(archive: Archive): TreeRoot {
  return parseId(archive.root) as ObjectId;
}
