// A member of a tar archive with everything that its headers say of it, whatever form they said it in.
import type { ByteString } from '../../util/byte-string.ts';

export interface Xattr {
  readonly name: ByteString;
  readonly value: Buffer;
}

/** Bytes of a sparse file that are not hole. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** What follows a member's name: one of `FileType`, or another name of a member before it. */
export type MemberType = number | 'link';

export interface TarMember {
  /** As it stands in the archive. */
  readonly path: ByteString;
  readonly type: MemberType;
  /** Of a symbolic link its target, of a hard link the path of the other member. */
  readonly linkTarget: ByteString;
  /** Permission bits, set-id and sticky among them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: readonly Xattr[];
  /** Of a regular file, holes included. */
  readonly sizeBytes: number;
  /** Where the data of a sparse file lies, in rising order; undefined: everywhere. */
  readonly extents: readonly Extent[] | undefined;
}

/** Most extents of a sparse file: 32 MiB of memory. */
export const MAX_EXTENTS = 1_000_000;

/** Bytes of data that the archive has of a regular file. */
export function storedBytes(extents: readonly Extent[] | undefined, sizeBytes: number): number {
  return extents === undefined ? sizeBytes : extents.reduce((sum, { length }) => sum + length, 0);
}
