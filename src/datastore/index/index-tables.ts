// The memory of the object index, shared by all threads: 256 segments, each a linear-probing table of 8-byte slots {entry + 1, tag} in a
// buffer of fixed size, and arenas of entries. Readers take no lock; whoever places an entry locks its segment. A segment grows
// into a new buffer, and readers go on in the old one, which nobody changes any more.
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../../util/errors.ts';
import type { SharedBuffers } from '../../util/shared-buffers.ts';
import { ENTRY_BYTES, ENTRY_WORDS } from './index-entry.ts';

const SEGMENTS = 256;
const MAX_LOAD = 0.72;
const SMALLEST_SLOTS = 256;
/** Small segments double, large ones grow a little: at most 48 + 8 / 0.72 * 1.06 bytes an object where it matters. */
const DOUBLE_BELOW = 16384;
const GROWTH = 1.06;

const ARENA_BITS = 22;
const ARENA_ENTRIES = 1 << ARENA_BITS;
/** A thread takes entry numbers in blocks, so that the shared counter is touched once per block. */
const BLOCK_ENTRIES = 256;
/** Most entries of one store: 8 TiB of unique data at 64 KiB; entry numbers fit the sessions' bitmaps. */
export const MAX_ENTRIES = 1 << 27;

// Control words: [0] next entry, [1] arenas, [2..3] seeds, [4] entries in use, then per segment: lock, generation, slots, used.
const CONTROL_HEADER = 8;
const SEGMENT_WORDS = 4;
const LOCK = 0;
const GENERATION = 1;
const SLOTS = 2;
const USED = 3;

export class IndexTables {
  readonly #shared: SharedBuffers;
  readonly #control: Int32Array;
  readonly #seedA: number;
  readonly #seedB: number;
  readonly #slots: (Int32Array | undefined)[] = new Array(SEGMENTS).fill(undefined);
  readonly #generations = new Int32Array(SEGMENTS);
  readonly #arenas: Int32Array[] = [];
  #blockNext = 0;
  #blockEnd = 0;

  private constructor(shared: SharedBuffers, control: SharedArrayBuffer) {
    this.#shared = shared;
    this.#control = new Int32Array(control);
    this.#seedA = this.#control[2] as number;
    this.#seedB = this.#control[3] as number;
  }

  /** New, empty tables with room for about `expected` entries before they first grow. */
  static create(shared: SharedBuffers, expected: number): IndexTables {
    // An index that was given up (its snapshot was damaged) must not lend its tables to this one: the names are the same.
    for (const name of shared.snapshot().keys()) if (name.startsWith('index.')) shared.drop(name);
    const buffer = shared.add('index.control', (CONTROL_HEADER + SEGMENTS * SEGMENT_WORDS) * 4);
    const control = new Int32Array(buffer);
    const seeds = randomBytes(8);
    control[2] = seeds.readInt32LE(0);
    control[3] = seeds.readInt32LE(4);
    const slots = Math.max(SMALLEST_SLOTS, Math.ceil(((expected / SEGMENTS) * 1.02) / MAX_LOAD) + 64);
    for (let segment = 0; segment < SEGMENTS; segment++) {
      const base = CONTROL_HEADER + segment * SEGMENT_WORDS;
      shared.add(slotsName(segment, 1), slots * 8);
      control[base + SLOTS] = slots;
      control[base + GENERATION] = 1;
    }
    return new IndexTables(shared, buffer);
  }

  /** The tables that another thread created, seen from this thread. */
  static attach(shared: SharedBuffers): IndexTables {
    return new IndexTables(shared, shared.get('index.control'));
  }

