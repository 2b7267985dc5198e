// A worker thread's part in serving disks: decodes pieces and checks them against their ids, into the blocks that the cache set aside.

import { HoldfastError } from '../../util/errors.ts';
import { type PlainError, plainError } from '../../util/plain-error.ts';
import type { ObjectFetcher } from '../object-sink.ts';
import type { PieceRestorer, RestorePiece } from '../restore/piece-restorer.ts';
import { blocksOf, SlabTarget } from './slab.ts';

export interface LoadWork {
  readonly space: number;
  readonly pieces: readonly (RestorePiece & { readonly id: Uint8Array })[];
  /** Blocks of the slab, piece by piece. */
  readonly blocks: Int32Array;
}

/** Why a piece of the work could not be had. */
export interface LoadFailure {
  readonly place: number;
  readonly error: PlainError;
}

/** Loads all pieces; those that are damaged or missing are named, and keep none of the others back. */
export function loadPieces(
  { pieces, blocks }: LoadWork,
  slab: Uint8Array,
  restorer: PieceRestorer,
  fetcher: ObjectFetcher,
): LoadFailure[] {
  const lengths = pieces.map((piece) => piece.length);
  try {
    restorer.run(pieces, 0, fetcher, new SlabTarget(slab, lengths, blocks));
    return [];
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
  }
  // Rare: one by one, to see which.
  const failures: LoadFailure[] = [];
  let first = 0;
  pieces.forEach((piece, place) => {
    const own = blocks.subarray(first, first + blocksOf(piece.length));
    first += own.length;
    try {
      restorer.run([piece], 0, fetcher, new SlabTarget(slab, [piece.length], own));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      failures.push({ place, error: plainError(error) });
    }
  });
  return failures;
}
