// What passes between the main thread and a worker for one directory of a tree, or a slice of a large one. One call for each: 44 us.
import type { ByteString } from '../../../util/byte-string.ts';
import type { IdMapJson } from '../ids/id-map.ts';
import type { ExcludeRulesJson } from '../select/exclude.ts';

/** What holds for a whole tree; every thread is told once. */
export interface TreeSettings {
  /** The top, as the user named it. */
  readonly path: string;
  /** Take over what the base snapshot has of files whose metadata is the same. */
  readonly trustsMetadata: boolean;
  /** Devices whose file systems belong to the archive; undefined: all. Numbered as in `Scanned`. */
  readonly devices: readonly number[] | undefined;
  /** Of a container whose ids are not those of this host. */
  readonly idMap: IdMapJson | undefined;
}

export interface DirectoryWork {
  readonly session: string;
  /** Below the top; empty for the top itself. */
  readonly path: ByteString;
  /** The names to work on, as `FileCalls.listNames` gives them; undefined: all. */
  readonly names: Uint8Array | undefined;
  /** The directory's object in the base snapshot. */
  readonly base: Uint8Array | undefined;
  /** What is left out here and below; undefined: nothing. */
  readonly rules: ExcludeRulesJson | undefined;
}

/** A directory below the one that was worked on, whose object is not known yet. */
export interface ChildDirectory {
  readonly name: ByteString;
  /** Its place among the draft's refs, which holds zeros. */
  readonly ref: number;
  /** Where its entry begins in the draft's payload. */
  readonly entryAt: number;
  readonly base: Uint8Array | undefined;
  /** Device and inode: tells a loop of mounts. */
  readonly identity: string;
  readonly isMountPoint: boolean;
}

/** A leaf that waits for the objects of its directories. */
export interface Draft {
  readonly refs: Uint8Array;
  readonly payload: Uint8Array;
  readonly children: readonly ChildDirectory[];
}

/** A part of a directory: stored, or waiting. */
export interface PartResult {
  readonly first: ByteString;
  readonly id: Uint8Array | undefined;
  readonly draft: Draft | undefined;
}

/** Something that is not in the archive as it is, or was, on the disk. */
export interface TreeWarning {
  readonly path: ByteString;
  readonly text: string;
}

export interface TreeCounts {
  entries: number;
  /** Sizes of regular files. */
  bytesLogical: number;
  bytesRead: number;
  filesRead: number;
}

export type DirectoryResult =
  /** It could not be opened or listed. */
  | { readonly kind: 'failed'; readonly errno: number }
  /** Too many names for one call: work on these slices, in this order. */
  | {
      readonly kind: 'sliced';
      readonly slices: readonly Uint8Array[];
      readonly rules: ExcludeRulesJson | undefined;
      readonly warnings: readonly TreeWarning[];
    }
  | {
      readonly kind: 'done';
      readonly parts: readonly PartResult[];
      readonly rules: ExcludeRulesJson | undefined;
      readonly counts: TreeCounts;
      readonly warnings: readonly TreeWarning[];
    };
