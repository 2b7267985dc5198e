// What an NBD server serves, as the protocol sees it: names, and disks that are read in parts and tell their holes.
import type { Extent } from './client.ts';

/** The exports of a server, by name. */
export interface ServedExports {
  /** All names that a client is told of. @throws `too-many` when they are too many to list. */
  list(): Promise<readonly string[]>;
  /** Opens a disk; undefined when there is none of this name. */
  open(name: string): Promise<ServedDisk | undefined>;
}

export interface ServedDisk {
  /** What it is, for people and logs. */
  readonly label: string;
  readonly sizeBytes: number;
  /** Whether another connection that asks for the same name is sure to get the same bytes. */
  readonly isFixed: boolean;
  /** What one connection reads through. */
  connect(): DiskSession;
}

/** A disk as one connection reads it. Ranges lie within the disk. */
export interface DiskSession {
  /**
   * The range in parts: ascending, without gaps. Each part must be released. Parts that are not released yet are limited, and the next
   * one waits for them. @throws HoldfastError for a range that cannot be read.
   */
  read(offset: number, length: number): AsyncIterable<ReadPart>;
  /**
   * What is a hole (`STATE_HOLE | STATE_ZERO`) and what is data (0): ascending from `offset`, without gaps, neighbours different, at
   * least one, and perhaps ending before the range does. `onlyFirst` asks for one.
   */
  extents(offset: number, length: number, onlyFirst: boolean): Promise<Extent[]>;
  /** Begins to read a range that will be asked for soon; takes as much of it as there is room for. */
  prefetch(offset: number, length: number): void;
}

export interface ReadPart {
  readonly offset: number;
  readonly length: number;
  /** The bytes in order; undefined for a hole. They may change once the part is released. */
  readonly views: readonly Uint8Array[] | undefined;
  release(): void;
}
