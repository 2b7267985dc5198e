// The object index: (space, id) -> places in packs, shared by all threads, up to 59 bytes an object.
// 256 segments chosen by a keyed mix of the id, each a linear-probing table of 8-byte slots {entry + 1, tag} in a buffer of fixed
// size; entries live in arenas and never change once published (but for the quarantine flag). Readers take no lock;
// an insert locks its segment. Several copies of an object are several entries; nothing is ever displaced (rule D4).
import { randomBytes } from 'node:crypto';
import type { ObjectId } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { SharedBuffers } from '../../util/shared-buffers.ts';
import { ENTRY_BYTES, ENTRY_WORDS, FLAG_QUARANTINED, LENGTH_MASK, Word } from './index-entry.ts';

const SEGMENTS = 256;
const MAX_LOAD = 0.85;
const SMALLEST_SLOTS = 256;
/** Small segments double, large ones grow by a quarter, so that memory per object stays bounded where it matters. */
const DOUBLE_BELOW = 16384;

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

export class ObjectIndex {
  readonly #shared: SharedBuffers;
  readonly #control: Int32Array;
  readonly #seedA: number;
  readonly #seedB: number;
  readonly #slots: (Int32Array | undefined)[] = new Array(SEGMENTS).fill(undefined);
  readonly #generations = new Int32Array(SEGMENTS);
  readonly #arenas: Int32Array[] = [];
  #blockNext = 0;
  #blockEnd = 0;

  // The words of the id being looked up, and where its probe stands.
  readonly #key = new Int32Array(8);
  #space = 0;
  #segment = 0;
  #position = 0;
  #probes = 0;
  #probed: Int32Array = new Int32Array(0);

  private constructor(shared: SharedBuffers, control: SharedArrayBuffer) {
    this.#shared = shared;
    this.#control = new Int32Array(control);
    this.#seedA = this.#control[2] as number;
    this.#seedB = this.#control[3] as number;
  }

  /** A new, empty index with room for about `expected` entries before it first grows. */
  static create(shared: SharedBuffers, expected: number): ObjectIndex {
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
    return new ObjectIndex(shared, buffer);
  }

  /** The index that another thread created, seen from this thread. */
  static attach(shared: SharedBuffers): ObjectIndex {
    return new ObjectIndex(shared, shared.get('index.control'));
  }

