// A page that was put together from clusters, as a worker reads it: what is stored lies in shared memory, all else is zeros, and whatever
// lies in its place does not count.
import { HoldfastError } from '../../util/errors.ts';
import type { DiskReader, Range } from '../sources/source.ts';
import { BLOCK_BYTES, CLUSTER_BLOCKS } from './vma-layout.ts';

/** Shorter runs of zeros are no holes by themselves: to name them would save nothing. */
const MIN_ZERO_BLOCKS = 4;

export interface PageBytesWork {
  readonly session: string;
  /** Shared memory: it is not copied on its way. */
  readonly bytes: Uint8Array;
  readonly masks: Uint16Array;
  /** Of the page. */
  readonly length: number;
}

export class PageBytes implements DiskReader {
  readonly sizeBytes: number;
  readonly #bytes: Uint8Array;
  readonly #masks: Uint16Array;

  /** `masks` has for each cluster the blocks that are stored. */
  constructor(bytes: Uint8Array, masks: Uint16Array, sizeBytes: number) {
    this.#bytes = bytes;
    this.#masks = masks;
    this.sizeBytes = sizeBytes;
  }

  /** Runs of zeros, ascending. */
  zeroRanges(): Range[] {
    const ranges: Range[] = [];
    for (let at = 0; at < this.sizeBytes; ) {
      const end = this.#runEnd(at, this.sizeBytes);
      if (!this.#isStored(at) && (end - at >= MIN_ZERO_BLOCKS * BLOCK_BYTES || end === this.sizeBytes))
        ranges.push({ offset: at, length: end - at });
      at = end;
    }
    return ranges;
  }

  readInto(offset: number, target: Uint8Array): undefined {
    const end = offset + target.length;
    if (end > this.sizeBytes) throw new HoldfastError('source-changed', `a page has no bytes behind ${this.sizeBytes}`);
    for (let at = offset; at < end; ) {
      const runEnd = this.#runEnd(at, end);
      if (this.#isStored(at)) target.set(this.#bytes.subarray(at, runEnd), at - offset);
      else target.fill(0, at - offset, runEnd - offset);
      at = runEnd;
    }
  }

  async close(): Promise<void> {}

  /** Where a run of blocks that are alike ends, at most at `limit`. */
  #runEnd(from: number, limit: number): number {
    const stored = this.#isStored(from);
    let at = (Math.floor(from / BLOCK_BYTES) + 1) * BLOCK_BYTES;
    while (at < limit && this.#isStored(at) === stored) at += BLOCK_BYTES;
    return Math.min(at, limit);
  }

  #isStored(at: number): boolean {
    const block = Math.floor(at / BLOCK_BYTES);
    return (((this.#masks[Math.floor(block / CLUSTER_BLOCKS)] as number) >> (block % CLUSTER_BLOCKS)) & 1) === 1;
  }
}
