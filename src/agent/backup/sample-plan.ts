// Which pages of an image are looked into to catch a change map that lies: one unchanged chunk in a thousand, at most 16 MiB in all,
// at random places.
import { type ObjectId, PAGE_BYTES } from '../../chunker/object.ts';
import type { Range } from '../sources/source.ts';
import type { SampleWork } from './sample-piece.ts';

const CHUNKS_PER_SAMPLE = 1000;
const MAX_SAMPLED_BYTES = 16 * 1024 * 1024;

export class SamplePlan {
  readonly #pages = new Set<number>();

  /** `averageBytes`: of a chunk. */
  constructor(sizeBytes: number, averageBytes: number, random: () => number = Math.random) {
    const wanted = Math.ceil(sizeBytes / averageBytes / CHUNKS_PER_SAMPLE);
    const pages = Math.ceil(sizeBytes / PAGE_BYTES);
    const count = Math.min(wanted, Math.floor(MAX_SAMPLED_BYTES / (4 * averageBytes)), pages);
    while (this.#pages.size < count) this.#pages.add(Math.floor(random() * pages));
  }

  /** The sample to take of a page, if any. */
  of(page: {
    offset: number;
    length: number;
    page: ObjectId | undefined;
    changed: readonly Range[];
  }): SampleWork | undefined {
    return this.#pages.has(page.offset / PAGE_BYTES) ? { ...page, pick: Math.random() } : undefined;
  }
}
