// Garbage collection: takes roots, marks what they reach, plans from what is dead, drops and rewrites packs. Exact, and concurrent with
// backups, restores and forgets in the same process; docs/design.md, section 4 has what excludes what. Rules G1 to G5.
import { statSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import type { Turn } from '../../util/turn.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { EntrySet } from '../index/entry-set.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import { dropPack, emptyCondemned } from '../packs/condemned.ts';
import { PackState, type PackTable } from '../packs/pack-table.ts';
import { addCensus, type Census, emptyCensus } from './census.ts';
import type { WalkStart } from './gc-thread.ts';
import { type Job, type PackFigures, type Plan, planCollection } from './plan.ts';
import type { Rewritten } from './rewrite-packs.ts';
import { type Root, type RootSession, type RootSources, takeRoots } from './roots.ts';
import type { Unreadable } from './walk.ts';
import { walkAll } from './walk-all.ts';

export interface GcContext {
  readonly layout: Layout;
  readonly pool: WorkerPool;
  readonly index: ObjectIndex;
  readonly packs: PackTable;
  readonly live: EntrySet;
  readonly rootTurn: Turn;
  /** Everything that roots come from, as it is at the moment of the call. */
  readonly rootSources: () => RootSources;
  /** Packs that belong to sessions which are open or unfinished: a retry finds leftovers by their packs (rule G2). */
  readonly packsOfSessions: () => Promise<ReadonlySet<number>>;
  /** How many sessions ended without a snapshot so far. */
  readonly failedSessions: () => number;
}

export interface GcOptions {
  readonly signal: AbortSignal;
  /** Bytes a second that rewriting may read; undefined for as fast as it goes. */
  readonly rateLimitBytes?: number | undefined;
  /** Bytes of pack files that the sweep is through with. */
  readonly onProgress?: (bytesDone: number, bytesTotal: number) => void;
}

export interface MarkResult {
  readonly roots: readonly Root[];
  readonly metadataRead: number;
  /** Data objects that are reachable and lost; anything worse ends the collection. */
  readonly lostData: readonly Unreadable[];
  readonly figures: readonly PackFigures[];
}

export interface SweepResult {
  packsDropped: number;
  packsRewritten: number;
  /** Packs left alone because a live record in them is damaged. */
  packsKept: number;
  bytesWritten: number;
  /** Bytes of files that are gone from `packs/`, less what was written. */
  bytesFreed: number;
}

/** How often a mark begins again because a session that it had as a root failed meanwhile. */
const MAX_MARKS = 5;
/** Pause after work while sessions are open, against the time that it took. */
const PAUSE_FACTOR = 2;
/** Entries that one slice counts: some 20 ms. */
const COUNT_ENTRIES = 1 << 20;

export class GarbageCollection {
  readonly #context: GcContext;
  readonly #options: GcOptions;

  constructor(context: GcContext, options: GcOptions) {
    this.#context = context;
    this.#options = options;
  }

  /**
   * Finds what is live and what every pack holds of it.
   * @throws `object-damaged` when metadata that is reachable cannot be read, `manifest-altered`: nothing may be deleted (rule G3).
   */
  async mark(): Promise<MarkResult> {
    for (let attempt = 1; ; attempt++) {
      const failedBefore = this.#context.failedSessions();
      const { roots, candidates } = await this.#takeRoots();
      const { pool, signal } = { ...this.#context, ...this.#options };
      const start: Omit<WalkStart, 'walk' | 'roots'> = { visited: new EntrySet().buffer, marks: true };
      const walked = await walkAll(pool, start, roots, signal, (tookMs) => this.#giveWay(tookMs));
      const blocking = walked.unreadable.filter((object) => !object.isData);
      if (blocking.length === 0) {
        const figures = await this.#count(candidates);
        return { roots, metadataRead: walked.metadataRead, lostData: walked.unreadable, figures };
      }
      if (this.#context.failedSessions() === failedBefore || attempt === MAX_MARKS) throw unreadableMetadata(blocking);
    }
  }

  plan(marked: MarkResult): Plan {
    return planCollection(marked.figures);
  }

  /** Does what the plan says, pack by pack; what was done when it is aborted or fails stays done. */
  async sweep(plan: Plan): Promise<SweepResult> {
    const result: SweepResult = { packsDropped: 0, packsRewritten: 0, packsKept: 0, bytesWritten: 0, bytesFreed: 0 };
    // Dead packs may hold a copy that something live needs after all: they go the same way as the others.
    const jobs: Job[] = [...deadJobs(plan.drop), ...plan.rewrite];
    const bytesTotal = jobs.reduce((sum, job) => sum + job.fileBytes, 0);
    let bytesDone = 0;
    for (const job of jobs) {
      this.#options.signal.throwIfAborted();
      this.#options.onProgress?.(bytesDone, bytesTotal);
      bytesDone += job.fileBytes;
      const started = performance.now();
      await this.#run(job, result);
      const tookMs = performance.now() - started;
      await this.#slowDown(job.fileBytes, tookMs);
      await this.#giveWay(tookMs);
    }
    await emptyCondemned(this.#context.layout);
    return result;
  }

  /** Walks everything again and returns what cannot be read: nothing, unless it was lost before. */
  async audit(): Promise<{ metadataRead: number; unreadable: readonly Unreadable[] }> {
    const { pool, rootTurn, rootSources } = this.#context;
    const roots = await rootTurn.run(() => takeRoots(rootSources(), new EntrySet()));
    const start = { visited: new EntrySet().buffer, marks: false };
    return await walkAll(pool, start, roots, this.#options.signal, (tookMs) => this.#giveWay(tookMs));
  }

  async #takeRoots(): Promise<{ roots: Root[]; candidates: number[] }> {
    const { rootTurn, live, index, pool, packs, packsOfSessions, rootSources } = this.#context;
    return await rootTurn.run(async () => {
      live.clear(index.entryLimit);
      // A put that was under way when the set was cleared has noted its entry for its session once the threads have settled.
      await pool.all('store.settle', undefined);
      // Before their sessions are looked up: of a pack that a thread seals meanwhile nobody would know the session.
      const sealed = Array.from({ length: packs.count }, (_, pack) => pack).filter(
        (pack) => packs.state(pack) === PackState.sealed && !packs.isFlagged(pack),
      );
      const taken = await packsOfSessions();
      const candidates = sealed.filter((pack) => !taken.has(pack));
      return { roots: await takeRoots(rootSources(), live), candidates };
    });
  }

  async #count(candidates: readonly number[]): Promise<PackFigures[]> {
    const { pool, index, packs, layout } = this.#context;
    const packCount = packs.count;
    await pool.all('gc.startCount', packCount);
    const limit = index.entryLimit;
    let next = 0;
    const countIn = async (thread: number): Promise<void> => {
      while (next < limit) {
        this.#options.signal.throwIfAborted();
        const from = next;
        next = Math.min(limit, from + COUNT_ENTRIES);
        await pool.call(thread, 'gc.count', { from, to: next });
      }
    };
    await Promise.all(Array.from({ length: pool.size }, (_, thread) => countIn(thread)));
    const census = emptyCensus(packCount);
    for (const part of await pool.all<Census>('gc.counted', undefined)) addCensus(census, part);
    return candidates.map((pack) => ({
      pack,
      kind: packs.kind(pack),
      fileBytes: statSync(layout.sealedPack(packs.packId(pack))).size,
      liveBytes: census.liveBytes[pack] as number,
      deadBytes: census.deadBytes[pack] as number,
      liveRecords: census.liveRecords[pack] as number,
    }));
  }

  async #run(job: Job, result: SweepResult): Promise<void> {
    const { pool, packs } = this.#context;
    for (const pack of job.packs) packs.setFlagged(pack, true);
    let kept: ReadonlySet<number> = new Set(job.packs);
    try {
      // Puts that did not see the flags have marked what they hit by now.
      await pool.all('store.settle', undefined);
      const rewritten = await pool.call<Rewritten>(0, 'gc.rewrite', { kind: job.kind, packs: job.packs });
      kept = new Set(rewritten.kept);
      await this.#carryOver(rewritten.moved);
      const going = job.packs.filter((pack) => !kept.has(pack));
      result.bytesFreed += (await this.#drop(going)) - rewritten.bytesWritten;
      result.bytesWritten += rewritten.bytesWritten;
      result.packsKept += kept.size;
      if (rewritten.bytesWritten > 0) result.packsRewritten += going.length;
      else result.packsDropped += going.length;
    } finally {
      for (const pack of kept) packs.setFlagged(pack, false);
    }
  }

  /** Open sessions know objects by entries: what they knew of a copy that goes holds for the one that stands for it. */
  async #carryOver(moved: Uint32Array): Promise<void> {
    if (moved.length === 0) return;
    // Whoever looked objects up before the new copies were there has noted the old ones by now.
    await this.#context.pool.all('store.settle', undefined);
    for (const { marks } of this.#context.rootSources().sessions as Iterable<RootSession>)
      for (let at = 0; at < moved.length; at += 2) marks.carryOver(moved[at] as number, moved[at + 1] as number);
  }

  /** Takes packs out of the store and returns the bytes that their files had. */
  async #drop(packNumbers: readonly number[]): Promise<number> {
    const { pool, packs, layout } = this.#context;
    let bytes = 0;
    for (const pack of packNumbers) packs.setState(pack, PackState.dropped);
    // Nobody uses a look-up from before, and files are closed; readers in other processes find the packs in condemned/.
    await pool.all('store.settle', undefined);
    for (const pack of packNumbers) {
      const packId = packs.packId(pack);
      bytes += statSync(layout.sealedPack(packId)).size;
      await dropPack(layout, layout.sealedPack(packId), packId);
    }
    await emptyCondemned(layout);
    return bytes;
  }

  /** Backups come first: while one runs, a collection uses a third of the time at most. */
  async #giveWay(tookMs: number): Promise<void> {
    const { rootSources } = this.#context;
    if ([...rootSources().sessions].length === 0) return;
    await setTimeout(tookMs * PAUSE_FACTOR, undefined, { signal: this.#options.signal });
  }

  async #slowDown(bytes: number, tookMs: number): Promise<void> {
    const { rateLimitBytes, signal } = this.#options;
    if (rateLimitBytes === undefined) return;
    const pauseMs = (bytes / rateLimitBytes) * 1000 - tookMs;
    if (pauseMs > 0) await setTimeout(pauseMs, undefined, { signal });
  }
}

/** One job a pack, so that what waits in `condemned/` stays small. */
function deadJobs(dead: readonly PackFigures[]): Job[] {
  return dead.map((pack) => ({ kind: pack.kind, packs: [pack.pack], liveBytes: 0, fileBytes: pack.fileBytes }));
}

function unreadableMetadata(blocking: readonly Unreadable[]): HoldfastError {
  const some = blocking.slice(0, 5).map(({ id }) => `${id.slice(0, 16)}…`);
  return new HoldfastError(
    'object-damaged',
    `nothing was deleted: ${blocking.length} objects that say what must be kept cannot be read (${some.join(', ')}); run holdfast datastore verify to see which snapshots are concerned, then let a backup heal them or forget those snapshots`,
    { data: { objects: blocking.map(({ space, id }) => ({ space, id })) } },
  );
}
