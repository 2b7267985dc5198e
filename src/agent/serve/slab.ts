// The memory of decoded pieces: one SharedArrayBuffer in blocks, which worker threads fill and the main thread sends from, without a copy
// between them. The main thread gives blocks out; a thread writes only to blocks that it was given with the work.
import { copyShared } from '../../util/copy-shared.ts';
import type { RangeTarget } from '../restore/target.ts';

/** A quarter of an average chunk: what a piece takes beyond its bytes is half of this on average. */
export const SLAB_BLOCK_BYTES = 16 * 1024;

export function blocksOf(lengthBytes: number): number {
  return Math.ceil(lengthBytes / SLAB_BLOCK_BYTES);
}

/** The bytes of a piece that lies in `blocks`, from `start` to `end`: one view for blocks that follow each other. */
export function slabViews(slab: Uint8Array, blocks: Int32Array, start: number, end: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let at = start; at < end; ) {
    const block = Math.floor(at / SLAB_BLOCK_BYTES);
    let last = block;
    while (blocks[last + 1] === (blocks[last] as number) + 1 && (last + 1) * SLAB_BLOCK_BYTES < end) last++;
    const stop = Math.min(end, (last + 1) * SLAB_BLOCK_BYTES);
    const from = (blocks[block] as number) * SLAB_BLOCK_BYTES + (at - block * SLAB_BLOCK_BYTES);
    views.push(slab.subarray(from, from + stop - at));
    at = stop;
  }
  return views;
}

/** Takes pieces in order, each into blocks of its own. Offsets count from the first piece on. */
export class SlabTarget implements RangeTarget {
  readonly #slab: Uint8Array;
  readonly #lengths: readonly number[];
  readonly #blocks: Int32Array;
  #piece = 0;
  #within = 0;
  #firstBlock = 0;

  /** `blocks` holds the blocks of one piece after those of the other. */
  constructor(slab: Uint8Array, lengths: readonly number[], blocks: Int32Array) {
    this.#slab = slab;
    this.#lengths = lengths;
    this.#blocks = blocks;
  }

  write(_offset: number, data: Uint8Array): void {
    for (let at = 0; at < data.length; ) {
      const length = this.#lengths[this.#piece] as number;
      const inBlock = this.#within % SLAB_BLOCK_BYTES;
      const part = Math.min(SLAB_BLOCK_BYTES - inBlock, length - this.#within, data.length - at);
      const block = this.#blocks[this.#firstBlock + Math.floor(this.#within / SLAB_BLOCK_BYTES)] as number;
      copyShared(this.#slab, block * SLAB_BLOCK_BYTES + inBlock, data.subarray(at, at + part));
      at += part;
      this.#within += part;
      if (this.#within < length) continue;
      this.#firstBlock += blocksOf(length);
      this.#piece++;
      this.#within = 0;
    }
  }

  hole(): void {
    throw new Error('a hole takes no memory');
  }

  close(): void {
    // Nothing is open.
  }
}
