// Decoded pieces of all served disks, by id, in a slab of fixed size. A piece in use is pinned; of the others the one used least recently
// gives way. What may be pinned is less than the slab (see PINNED_BYTES), so that whoever asks for a piece never waits for room.
import { HoldfastError } from '../../util/errors.ts';
import { reviveError } from '../../util/plain-error.ts';
import type { LoadFailure, LoadWork } from './load-pieces.ts';
import { blocksOf, SLAB_BLOCK_BYTES, slabViews } from './slab.ts';

/** A piece of data as a page or list names it. */
export interface DataPiece {
  readonly id: Buffer;
  readonly length: number;
}

/** Has a worker thread load pieces into the slab. Rejects only for failures that have nothing to do with the pieces. */
export type LoadPieces = (work: LoadWork) => Promise<readonly LoadFailure[]>;

/** What read-ahead may be loading at once, of all disks and connections. */
const READ_AHEAD_BLOCKS = (16 * 1024 * 1024) / SLAB_BLOCK_BYTES;
/** What all sessions together may pin, with what read-ahead is loading, must stay below this. */
export const MIN_CACHE_BYTES = 128 * 1024 * 1024;

export class CachedPiece {
  readonly key: string;
  readonly blocks: Int32Array;
  pins = 0;
  /** Set while a thread loads it; never rejects. */
  loading: Promise<void> | undefined;
  failure: unknown;

  constructor(key: string, blocks: Int32Array) {
    this.key = key;
    this.blocks = blocks;
  }
}

interface Missing {
  readonly source: DataPiece;
  readonly piece: CachedPiece;
}

export class PieceCache {
  readonly #slab: Uint8Array;
  readonly #load: LoadPieces;
  readonly #pieces = new Map<string, CachedPiece>();
  /** Not pinned, least recently used first. */
  readonly #idle = new Map<string, CachedPiece>();
  readonly #free: number[] = [];
  #readingAhead = 0;

  /** `slab` is at least `MIN_CACHE_BYTES`. */
  constructor(slab: SharedArrayBuffer, load: LoadPieces) {
    this.#slab = new Uint8Array(slab);
    this.#load = load;
    // Taken from the end: the first block first, neighbours after each other.
    for (let block = Math.floor(slab.byteLength / SLAB_BLOCK_BYTES) - 1; block >= 0; block--) this.#free.push(block);
  }

  /** Pins the pieces, loading what is not there in one go. Release each one. @throws what the first bad piece failed with. */
  async acquire(space: number, pieces: readonly DataPiece[]): Promise<CachedPiece[]> {
    const { held, missing } = this.#hold(space, pieces);
    this.#start(space, missing, () => {});
    for (const piece of held) if (piece.loading !== undefined) await piece.loading;
    const bad = held.findIndex((piece) => piece.failure !== undefined);
    if (bad < 0) return held;
    const { failure } = held[bad] as CachedPiece;
    this.release(held);
    throw new PieceFailure(bad, failure);
  }

  release(held: readonly CachedPiece[]): void {
    for (const piece of held) {
      piece.pins--;
      if (piece.pins > 0) continue;
      if (piece.failure === undefined) this.#idle.set(piece.key, piece);
      else this.#takeBack(piece);
    }
  }

  /** Begins to load pieces that nobody waits for; false, and nothing is done, when enough is on the way. */
  prefetch(space: number, pieces: readonly DataPiece[]): boolean {
    if (this.#readingAhead >= READ_AHEAD_BLOCKS) return false;
    const { held, missing } = this.#hold(space, pieces);
    const blocks = missing.reduce((sum, { piece }) => sum + piece.blocks.length, 0);
    const fresh = missing.map(({ piece }) => piece);
    // What is there already must not be pinned by what nobody asked for.
    const kept = new Set(fresh);
    this.release(held.filter((piece) => !kept.delete(piece)));
    this.#readingAhead += blocks;
    this.#start(space, missing, () => {
      this.#readingAhead -= blocks;
      this.release(fresh);
    });
    return true;
  }

  /** The bytes from `start` to `end` of a piece that is pinned. */
  views(piece: CachedPiece, start: number, end: number): Uint8Array[] {
    return slabViews(this.#slab, piece.blocks, start, end);
  }

  /** Pins all pieces, or none when there is no room; `missing` are those that have to be loaded. */
  #hold(space: number, pieces: readonly DataPiece[]): { held: CachedPiece[]; missing: Missing[] } {
    const held: CachedPiece[] = [];
    const missing: Missing[] = [];
    try {
      for (const source of pieces) {
        const key = `${space}:${source.length}:${source.id.toString('latin1')}`;
        const known = this.#pieces.get(key);
        const piece = known ?? new CachedPiece(key, this.#allocate(blocksOf(source.length)));
        held.push(this.#pin(piece));
        if (known !== undefined) continue;
        this.#pieces.set(key, piece);
        missing.push({ source, piece });
      }
    } catch (error) {
      // Nobody will load them: whoever asks next must not take them for loaded.
      for (const { piece } of missing) this.#fail(piece, error);
      this.release(held);
      throw error;
    }
    return { held, missing };
  }

  /** Begins to load; `done` is called when it has ended, well or badly, or at once when there is nothing to load. */
  #start(space: number, missing: readonly Missing[], done: () => void): void {
    if (missing.length === 0) {
      done();
      return;
    }
    const loading = this.#loadAll(space, missing).finally(done);
    for (const { piece } of missing) piece.loading = loading;
  }

  /** Never rejects: what fails is noted with the pieces. */
  async #loadAll(space: number, missing: readonly Missing[]): Promise<void> {
    const blocks = Int32Array.from(missing.flatMap(({ piece }) => [...piece.blocks]));
    try {
      const failures = await this.#load({ space, pieces: missing.map(({ source }) => source), blocks });
      for (const { place, error } of failures) this.#fail((missing[place] as Missing).piece, reviveError(error));
    } catch (error) {
      for (const { piece } of missing) this.#fail(piece, error);
    }
    for (const { piece } of missing) piece.loading = undefined;
  }

  /** Whoever asks again has it loaded again: the copy may be healed, or found elsewhere, by then. */
  #fail(piece: CachedPiece, error: unknown): void {
    piece.failure = error;
    if (this.#pieces.get(piece.key) === piece) this.#pieces.delete(piece.key);
  }

  #pin(piece: CachedPiece): CachedPiece {
    if (piece.pins === 0) this.#idle.delete(piece.key);
    piece.pins++;
    return piece;
  }

  #allocate(count: number): Int32Array {
    while (this.#free.length < count) {
      const oldest = this.#idle.values().next().value;
      if (oldest === undefined) throw new Error('more pieces are pinned than the cache has room for');
      this.#idle.delete(oldest.key);
      this.#pieces.delete(oldest.key);
      this.#takeBack(oldest);
    }
    return Int32Array.from({ length: count }, () => this.#free.pop() as number);
  }

  #takeBack(piece: CachedPiece): void {
    for (let place = piece.blocks.length - 1; place >= 0; place--) this.#free.push(piece.blocks[place] as number);
  }
}

/** One of the pieces asked for could not be had. */
export class PieceFailure extends Error {
  /** Its place among them. */
  readonly place: number;

  constructor(place: number, cause: unknown) {
    super((cause as Error).message, { cause });
    this.place = place;
  }

  /** Ours when the datastore is to blame; undefined for anything else. */
  get known(): HoldfastError | undefined {
    return this.cause instanceof HoldfastError ? this.cause : undefined;
  }
}
