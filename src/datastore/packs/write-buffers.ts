// The bounded pool of one thread's pack write buffers: few sessions get large buffers, many get small ones, none more memory than the pool has:
// 2 * 4 MiB + 14 * 512 KiB + 240 * 128 KiB = 45 MiB when all are in use, and what overhangs in the margins of the first 16.
import type { Area, Arena } from '../../util/arena.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Direct writes of 4 MiB, 512 KiB and, when many sessions write at once, 128 KiB: each takes two buffers of a thread. Untouched memory costs nothing. */
const SIZES = [
  { fullBytes: 4 * 1024 * 1024, count: 2, hasMargin: true },
  { fullBytes: 512 * 1024, count: 14, hasMargin: true },
  { fullBytes: 128 * 1024, count: 240, hasMargin: false },
] as const;

export interface WriteBuffer extends Area {
  /** Bytes that make a full write; `bytes` may be longer, by a margin in which one record overhangs. */
  readonly fullBytes: number;
}

export class WriteBuffers {
  /** Those that are free, largest first. */
  readonly #free: readonly WriteBuffer[][];

  /** `marginBytes`: the longest record that is encoded in place. */
  constructor(arena: Arena, marginBytes: number) {
    this.#free = SIZES.map(({ fullBytes, count, hasMargin }) =>
      Array.from({ length: count }, () => ({
        ...arena.allocate(fullBytes + (hasMargin ? marginBytes : 0)),
        fullBytes,
      })),
    );
  }

  /** Bytes of arena that the pool takes. */
  static arenaBytes(marginBytes: number): number {
    return SIZES.reduce(
      (sum, { fullBytes, count, hasMargin }) => sum + count * (fullBytes + (hasMargin ? marginBytes + 4096 : 0)),
      0,
    );
  }

  /** @throws `too-many` when every buffer is taken: 256 packs are being written by this thread. */
  take(wantLarge: boolean): WriteBuffer {
    const [large, small, tiny] = this.#free as [WriteBuffer[], WriteBuffer[], WriteBuffer[]];
    const buffer = (wantLarge ? large.pop() : undefined) ?? small.pop() ?? tiny.pop() ?? large.pop();
    if (buffer === undefined)
      throw new HoldfastError('too-many', 'too many sessions write at once; wait for one to end');
    return buffer;
  }

  give(buffer: WriteBuffer): void {
    this.#free[SIZES.findIndex(({ fullBytes }) => fullBytes === buffer.fullBytes)]?.push(buffer);
  }
}
