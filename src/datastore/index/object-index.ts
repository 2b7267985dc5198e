// The object index: (space, id) -> places in packs, shared by all threads, up to 60 bytes an object. Entries never change once
// published (but for the quarantine flag). Several copies of an object are several entries; nothing is ever displaced (rule D4).
import type { ObjectId } from '../../chunker/object.ts';
import type { SharedBuffers } from '../../util/shared-buffers.ts';
import { BatchLookup } from './batch-lookup.ts';
import { FLAG_QUARANTINED, LENGTH_MASK, Word } from './index-entry.ts';
import { IndexTables, wordOf } from './index-tables.ts';

export class ObjectIndex {
  readonly #tables: IndexTables;
  readonly #batch: BatchLookup;

  // The words of the id being looked up, and where its probe stands.
  readonly #key = new Int32Array(8);
  #space = 0;
  #probed: Int32Array = new Int32Array(0);
  #slot = 0;
  #slotsLeft = 0;

  private constructor(tables: IndexTables) {
    this.#tables = tables;
    this.#batch = new BatchLookup(tables);
  }

  /** A new, empty index with room for about `expected` entries before it first grows. */
  static create(shared: SharedBuffers, expected: number): ObjectIndex {
    return new ObjectIndex(IndexTables.create(shared, expected));
  }

  /** The index that another thread created, seen from this thread. */
  static attach(shared: SharedBuffers): ObjectIndex {
    return new ObjectIndex(IndexTables.attach(shared));
  }

  /** Published entries, copies included. */
  get count(): number {
    return this.#tables.count;
  }

  /** Bytes of memory that the index takes: entries in use and all slots. */
  get memoryBytes(): number {
    return this.#tables.memoryBytes;
  }

  /** Entry numbers lie below this; some below it may be unused. */
  get entryLimit(): number {
    return this.#tables.entryLimit;
  }

  /** The first entry of (space, id), or -1. `id` holds the 32 bytes at `at`. Goes on with `next`. */
  first(space: number, id: Uint8Array, at = 0): number {
    this.#setKey(space, id, at);
    return this.#probe();
  }

  /** The next entry of what `first` was asked for, or -1. */
  next(): number {
    return this.#probe();
  }

  /**
   * An entry of each id, or -1, to `found`; `ids` are one after the other. The same as `first` for each, and twice as fast where the
   * index is larger than the caches.
   */
  firstOfEach(space: number, ids: Uint8Array, found: Int32Array): void {
    this.#batch.find(space, ids, found, (place) => this.first(space, ids, place * 32));
  }

  /** Adds a copy of an object and returns its entry number. */
  insert(space: number, id: Uint8Array, pack: number, offset: number, lengthAndFlags: number, at = 0): number {
    this.#setKey(space, id, at);
    const entry = this.#tables.newEntry();
    const words = this.#tables.arenaOf(entry);
    const base = wordOf(entry);
    words.set(this.#key, base);
    words[base + Word.space] = space;
    words[base + Word.pack] = pack;
    words[base + Word.offset] = offset;
    words[base + Word.lengthAndFlags] = lengthAndFlags;
    this.#tables.publish(entry);
    return entry;
  }

  /** Adds `count` entries of 12 words each, at the start of `entries`, with no lock: only while no other thread sees the index. */
  load(entries: Int32Array, count: number): void {
    this.#tables.load(entries, count);
  }

  space(entry: number): number {
    return this.#word(entry, Word.space);
  }

  pack(entry: number): number {
    return this.#word(entry, Word.pack);
  }

  /** File offset of the record in its pack. */
  offset(entry: number): number {
    return this.#word(entry, Word.offset);
  }

  /** Bytes of the record. */
  length(entry: number): number {
    return this.#word(entry, Word.lengthAndFlags) & LENGTH_MASK;
  }

  has(entry: number, flag: number): boolean {
    return (Atomics.load(this.#tables.arenaOf(entry), wordOf(entry) + Word.lengthAndFlags) & flag) !== 0;
  }

  /** Marks a copy as bad, for all threads at once. */
  quarantine(entry: number): void {
    Atomics.or(this.#tables.arenaOf(entry), wordOf(entry) + Word.lengthAndFlags, FLAG_QUARANTINED);
  }

  /** Takes the mark away from a copy that reads well again. */
  release(entry: number): void {
    Atomics.and(this.#tables.arenaOf(entry), wordOf(entry) + Word.lengthAndFlags, ~FLAG_QUARANTINED);
  }

  id(entry: number): ObjectId {
    const { words, base } = this.words(entry);
    const id = Buffer.allocUnsafe(32);
    for (let word = 0; word < 8; word++) id.writeInt32LE(words[base + word] as number, word * 4);
    return id as ObjectId;
  }

  /** The words of an entry, for writing a snapshot: the arena's array and the place of the first word in it. */
  words(entry: number): { words: Int32Array; base: number } {
    return { words: this.#tables.arenaOf(entry), base: wordOf(entry) };
  }

  /** All published entry numbers, in no order that means anything. */
  entries(): Generator<number> {
    return this.#tables.entries();
  }

  #word(entry: number, word: number): number {
    return this.#tables.arenaOf(entry)[wordOf(entry) + word] as number;
  }

  #setKey(space: number, id: Uint8Array, at: number): void {
    const key = this.#key;
    for (let word = 0; word < 8; word++) {
      const byte = at + word * 4;
      key[word] =
        (id[byte] as number) |
        ((id[byte + 1] as number) << 8) |
        ((id[byte + 2] as number) << 16) |
        ((id[byte + 3] as number) << 24);
    }
    this.#space = space;
    this.#probed = this.#tables.slotsOf(key[0] as number, key[1] as number);
    this.#slot = this.#tables.startOf(key[2] as number, this.#probed);
    this.#slotsLeft = this.#probed.length;
  }

  /**
   * Plain loads, for V8 of Node 20 calls a builtin for each Atomics.load: a value read late only means an entry seen late,
   * and what a slot's value leads to was written before it.
   */
  #probe(): number {
    const slots = this.#probed;
    const tag = this.#key[2] as number;
    let slot = this.#slot;
    let left = this.#slotsLeft;
    let found = -1;
    while (left > 0 && found < 0) {
      const value = slots[slot] as number;
      if (value === 0) {
        left = 0;
        break;
      }
      if (slots[slot + 1] === tag && this.#matches(value - 1)) found = value - 1;
      slot = slot + 2 === slots.length ? 0 : slot + 2;
      left -= 2;
    }
    this.#slot = slot;
    this.#slotsLeft = left;
    return found;
  }

  #matches(entry: number): boolean {
    const words = this.#tables.arenaOf(entry);
    const base = wordOf(entry);
    const key = this.#key;
    for (let word = 0; word < 8; word++) if (words[base + word] !== key[word]) return false;
    return words[base + Word.space] === this.#space;
  }
}
