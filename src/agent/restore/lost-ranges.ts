// The ranges of one archive that could not be restored, in order, neighbours joined.
import type { LostRange } from './piece-restorer.ts';

/** Most ranges that are kept apart, some 20 MiB; beyond that the last one grows and covers intact bytes too. */
const MAX_RANGES = 400_000;

export class LostRanges {
  readonly #ranges: { offset: number; length: number }[] = [];

  get ranges(): readonly LostRange[] {
    return this.#ranges;
  }

  /** Adds ranges that lie behind all that were added before. */
  add(ranges: readonly LostRange[]): void {
    for (const { offset, length } of ranges) {
      const last = this.#ranges.at(-1);
      if (last !== undefined && (last.offset + last.length === offset || this.#ranges.length >= MAX_RANGES))
        last.length = offset + length - last.offset;
      else this.#ranges.push({ offset, length });
    }
  }
}
