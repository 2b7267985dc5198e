// Arithmetic of byte ranges: to join them, to take some from others, to walk them window by window.
import type { Range } from './source.ts';

/** `ranges` less `holes`; both ascending. */
export function without(ranges: readonly Range[], holes: readonly Range[]): Range[] {
  const left: Range[] = [];
  let first = 0;
  for (const range of ranges) {
    let at = range.offset;
    const end = range.offset + range.length;
    // Holes that end before a range begins concern no later one either.
    while (first < holes.length && endOf(holes[first] as Range) <= at) first++;
    for (let place = first; place < holes.length && at < end; place++) {
      const hole = holes[place] as Range;
      if (hole.offset >= end) break;
      if (hole.offset > at) left.push({ offset: at, length: hole.offset - at });
      at = Math.max(at, endOf(hole));
    }
    if (at < end) left.push({ offset: at, length: end - at });
  }
  return left;
}

/** The same ranges in pieces of at most `bytes`. */
export function* stepsOf(ranges: readonly Range[], bytes: number): Generator<Range> {
  for (const range of ranges)
    for (let offset = range.offset; offset < endOf(range); offset += bytes)
      yield { offset, length: Math.min(bytes, endOf(range) - offset) };
}

/** Sorts ranges and joins those with no more than `gap` bytes between them; empty ones vanish. */
export function joinRanges(ranges: readonly Range[], gap = 0): Range[] {
  const joined: { offset: number; length: number }[] = [];
  for (const { offset, length } of ranges.filter((range) => range.length > 0).sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && offset <= last.offset + last.length + gap)
      last.length = Math.max(last.length, offset + length - last.offset);
    else joined.push({ offset, length });
  }
  return joined;
}

/** Cuts ascending ranges to one window after the other: call it with ascending windows. Ranges come back window-local. */
export class RangeCursor {
  readonly #ranges: Iterator<Range> | AsyncIterator<Range>;
  #held: Range | undefined;
  #done = false;

  constructor(ranges: Iterable<Range> | AsyncIterable<Range>) {
    this.#ranges = Symbol.asyncIterator in ranges ? ranges[Symbol.asyncIterator]() : ranges[Symbol.iterator]();
  }

  async within(offset: number, length: number): Promise<Range[]> {
    const found: Range[] = [];
    for (;;) {
      if (this.#held === undefined && !this.#done) {
        const next = await this.#ranges.next();
        this.#done = next.done === true;
        if (!this.#done) this.#held = next.value as Range;
      }
      const range = this.#held;
      if (range === undefined || range.offset >= offset + length) return found;
      const from = Math.max(range.offset, offset);
      const to = Math.min(range.offset + range.length, offset + length);
      if (to > from) found.push({ offset: from - offset, length: to - from });
      // A range that goes on behind the window is needed again.
      if (range.offset + range.length > offset + length) return found;
      this.#held = undefined;
    }
  }

  /** Call when the ranges are not read to their end. */
  async close(): Promise<void> {
    await this.#ranges.return?.();
  }
}

const endOf = ({ offset, length }: Range): number => offset + length;
