// One archive of a snapshot as an NBD server serves it: requests become pieces, pieces come from the cache, holes from the metadata.
// Every byte was checked against the id of its piece; nothing of a piece that fails leaves.
import { PAGE_BYTES } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import { ByteBudget } from '../nbd/byte-budget.ts';
import type { Extent } from '../nbd/client.ts';
import { STATE_HOLE, STATE_ZERO } from '../nbd/protocol.ts';
import type { DiskSession, ReadPart, ServedDisk } from '../nbd/served-disk.ts';
import { childAt, type NodeCache } from './disk-node.ts';
import { DiskTree, type Leaf, type ReadNode } from './disk-tree.ts';
import { type DataPiece, type PieceCache, PieceFailure } from './piece-cache.ts';
import { ReadAhead, type SequentialReader } from './read-ahead.ts';
import { blocksOf, SLAB_BLOCK_BYTES } from './slab.ts';

/** What disks share. */
export interface ServeEnvironment {
  readonly pieces: Pick<PieceCache, 'acquire' | 'prefetch' | 'release' | 'views'>;
  readonly nodes: NodeCache;
  readonly read: ReadNode;
}

export interface DiskIdentity {
  /** Snapshot and archive, for people. */
  readonly label: string;
  readonly archive: Archive;
  readonly space: number;
  /** See `ServedDisk`. */
  readonly isFixed: boolean;
}

/** What the parts that one connection has not released may pin; 32 connections pin 96 MiB, and read-ahead 16 MiB and a part. */
export const SESSION_PINNED_BYTES = 3 * 1024 * 1024;
/** A part ends with the piece that reaches this. With the largest piece it still fits a session. */
const PART_BLOCKS = (1024 * 1024) / SLAB_BLOCK_BYTES;
/** No piece that this version cuts is longer. */
const MAX_PIECE_BYTES = 1024 * 1024;
/** Bounds one answer to a block status: 128 KiB, and 1 GiB of disk full of data. The client asks again for the rest. */
const MAX_EXTENTS = 16_384;
const MAX_STATUS_LEAVES = 64;

/** Some bytes of the disk in a row: a hole, or pieces of data of which the first begins at `start`. */
interface Run {
  readonly start: number;
  readonly end: number;
  readonly pieces: readonly DataPiece[] | undefined;
}

export class SnapshotDisk implements ServedDisk {
  readonly label: string;
  readonly sizeBytes: number;
  readonly isFixed: boolean;
  readonly #space: number;
  readonly #environment: ServeEnvironment;
  readonly #tree: DiskTree;

  constructor(identity: DiskIdentity, environment: ServeEnvironment) {
    this.label = identity.label;
    this.sizeBytes = identity.archive.sizeBytes;
    this.isFixed = identity.isFixed;
    this.#space = identity.space;
    this.#environment = environment;
    this.#tree = new DiskTree(identity.archive, identity.space, environment.nodes, environment.read);
  }

  connect(): DiskSession {
    const budget = new ByteBudget(SESSION_PINNED_BYTES);
    const ahead = new ReadAhead();
    return {
      read: (offset, length) => this.#read(offset, length, budget, ahead),
      extents: (offset, length, onlyFirst) => this.#extents(offset, length, onlyFirst),
      prefetch: (offset, length) => {
        const reader = { next: offset, inOrderBytes: 0, fetched: offset, isBusy: false };
        this.#readAhead(reader, () => Math.min(this.sizeBytes, offset + length));
      },
    };
  }

