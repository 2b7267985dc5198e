// A set of index entries as a bitmap that all threads share. It is as large as the store may ever be and costs memory only where it is
// touched.
import { MAX_ENTRIES } from './index-tables.ts';

export class EntrySet {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(MAX_ENTRIES / 8)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Adds an entry; whether it was not in the set before. Of several threads that add the same one, one is told so. */
  add(entry: number): boolean {
    const bit = 1 << (entry & 31);
    return (Atomics.or(this.#words, entry >>> 5, bit) & bit) === 0;
  }

  has(entry: number): boolean {
    return (Atomics.load(this.#words, entry >>> 5) & (1 << (entry & 31))) !== 0;
  }

  /** Adds what another set holds of the entries below `limit`. */
  addAll(other: EntrySet, limit: number): void {
    for (let word = 0; word < Math.ceil(limit / 32); word++) {
      const bits = Atomics.load(other.#words, word);
      if (bits !== 0) Atomics.or(this.#words, word, bits);
    }
  }

  /** Removes all entries below `limit`. */
  clear(limit: number): void {
    this.#words.fill(0, 0, Math.ceil(limit / 32));
  }
}
