// The bounded pool of one thread's pack write buffers: few sessions get large buffers, many get small ones, none more memory.

import type { Area, Arena } from '../../util/arena.ts';
import { HoldfastError } from '../../util/errors.ts';

/** A large buffer makes O_DIRECT writes of 4 MiB and a small one of 512 KiB. */
const LARGE_BYTES = 4 * 1024 * 1024;
const SMALL_BYTES = 512 * 1024;
const LARGE_COUNT = 2;
const SMALL_COUNT = 14;

export interface WriteBuffer extends Area {
  /** Bytes that make a full write; `bytes` is longer by the margin in which one record may overhang. */
  readonly fullBytes: number;
}

export class WriteBuffers {
  readonly #large: WriteBuffer[] = [];
  readonly #small: WriteBuffer[] = [];

  /** `marginBytes`: the longest record that is encoded in place. */
  constructor(arena: Arena, marginBytes: number) {
    const make = (fullBytes: number): WriteBuffer => ({ ...arena.allocate(fullBytes + marginBytes), fullBytes });
    for (let n = 0; n < LARGE_COUNT; n++) this.#large.push(make(LARGE_BYTES));
    for (let n = 0; n < SMALL_COUNT; n++) this.#small.push(make(SMALL_BYTES));
  }

  /** Bytes of arena that the pool takes. */
  static arenaBytes(marginBytes: number): number {
    return (
      LARGE_COUNT * (LARGE_BYTES + marginBytes) +
      SMALL_COUNT * (SMALL_BYTES + marginBytes) +
      (LARGE_COUNT + SMALL_COUNT) * 4096
    );
  }

  /** @throws `too-many` when every buffer is taken: 16 packs are being written by this thread. */
  take(wantLarge: boolean): WriteBuffer {
    const buffer = (wantLarge ? this.#large.pop() : undefined) ?? this.#small.pop() ?? this.#large.pop();
    if (buffer === undefined)
      throw new HoldfastError('too-many', 'too many sessions write at once; wait for one to end');
    return buffer;
  }

  give(buffer: WriteBuffer): void {
    (buffer.fullBytes === LARGE_BYTES ? this.#large : this.#small).push(buffer);
  }
}
