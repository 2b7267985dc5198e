// Arithmetic of byte ranges.
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

const endOf = ({ offset, length }: Range): number => offset + length;
