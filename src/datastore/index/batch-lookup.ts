// Looks many ids up at once. An index that is larger than the caches answers one id in the time that the memory takes to answer
// three times in a row; short passes over some ids at a time let the processor wait for all of them together.
import { Word } from './index-entry.ts';
import { type IndexTables, wordOf } from './index-tables.ts';

/** More than a processor has reads under way, few enough that the first cache holds what the passes hand on. */
const BATCH_IDS = 128;
const ID_WORDS = 8;

export class BatchLookup {
  readonly #tables: IndexTables;
  readonly #words = new Int32Array(BATCH_IDS * ID_WORDS);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  readonly #slots: Int32Array[] = new Array(BATCH_IDS).fill(this.#words);
  readonly #starts = new Int32Array(BATCH_IDS);
  readonly #candidates = new Int32Array(BATCH_IDS);
  #touched = 0;

  constructor(tables: IndexTables) {
    this.#tables = tables;
  }

  /**
   * Writes an entry of each id to `found`, or -1 for none. `ids` are 32 bytes each, one after the other. When several copies of
   * an object exist, or its tag is another's too, `other(place)` is asked for the entry of the id at that place.
   */
  find(space: number, ids: Uint8Array, found: Int32Array, other: (place: number) => number): void {
    const count = ids.length / (ID_WORDS * 4);
    for (let start = 0; start < count; start += BATCH_IDS) {
      const size = Math.min(BATCH_IDS, count - start);
      this.#bytes.set(ids.subarray(start * ID_WORDS * 4, (start + size) * ID_WORDS * 4));
      this.#findStarts(size);
      this.#findCandidates(size);
      this.#touchEntries(size);
      for (let place = 0; place < size; place++) {
        const candidate = this.#candidates[place] as number;
        found[start + place] =
          candidate < 0 || this.#isEntryOf(candidate, space, place) ? candidate : other(start + place);
      }
    }
  }

  #findStarts(size: number): void {
    const words = this.#words;
    let touched = 0;
    for (let place = 0; place < size; place++) {
      const at = place * ID_WORDS;
      const slots = this.#tables.slotsOf(words[at] as number, words[at + 1] as number);
      const start = this.#tables.startOf(words[at + 2] as number, slots);
      this.#slots[place] = slots;
      this.#starts[place] = start;
      touched ^= slots[start] as number;
    }
    this.#touched = touched;
  }

  /** The first entry behind a slot with the id's tag. */
  #findCandidates(size: number): void {
    const candidates = this.#candidates;
    for (let place = 0; place < size; place++) {
      const slots = this.#slots[place] as Int32Array;
      const tag = this.#words[place * ID_WORDS + 2] as number;
      let slot = this.#starts[place] as number;
      let value = slots[slot] as number;
      // A table is never full: a free slot ends the walk.
      while (value !== 0 && slots[slot + 1] !== tag) {
        slot = slot + 2 === slots.length ? 0 : slot + 2;
        value = slots[slot] as number;
      }
      candidates[place] = value - 1;
    }
  }

  #touchEntries(size: number): void {
    let touched = this.#touched;
    for (let place = 0; place < size; place++) {
      const entry = this.#candidates[place] as number;
      if (entry < 0) continue;
      const words = this.#tables.arenaOf(entry);
      const base = wordOf(entry);
      // Both ends: an entry may lie across two cache lines.
      touched ^= (words[base] as number) ^ (words[base + Word.space] as number);
    }
    this.#touched = touched;
  }

  #isEntryOf(entry: number, space: number, place: number): boolean {
    const entryWords = this.#tables.arenaOf(entry);
    const base = wordOf(entry);
    const at = place * ID_WORDS;
    for (let word = 0; word < ID_WORDS; word++) if (entryWords[base + word] !== this.#words[at + word]) return false;
    return entryWords[base + Word.space] === space;
  }
}
