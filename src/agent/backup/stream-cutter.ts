// Cuts a stream in a worker: bytes arrive in any portions, pieces leave in order, the unfinished one is kept in the window.

import type { Cutter } from '../../chunker/cutter.ts';
import { copyId, type ObjectId } from '../../chunker/object.ts';
import type { Area } from '../../util/arena.ts';
import type { ObjectSink } from '../object-sink.ts';

const HEADROOM_BYTES = 4096;

export interface StreamPiece {
  readonly length: number;
  /** Undefined for a piece of zeros. */
  readonly id: ObjectId | undefined;
}

/** Parts of the contents of files, one behind the other in `bytes`. */
export interface ContentsWork {
  readonly session: string;
  readonly bytes: Uint8Array;
  /** `final`: data ends here; else it goes on with the first part of the next call to this thread. */
  readonly segments: readonly { readonly length: number; readonly final: boolean }[];
}

/** The pieces that were finished, in order. */
export interface CutContents {
  /** Pieces of each segment. */
  readonly counts: readonly number[];
  readonly lengths: readonly number[];
  /** One after the other. */
  readonly ids: Uint8Array;
}

export class StreamCutter {
  readonly #cutter: Cutter;
  readonly #window: Area;
  #start = HEADROOM_BYTES;
  #held = 0;

  constructor(cutter: Cutter, window: Area) {
    this.#cutter = cutter;
    this.#window = window;
  }

  start(): void {
    this.#start = HEADROOM_BYTES;
    this.#held = 0;
  }

  /**
   * Cuts many contents in one call: of small files a call each would cost more than the cutting. Zeros are data, for holes of a file are known
   * to whoever calls.
   */
  takeContents({ bytes, segments }: ContentsWork, sink: ObjectSink): CutContents {
    const counts: number[] = [];
    const lengths: number[] = [];
    const ids: ObjectId[] = [];
    let at = 0;
    for (const { length, final } of segments) {
      const pieces = this.#take(bytes.subarray(at, at + length), final, sink, false);
      counts.push(pieces.length);
      for (const piece of pieces) {
        lengths.push(piece.length);
        ids.push(piece.id as ObjectId);
      }
      at += length;
    }
    return { counts, lengths, ids: Buffer.concat(ids) };
  }

  /** Takes the next portion and returns the pieces that it finishes; with `final`, all. */
  take(portion: Uint8Array, final: boolean, sink: ObjectSink): StreamPiece[] {
    return this.#take(portion, final, sink, true);
  }

  #take(portion: Uint8Array, final: boolean, sink: ObjectSink, zerosAreHoles: boolean): StreamPiece[] {
    const pieces: StreamPiece[] = [];
    const { bytes, pointer } = this.#window;
    for (let taken = 0; ; ) {
      const isLast = final && taken === portion.length;
      const length = this.#held === 0 ? 0 : this.#cutter.nextStream(pointer + this.#start, this.#held, isLast);
      if (length > 0) {
        const at = pointer + this.#start;
        const isHole = zerosAreHoles && this.#cutter.isZero(at, length);
        pieces.push({ length, id: isHole ? undefined : copyId(sink.putData(at, length)) });
        this.#start += length;
        this.#held -= length;
        continue;
      }
      if (taken === portion.length) return pieces;
      bytes.copyWithin(HEADROOM_BYTES, this.#start, this.#start + this.#held);
      this.#start = HEADROOM_BYTES;
      const room = Math.min(portion.length - taken, bytes.length - HEADROOM_BYTES - this.#held);
      bytes.set(portion.subarray(taken, taken + room), HEADROOM_BYTES + this.#held);
      this.#held += room;
      taken += room;
    }
  }
}
