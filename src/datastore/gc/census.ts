// Counts, pack by pack, what of the index entries is live.

import type { EntrySet } from '../index/entry-set.ts';
import { LENGTH_MASK, Word } from '../index/index-entry.ts';
import type { ObjectIndex } from '../index/object-index.ts';

/** By pack number. Bytes are those of records, without frames. */
export interface Census {
  readonly liveBytes: Float64Array;
  readonly deadBytes: Float64Array;
  readonly liveRecords: Float64Array;
}

export function emptyCensus(packs: number): Census {
  return {
    liveBytes: new Float64Array(packs),
    deadBytes: new Float64Array(packs),
    liveRecords: new Float64Array(packs),
  };
}

/** Counts entries `from` to `to` (not included) of packs that the census has room for; entry numbers never used count nothing. */
export function countEntries(census: Census, index: ObjectIndex, live: EntrySet, from: number, to: number): void {
  for (let entry = from; entry < to; entry++) {
    const { words, base } = index.words(entry);
    const length = (words[base + Word.lengthAndFlags] as number) & LENGTH_MASK;
    const pack = words[base + Word.pack] as number;
    if (length === 0 || pack >= census.liveBytes.length) continue;
    if (live.has(entry)) {
      census.liveBytes[pack]! += length;
      census.liveRecords[pack]!++;
    } else {
      census.deadBytes[pack]! += length;
    }
  }
}

/** Adds what another thread counted. */
export function addCensus(sum: Census, part: Census): void {
  for (const field of ['liveBytes', 'deadBytes', 'liveRecords'] as const) {
    const from = part[field];
    for (let pack = 0; pack < from.length; pack++) sum[field][pack]! += from[pack] as number;
  }
}