  /** Published entries, copies included. */
  get count(): number {
    return Atomics.load(this.#control, 4);
  }

  /** Bytes of memory that the index takes: entries in use and all slots. */
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

  /** The first entry of (space, id), or -1. `id` holds the 32 bytes at `at`. Goes on with `next`. */
  first(space: number, id: Uint8Array, at = 0): number {
    this.#setKey(space, id, at);
    return this.#probe();
  }

  /** The next entry of what `first` was asked for, or -1. */
  next(): number {
    return this.#probe();
  }

  /** Adds a copy of an object and returns its entry number. */
  insert(space: number, id: Uint8Array, pack: number, offset: number, lengthAndFlags: number, at = 0): number {
    this.#setKey(space, id, at);
    const entry = this.#newEntry();
    const words = this.#arena(entry >>> ARENA_BITS);
    const base = (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS;
    words.set(this.#key, base);
    words[base + Word.space] = space;
    words[base + Word.pack] = pack;
    words[base + Word.offset] = offset;
    words[base + Word.lengthAndFlags] = lengthAndFlags;
    this.#publish(entry);
    return entry;
  }

  /**
   * Adds `count` entries of 12 words each, at the start of `entries`, with no lock: only while no other thread sees the index.
   */
  load(entries: Int32Array, count: number): void {
    for (let at = 0; at < count * ENTRY_WORDS; at += ENTRY_WORDS) {
      const entry = this.#newEntry();
      const words = this.#arena(entry >>> ARENA_BITS);
      const base = (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS;
      for (let word = 0; word < ENTRY_WORDS; word++) words[base + word] = entries[at + word] as number;
      const mix = this.#mix(entries[at] as number, entries[at + 1] as number);
      const segment = mix & (SEGMENTS - 1);
      const control = CONTROL_HEADER + segment * SEGMENT_WORDS;
      const used = (this.#control[control + USED] as number) + 1;
      if (used > (this.#control[control + SLOTS] as number) * MAX_LOAD) this.#grow(segment);
      this.#place(this.#segmentSlots(segment), mix, entries[at + 3] as number, entries[at + 2] as number, entry + 1);
      this.#control[control + USED] = used;
    }
    Atomics.add(this.#control, 4, count);
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
    return (
      (Atomics.load(
        this.#arena(entry >>> ARENA_BITS),
        (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS + Word.lengthAndFlags,
      ) &
        flag) !==
      0
    );
  }

  /** Marks a copy as bad, for all threads at once. */
  quarantine(entry: number): void {
    Atomics.or(
      this.#arena(entry >>> ARENA_BITS),
      (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS + Word.lengthAndFlags,
      FLAG_QUARANTINED,
    );
  }

  id(entry: number): ObjectId {
    const words = this.#arena(entry >>> ARENA_BITS);
    const base = (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS;
    const id = Buffer.allocUnsafe(32);
    for (let word = 0; word < 8; word++) id.writeInt32LE(words[base + word] as number, word * 4);
    return id as ObjectId;
  }

  /** The words of an entry, for writing a snapshot: the arena's array and the place of the first word in it. */
  words(entry: number): { words: Int32Array; base: number } {
    return { words: this.#arena(entry >>> ARENA_BITS), base: (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS };
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

  #word(entry: number, word: number): number {
    return this.#arena(entry >>> ARENA_BITS)[(entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS + word] as number;
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
    const mix = this.#mix(key[0] as number, key[1] as number);
    this.#segment = mix & (SEGMENTS - 1);
    this.#probed = this.#segmentSlots(this.#segment);
    this.#probes = this.#probed.length >>> 1;
    this.#position = startOf(mix, key[3] as number, this.#probes);
  }

  /** Keyed, so that nobody can craft claimed ids that all land in one place. */
  #mix(word0: number, word1: number): number {
    let mix = Math.imul(word0 ^ this.#seedA, 0x9e3779b1);
    mix = Math.imul(mix ^ (mix >>> 15) ^ word1, 0x85ebca77);
    mix = Math.imul(mix ^ (mix >>> 13) ^ this.#seedB, 0xc2b2ae3d);
    return mix ^ (mix >>> 16);
  }

  /**
   * Plain loads, for V8 of Node 20 calls a builtin for each Atomics.load: a value read late only means an entry seen late,
   * and what a slot's value leads to was written before it.
   */
  #probe(): number {
    const slots = this.#probed;
    const size = slots.length >>> 1;
    const tag = this.#key[2] as number;
    let position = this.#position;
    let probes = this.#probes;
    let found = -1;
    while (probes > 0 && found < 0) {
      const entry = slots[position * 2] as number;
      if (entry === 0) {
        probes = 0;
        break;
      }
      if (slots[position * 2 + 1] === tag && this.#matches(entry - 1)) found = entry - 1;
      position = position + 1 === size ? 0 : position + 1;
      probes--;
    }
    this.#position = position;
    this.#probes = probes;
    return found;
  }

  #matches(entry: number): boolean {
    const words = this.#arena(entry >>> ARENA_BITS);
    const base = (entry & (ARENA_ENTRIES - 1)) * ENTRY_WORDS;
    const key = this.#key;
    for (let word = 0; word < 8; word++) if (words[base + word] !== key[word]) return false;
    return words[base + Word.space] === this.#space;
  }

  /** Makes the entry that the key was set for visible. */
  #publish(entry: number): void {
    const key = this.#key;
    const mix = this.#mix(key[0] as number, key[1] as number);
    const segment = mix & (SEGMENTS - 1);
    const control = CONTROL_HEADER + segment * SEGMENT_WORDS;
    this.#lock(control);
    try {
      const used = (this.#control[control + USED] as number) + 1;
      if (used > (this.#control[control + SLOTS] as number) * MAX_LOAD) this.#grow(segment);
      this.#place(this.#segmentSlots(segment), mix, key[3] as number, key[2] as number, entry + 1);
      this.#control[control + USED] = used;
    } finally {
      this.#unlock(control);
    }
    Atomics.add(this.#control, 4, 1);
  }

  #place(slots: Int32Array, mix: number, word3: number, tag: number, value: number): void {
    const size = slots.length >>> 1;
    let position = startOf(mix, word3, size);
    while (slots[position * 2] !== 0) position = position + 1 === size ? 0 : position + 1;
    slots[position * 2 + 1] = tag;
    // Last, because readers take a slot with a value for whole.
    Atomics.store(slots, position * 2, value);
  }

  /** Called with the segment's lock held. Readers go on in the old table, which nobody changes any more. */
  #grow(segment: number): void {
    const control = CONTROL_HEADER + segment * SEGMENT_WORDS;
    const old = this.#segmentSlots(segment);
    const size = old.length >>> 1;
    const grown = size < DOUBLE_BELOW ? size * 2 : Math.ceil(size * 1.25);
    const generation = (this.#control[control + GENERATION] as number) + 1;
    const slots = new Int32Array(this.#shared.add(slotsName(segment, generation), grown * 8));
    for (let slot = 0; slot < old.length; slot += 2) {
      const value = old[slot] as number;
      if (value === 0) continue;
      const words = this.#arena((value - 1) >>> ARENA_BITS);
      const base = ((value - 1) & (ARENA_ENTRIES - 1)) * ENTRY_WORDS;
      const mix = this.#mix(words[base] as number, words[base + 1] as number);
      this.#place(slots, mix, words[base + 3] as number, words[base + 2] as number, value);
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

  #newEntry(): number {
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

  #ensureArena(arena: number): void {
    // Whoever raises the arena count makes the buffer; the others wait for its announcement.
    while (Atomics.load(this.#control, 1) <= arena) {
      const have = Atomics.load(this.#control, 1);
      if (Atomics.compareExchange(this.#control, 1, have, have + 1) === have) {
        this.#shared.add(arenaName(have), ARENA_ENTRIES * ENTRY_BYTES);
      }
    }
  }

  #arena(arena: number): Int32Array {
    let words = this.#arenas[arena];
    if (words === undefined) {
      words = new Int32Array(this.#shared.get(arenaName(arena)));
      this.#arenas[arena] = words;
    }
    return words;
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

/** Where probing starts in a table of `size` slots. */
function startOf(mix: number, word3: number, size: number): number {
  return Math.floor(((Math.imul(mix ^ word3, 0x27d4eb2f) >>> 0) / 4294967296) * size);
}

function slotsName(segment: number, generation: number): string {
  return `index.slots.${segment}.${generation}`;
}

function arenaName(arena: number): string {
  return `index.arena.${arena}`;
}
