// Drives a Cutter over bytes the way a reader does: it shows a little, and more when asked. The bytes lie at the very end
// of the memory, so that reading past them traps, and what is not yet shown is filled with a decoy.
import { type Cutter, createCutter } from '../../src/chunker/cutter.ts';
import type { Piece } from './reference-cutter.ts';

const PAGE = 65536;

/** How many bytes to show at first and to add on each "need more"; undefined shows all at once. */
export type Showing = (() => number) | undefined;

export class CutDriver {
  readonly memory: WebAssembly.Memory;
  readonly cutter: Cutter;

  constructor(maximumBytes: number) {
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(maximumBytes / PAGE) + 1 });
    this.cutter = createCutter(this.memory);
  }

  /** Pieces as the cutter gave them; holes may come in parts. */
  diskPieces(page: Uint8Array, showing?: Showing, decoy = 0): Piece[] {
    let afterHole = false;
    const lengths = this.#run(page, showing, decoy, (ptr, available, final) => {
      const length = this.cutter.nextDisk(ptr, available, final, afterHole);
      if (length !== 0) afterHole = length < 0;
      return length;
    });
    return lengths.map((length) => ({ length: Math.abs(length), hole: length < 0 }));
  }

  streamLengths(stream: Uint8Array, showing?: Showing, decoy = 0): number[] {
    return this.#run(stream, showing, decoy, (ptr, available, final) => this.cutter.nextStream(ptr, available, final));
  }

  #run(
    bytes: Uint8Array,
    showing: Showing,
    decoy: number,
    next: (ptr: number, available: number, final: boolean) => number,
  ): number[] {
    const base = this.memory.buffer.byteLength - bytes.length;
    const shown = new Uint8Array(this.memory.buffer, base);
    shown.fill(decoy);
    const lengths: number[] = [];
    let known = 0;
    for (let at = 0; at < bytes.length; ) {
      // A piece is judged by a limit of its own, also when the piece before it had shown more.
      shown.fill(decoy, at);
      known = at;
      let length = 0;
      while (length === 0) {
        if (known === bytes.length) throw new Error(`no piece at ${at} although everything is known`);
        const upTo = Math.min(bytes.length, known + (showing === undefined ? bytes.length : showing()));
        shown.set(bytes.subarray(known, upTo), known);
        known = upTo;
        length = next(base + at, known - at, known === bytes.length);
      }
      lengths.push(length);
      at += Math.abs(length);
      if (at > known) throw new Error(`the piece ends at ${at}, past the ${known} bytes shown`);
    }
    return lengths;
  }
}

/** Neighbouring holes become one. */
export function mergeHoles(pieces: readonly Piece[]): Piece[] {
  const merged: Piece[] = [];
  for (const piece of pieces) {
    const last = merged.at(-1);
    if (piece.hole && last?.hole) merged[merged.length - 1] = { length: last.length + piece.length, hole: true };
    else merged.push(piece);
  }
  return merged;
}

/** The offsets at which pieces end. */
export function ends(lengths: readonly number[]): number[] {
  let at = 0;
  return lengths.map((length) => {
    at += length;
    return at;
  });
}