  /** Published entries. */
  get count(): number {
    return Atomics.load(this.#control, 4);
  }

  /** Bytes of memory: entries in use and all slots. */
  get memoryBytes(): number {
    let bytes = this.count * ENTRY_BYTES;
    for (let segment = 0; segment < SEGMENTS; segment++) {
      bytes += Atomics.load(this.#control, CONTROL_HEADER + segment * SEGMENT_WORDS + SLOTS) * 8;
    }
    return bytes;
  }

  /** Entry numbers lie below this; some below it may be unused. */
  get entryLimit(): number {
    return Atomics.load(this.#control, 0);
  }

  /**
   * The slots of the segment of an id, from its first two words: value and tag of each, a value of 0 is free. Keyed, as is
   * `startOf`, so that nobody can craft ids that all land in one place.
   */
  slotsOf(word0: number, word1: number): Int32Array {
    return this.#segmentSlots(this.#segmentOf(word0, word1));
  }

  /** The slot at which probing for a tag, the third word of an id, starts. */
  startOf(tag: number, slots: Int32Array): number {
    let mix = Math.imul(tag ^ this.#seedB, 0x9e3779b1);
    mix = Math.imul(mix ^ (mix >>> 15), 0x27d4eb2f);
    return Math.floor(((mix ^ (mix >>> 16)) >>> 0) * (slots.length / 8589934592)) * 2;
  }

  /** The arena that an entry lies in, as words; `wordOf` says where. */
  arenaOf(entry: number): Int32Array {
    const arena = entry >>> ARENA_BITS;
    let words = this.#arenas[arena];
    if (words === undefined) {
      words = new Int32Array(this.#shared.get(arenaName(arena)));
      this.#arenas[arena] = words;
    }
    return words;
  }

  /** The number of a free entry that nobody else will be given. Throws `too-many`. */
  newEntry(): number {
    if (this.#blockNext === this.#blockEnd) {
      const start = Atomics.add(this.#control, 0, BLOCK_ENTRIES);
      if (start + BLOCK_ENTRIES > MAX_ENTRIES) {
        throw new HoldfastError(
          'too-many',
          `a datastore holds at most ${MAX_ENTRIES} objects; start a second one, with larger chunks`,
        );
      }
      this.#blockNext = start;
      this.#blockEnd = start + BLOCK_ENTRIES;
      this.#ensureArena(start >>> ARENA_BITS);
    }
    return this.#blockNext++;
  }

  /** Makes a written entry visible to all threads. */
  publish(entry: number): void {
    const words = this.arenaOf(entry);
    const at = wordOf(entry);
    const segment = this.#segmentOf(words[at] as number, words[at + 1] as number);
    const control = CONTROL_HEADER + segment * SEGMENT_WORDS;
    this.#lock(control);
    try {
      this.#add(segment, words[at + 2] as number, entry + 1);
    } finally {
      this.#unlock(control);
    }
    Atomics.add(this.#control, 4, 1);
  }

  /**
   * Adds `count` entries, at the start of `entries`, and makes them visible with no lock: only while no other thread sees the index. One loop of
   * few steps: of some ten thousand entries half is done before anything is compiled.
   */
  load(entries: Int32Array, count: number): void {
    for (let done = 0; done < count; ) {
      const first = this.newEntry();
      const run = Math.min(count - done, 1 + this.#blockEnd - this.#blockNext);
      this.#blockNext += run - 1;
      const base = wordOf(first);
      this.arenaOf(first).set(entries.subarray(done * ENTRY_WORDS, (done + run) * ENTRY_WORDS), base);
      let at = done * ENTRY_WORDS;
      for (let entry = first; entry < first + run; entry++) {
        this.#add(
          this.#segmentOf(entries[at] as number, entries[at + 1] as number),
          entries[at + 2] as number,
          entry + 1,
        );
        at += ENTRY_WORDS;
      }
      done += run;
    }
    (this.#control[4] as number) += count;
  }

  /** All published entry numbers, in no order that means anything. */
  *entries(): Generator<number> {
    for (let segment = 0; segment < SEGMENTS; segment++) {
      const slots = this.#segmentSlots(segment);
      for (let slot = 0; slot < slots.length; slot += 2) {
        const entry = Atomics.load(slots, slot);
        if (entry !== 0) yield entry - 1;
      }
    }
  }

  #segmentOf(word0: number, word1: number): number {
    let mix = Math.imul(word0 ^ this.#seedA, 0x9e3779b1);
    mix = Math.imul(mix ^ (mix >>> 15) ^ word1, 0x85ebca77);
    return (mix ^ (mix >>> 13)) & (SEGMENTS - 1);
  }

  #add(segment: number, tag: number, value: number): void {
    const control = CONTROL_HEADER + segment * SEGMENT_WORDS;
    const used = (this.#control[control + USED] as number) + 1;
    if (used > (this.#control[control + SLOTS] as number) * MAX_LOAD) this.#grow(segment);
    this.#place(this.#segmentSlots(segment), tag, value);
    this.#control[control + USED] = used;
  }

  #place(slots: Int32Array, tag: number, value: number): void {
    let slot = this.startOf(tag, slots);
    while (slots[slot] !== 0) slot = slot + 2 === slots.length ? 0 : slot + 2;
    slots[slot + 1] = tag;
    // Last, because readers take a slot with a value for whole.
    Atomics.store(slots, slot, value);
  }

  /** Called with the segment's lock held. A slot's tag is all that it takes to place it anew: no entry is read. */
  #grow(segment: number): void {
    const control = CONTROL_HEADER + segment * SEGMENT_WORDS;
    const old = this.#segmentSlots(segment);
    const size = old.length >>> 1;
    const grown = size < DOUBLE_BELOW ? size * 2 : Math.ceil(size * GROWTH);
    const generation = (this.#control[control + GENERATION] as number) + 1;
    const slots = new Int32Array(this.#shared.add(slotsName(segment, generation), grown * 8));
    for (let slot = 0; slot < old.length; slot += 2) {
      const value = old[slot] as number;
      if (value !== 0) this.#place(slots, old[slot + 1] as number, value);
    }
    this.#slots[segment] = slots;
    this.#generations[segment] = generation;
    this.#shared.drop(slotsName(segment, generation - 1));
    Atomics.store(this.#control, control + SLOTS, grown);
    Atomics.store(this.#control, control + GENERATION, generation);
  }

  #segmentSlots(segment: number): Int32Array {
    const generation = this.#control[CONTROL_HEADER + segment * SEGMENT_WORDS + GENERATION] as number;
    const slots = this.#slots[segment];
    if (slots !== undefined && this.#generations[segment] === generation) return slots;
    const fresh = new Int32Array(this.#shared.get(slotsName(segment, generation)));
    for (let past = this.#generations[segment] as number; past < generation; past++)
      this.#shared.drop(slotsName(segment, past));
    this.#slots[segment] = fresh;
    this.#generations[segment] = generation;
    return fresh;
  }

  #ensureArena(arena: number): void {
    // Whoever raises the arena count makes the buffer; the others wait for its announcement.
    while (Atomics.load(this.#control, 1) <= arena) {
      const have = Atomics.load(this.#control, 1);
      if (Atomics.compareExchange(this.#control, 1, have, have + 1) === have) {
        this.#shared.add(arenaName(have), ARENA_ENTRIES * ENTRY_BYTES);
      }
    }
  }

  /** 0 free, 1 taken, 2 taken and waited for: only then does unlocking wake somebody, which is a system call. */
  #lock(base: number): void {
    if (Atomics.compareExchange(this.#control, base + LOCK, 0, 1) === 0) return;
    while (Atomics.exchange(this.#control, base + LOCK, 2) !== 0) Atomics.wait(this.#control, base + LOCK, 2, 1);
  }

  #unlock(base: number): void {
    if (Atomics.exchange(this.#control, base + LOCK, 0) === 2) Atomics.notify(this.#control, base + LOCK, 1);
  }
}

/** Where an entry's first word is in its arena. */
export function wordOf(entry: number): number {
  return (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS;
}

function slotsName(segment: number, generation: number): string {
  return `index.slots.${segment}.${generation}`;
}

function arenaName(arena: number): string {
  return `index.arena.${arena}`;
}
