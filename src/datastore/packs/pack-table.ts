// The packs of a store as all threads see them: id, state and how far each is durable, in one shared buffer.
// A pack's number is its place here; it is never used again within a process (index entries carry it).
import { HoldfastError } from '../../util/errors.ts';

/** Most packs of one store: 32 TiB at 128 MiB. The memory is touched only as far as it is used. */
export const MAX_PACKS = 1 << 18;

const WORDS = 16;
const STATE = 4;
const DURABLE_END = 5;
const DIRECTORY_DURABLE = 6;
const WRITTEN_END = 7;
const KIND = 8;
const FLAGGED = 9;

export const PackState = {
  /** Being written by this process. */
  open: 1,
  /** Footer synced and file renamed to `.pack`. */
  sealed: 2,
  /** A write or sync failed: durable entries stay readable, the others are withdrawn, nothing new may rely on it. */
  condemned: 3,
  /** Taken out of the store by garbage collection: nothing is read from it any more. */
  dropped: 4,
} as const;

export class PackTable {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(buffer = new SharedArrayBuffer((1 + MAX_PACKS) * WORDS * 4)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
  }

  get count(): number {
    return Atomics.load(this.#words, 0);
  }

  /** Adds a pack and returns its number. @throws `too-many` when the table is full. */
  add(packId: Uint8Array, kind: number, state: number): number {
    const pack = Atomics.add(this.#words, 0, 1);
    if (pack >= MAX_PACKS) {
      Atomics.sub(this.#words, 0, 1);
      throw new HoldfastError('too-many', `a datastore holds at most ${MAX_PACKS} packs; start a second datastore`);
    }
    const base = (1 + pack) * WORDS;
    this.#bytes.set(packId, base * 4);
    this.#words[base + KIND] = kind;
    Atomics.store(this.#words, base + STATE, state);
    return pack;
  }

  /** Adds a sealed pack found on disk: all of it is durable. */
  addSealed(packId: Uint8Array, kind: number, lengthBytes: number): number {
    const pack = this.add(packId, kind, PackState.sealed);
    this.markWritten(pack, lengthBytes);
    this.markDurable(pack, lengthBytes);
    this.markDirectoryDurable(pack);
    return pack;
  }

  packId(pack: number): Buffer {
    const at = (1 + pack) * WORDS * 4;
    return Buffer.from(this.#bytes.slice(at, at + 16));
  }

  kind(pack: number): number {
    return this.#words[(1 + pack) * WORDS + KIND] as number;
  }

  state(pack: number): number {
    return Atomics.load(this.#words, (1 + pack) * WORDS + STATE);
  }

  setState(pack: number, state: number): void {
    Atomics.store(this.#words, (1 + pack) * WORDS + STATE, state);
  }

  /** Whether garbage collection looks at the pack in order to drop it: no new put may rely on it (rule G2). */
  isFlagged(pack: number): boolean {
    return Atomics.load(this.#words, (1 + pack) * WORDS + FLAGGED) === 1;
  }

  setFlagged(pack: number, flagged: boolean): void {
    Atomics.store(this.#words, (1 + pack) * WORDS + FLAGGED, Number(flagged));
  }

  /** Bytes that were handed to the kernel; records beyond still lie in their writer's buffer. */
  writtenEnd(pack: number): number {
    return Atomics.load(this.#words, (1 + pack) * WORDS + WRITTEN_END);
  }

  markWritten(pack: number, end: number): void {
    Atomics.store(this.#words, (1 + pack) * WORDS + WRITTEN_END, end);
  }

  durableEnd(pack: number): number {
    return Atomics.load(this.#words, (1 + pack) * WORDS + DURABLE_END);
  }

  /** Call only after an fdatasync that was started when everything before `end` had been written has returned. */
  markDurable(pack: number, end: number): void {
    Atomics.store(this.#words, (1 + pack) * WORDS + DURABLE_END, end);
  }

  directoryIsDurable(pack: number): boolean {
    return Atomics.load(this.#words, (1 + pack) * WORDS + DIRECTORY_DURABLE) === 1;
  }

  /** Call only after an fsync of `packs/` that was started when the file existed has returned. */
  markDirectoryDurable(pack: number): void {
    Atomics.store(this.#words, (1 + pack) * WORDS + DIRECTORY_DURABLE, 1);
  }

  /** Whether bytes up to `end` survive a power cut (rule D1). */
  isDurable(pack: number, end: number): boolean {
    return this.directoryIsDurable(pack) && end <= this.durableEnd(pack);
  }

  /** Whether everything that was ever appended to the pack is durable and the pack may be relied on by a commit. */
  isWhollyDurable(pack: number): boolean {
    return this.state(pack) === PackState.sealed && this.directoryIsDurable(pack);
  }
}
