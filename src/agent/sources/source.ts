// What the backup needs of a disk, whatever it is: a size, the ranges known to be zero, and reads that land in place.
// `DiskSource` lives in the orchestrating thread; each worker opens its own `DiskReader` from the source's locator.
import type { SharedPace } from '../nbd/pace.ts';

/** A byte range of a disk; both in bytes. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** How a worker finds the disk; structured-cloneable. */
export type SourceLocator =
  | { readonly type: 'file'; readonly path: string }
  | {
      readonly type: 'nbd';
      readonly socketPath: string;
      readonly exportName: string;
      /** What messages call it. */
      readonly label: string;
      /** How it is read, where it is not to be as by default. */
      readonly pace?: SharedPace | undefined;
      /** How long an answer may take, where it may take longer than by default. */
      readonly timeoutMs?: number | undefined;
    };

export interface DiskSource {
  /** Bytes of the disk; fixed while it is open. */
  readonly sizeBytes: number;
  /** Named in messages: the path or address the user gave. */
  readonly label: string;
  readonly locator: SourceLocator;
  /**
   * Ranges that read as zeros and need not be read, ascending, without overlap; an empty answer means "unknown". Of the ranges in `within` alone when it is
   * given, ascending too. Only a hint: what it leaves out is found by looking at the bytes.
   */
  zeroRanges(signal: AbortSignal, within?: readonly Range[]): AsyncIterable<Range>;
  /** Throws `source-changed` when the disk no longer has the size it was opened with. */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** One thread's open handle on a disk. */
export interface DiskReader {
  readonly sizeBytes: number;
  /**
   * Fills `target` with the bytes from `offset`. Returns at once for local files; a promise where data comes over a socket.
   * Throws `source-failed` with the offset when the bytes cannot be read, `source-changed` when the disk ends before.
   */
  readInto(offset: number, target: Uint8Array): Promise<void> | undefined;
  /** Ends reads that wait with an error, and all that come; missing where none can wait. */
  giveUp?(): void;
  close(): Promise<void>;
}
