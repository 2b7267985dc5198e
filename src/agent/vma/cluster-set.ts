// Which clusters of a device have come: one bit each, in parts of 16 GiB of device that are made when a cluster of theirs comes.
import { PAGE_BYTES } from '../../chunker/object.ts';
import { CLUSTER_BYTES } from './vma-layout.ts';

export const PAGE_CLUSTERS = PAGE_BYTES / CLUSTER_BYTES;
const WORD_BITS = 32;
const PAGE_WORDS = PAGE_CLUSTERS / WORD_BITS;
const PART_PAGES = 1024;
const PART_CLUSTERS = PART_PAGES * PAGE_CLUSTERS;

export class ClusterSet {
  /** Clusters of the device, the last may be a part of one. */
  readonly size: number;
  readonly #parts: (Uint32Array | undefined)[] = [];
  #count = 0;

  constructor(sizeBytes: number) {
    this.size = Math.ceil(sizeBytes / CLUSTER_BYTES);
  }

  /** How many have come. */
  get count(): number {
    return this.#count;
  }

  /** Adds a cluster of the device; false when it was there. */
  add(cluster: number): boolean {
    const place = Math.floor(cluster / PART_CLUSTERS);
    let part = this.#parts[place];
    if (part === undefined) {
      part = new Uint32Array(PART_PAGES * PAGE_WORDS);
      this.#parts[place] = part;
    }
    const word = (cluster % PART_CLUSTERS) >>> 5;
    const bit = 1 << (cluster % WORD_BITS);
    const old = part[word] as number;
    if ((old & bit) !== 0) return false;
    part[word] = old | bit;
    this.#count++;
    return true;
  }

  /** Whether all clusters of a page have come. */
  hasPage(page: number): boolean {
    const part = this.#parts[Math.floor(page / PART_PAGES)];
    if (part === undefined) return false;
    let left = Math.min(PAGE_CLUSTERS, this.size - page * PAGE_CLUSTERS);
    for (let word = (page % PART_PAGES) * PAGE_WORDS; left > 0; word++, left -= WORD_BITS) {
      const wanted = left >= WORD_BITS ? 0xffffffff : 2 ** left - 1;
      if (part[word] !== wanted) return false;
    }
    return true;
  }

  /** The first that has not come; undefined when all have. */
  firstMissing(): number | undefined {
    if (this.#count === this.size) return undefined;
    let cluster = 0;
    while (this.hasPage(Math.floor(cluster / PAGE_CLUSTERS))) cluster += PAGE_CLUSTERS;
    while (this.#has(cluster)) cluster++;
    return cluster;
  }

  #has(cluster: number): boolean {
    const part = this.#parts[Math.floor(cluster / PART_CLUSTERS)];
    return (
      part !== undefined && ((part[(cluster % PART_CLUSTERS) >>> 5] as number) & (1 << (cluster % WORD_BITS))) !== 0
    );
  }
}
