// What a thread is given to restore, and what it tells of it; structured-cloneable.
import type { LostRange, RestorePiece } from './piece-restorer.ts';
import type { FileTargetLocator } from './target.ts';

/** A range to restore: a page, or pieces that the caller has looked up. */
export interface RestoreWork {
  readonly space: number;
  readonly offset: number;
  readonly length: number;
  readonly page: Uint8Array | undefined;
  readonly pieces: readonly RestorePiece[] | undefined;
  /** Where the bytes go; undefined returns them. */
  readonly target: FileTargetLocator | undefined;
  /** Write zeros for what is lost, and say where; without it a lost object is an error. */
  readonly zeroLost: boolean;
}

export interface RestoredRange {
  readonly bytes: ArrayBuffer | undefined;
  /** Ranges of the archive that were lost, in order. */
  readonly lost: readonly LostRange[];
}