  async *#read(offset: number, length: number, budget: ByteBudget, ahead: ReadAhead): AsyncGenerator<ReadPart> {
    const reader = ahead.note(offset, length);
    if (reader !== undefined) this.#readAhead(reader, () => Math.min(this.sizeBytes, ReadAhead.goal(reader)));
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const run = await this.#runAt(at, end);
      const stop = Math.min(end, run.end);
      yield run.pieces === undefined
        ? { offset: at, length: stop - at, views: undefined, release: () => {} }
        : await this.#part(run, run.pieces, at, stop, budget);
      at = stop;
    }
  }

  /** The bytes from `start` to `end` of a run of data. */
  async #part(
    run: Run,
    pieces: readonly DataPiece[],
    start: number,
    end: number,
    budget: ByteBudget,
  ): Promise<ReadPart> {
    const pinnedBytes = pieces.reduce((sum, piece) => sum + blocksOf(piece.length) * SLAB_BLOCK_BYTES, 0);
    await budget.take(pinnedBytes);
    const { pieces: cache } = this.#environment;
    try {
      const held = await cache.acquire(this.#space, pieces);
      const views: Uint8Array[] = [];
      let at = run.start;
      held.forEach((piece, place) => {
        const { length } = pieces[place] as DataPiece;
        views.push(...cache.views(piece, Math.max(0, start - at), Math.min(length, end - at)));
        at += length;
      });
      const release = (): void => {
        cache.release(held);
        budget.give(pinnedBytes);
      };
      return { offset: start, length: end - start, views, release };
    } catch (error) {
      budget.give(pinnedBytes);
      throw error instanceof PieceFailure ? this.#unreadable(run, pieces, error) : error;
    }
  }

  /** What lies at `at`, as far as `end` and as one part may go. */
  async #runAt(at: number, end: number): Promise<Run> {
    const leaf = await this.#leafAt(at);
    if (leaf.node === undefined) return { start: leaf.start, end: leaf.end, pieces: undefined };
    const { ends, ids } = leaf.node;
    let child = childAt(leaf.node, at - leaf.start);
    const startOf = (place: number): number => leaf.start + (place === 0 ? 0 : (ends[place - 1] as number));
    const start = startOf(child);
    if (ids[child] === undefined) return { start, end: leaf.start + (ends[child] as number), pieces: undefined };
    const pieces: DataPiece[] = [];
    let blocks = 0;
    for (; blocks < PART_BLOCKS && startOf(child) < end; child++) {
      const id = ids[child];
      if (id === undefined) break;
      const length = leaf.start + (ends[child] as number) - startOf(child);
      if (length > MAX_PIECE_BYTES)
        throw this.#failed(startOf(child), length, 'object-damaged', 'the piece is too long');
      pieces.push({ id, length });
      blocks += blocksOf(length);
    }
    return { start, end: startOf(child), pieces };
  }

  async #leafAt(offset: number): Promise<Leaf> {
    try {
      return await this.#tree.leafAt(offset);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      throw this.#failed(offset, 0, error.code, error.message, error);
    }
  }

  async #extents(offset: number, length: number, onlyFirst: boolean): Promise<Extent[]> {
    const extents: Extent[] = [];
    const end = offset + length;
    let at = offset;
    for (let leaves = 0; at < end && leaves < MAX_STATUS_LEAVES; leaves++) {
      let leaf: Leaf;
      try {
        leaf = await this.#leafAt(at);
      } catch (error) {
        // What is known is told; the client asks again from here on, and is told then.
        if (extents.length > 0 && error instanceof HoldfastError) break;
        throw error;
      }
      const node = leaf.node;
      for (let child = node === undefined ? 0 : childAt(node, at - leaf.start); at < Math.min(end, leaf.end); child++) {
        const stop = Math.min(end, node === undefined ? leaf.end : leaf.start + (node.ends[child] as number));
        const flags = node?.ids[child] === undefined ? STATE_HOLE | STATE_ZERO : 0;
        const last = extents.at(-1);
        if (last?.flags === flags) last.length += stop - at;
        else if (extents.length === (onlyFirst ? 1 : MAX_EXTENTS)) return extents;
        else extents.push({ offset: at, length: stop - at, flags });
        at = stop;
      }
    }
    return extents;
  }

  /** Has pieces loaded up to the goal, which moves on with the reader. Nobody waits for it. */
  #readAhead(reader: SequentialReader, goal: () => number): void {
    if (reader.isBusy) return;
    reader.isBusy = true;
    const work = async (): Promise<void> => {
      while (reader.fetched < goal()) {
        const run = await this.#runAt(reader.fetched, goal());
        if (run.pieces !== undefined && !this.#environment.pieces.prefetch(this.#space, run.pieces)) return;
        reader.fetched = Math.max(reader.fetched, run.end);
      }
    };
    work()
      .catch(() => {
        // Whoever asks for these bytes is told; until then there is no point in trying again, with every request that follows.
        reader.fetched += PAGE_BYTES;
      })
      .finally(() => {
        reader.isBusy = false;
      });
  }

  #unreadable(run: Run, pieces: readonly DataPiece[], failure: PieceFailure): unknown {
    const { known } = failure;
    if (known === undefined) return failure.cause;
    const start = pieces.slice(0, failure.place).reduce((sum, piece) => sum + piece.length, run.start);
    return this.#failed(start, (pieces[failure.place] as DataPiece).length, known.code, known.message, known);
  }

  #failed(start: number, length: number, code: HoldfastError['code'], why: string, cause?: unknown): HoldfastError {
    const range = length === 0 ? `byte ${start} and what follows` : `bytes ${start} to ${start + length - 1}`;
    return new HoldfastError(code, `${this.label}: ${range} cannot be read: ${why}`, {
      cause,
      data: { disk: this.label, offset: start, length },
    });
  }
}
