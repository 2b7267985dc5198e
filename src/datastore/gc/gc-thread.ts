// A worker thread's part in garbage collection, in slices, so that backups in the same thread go on in between.
import type { Handlers } from '../../util/worker-pool.ts';
import { EntrySet } from '../index/entry-set.ts';
import { type Census, countEntries, emptyCensus } from './census.ts';
import { choosingCopies } from './choose-copies.ts';
import { type RewriteEnvironment, type Rewritten, rewritePacks } from './rewrite-packs.ts';
import { type Root, Walk, type WalkProgress } from './walk.ts';

export interface WalkStart {
  /** Shared by all threads of one walk, empty at its start. */
  readonly visited: SharedArrayBuffer;
  /** Marks what must stay; without it the walk only says what cannot be read. */
  readonly marks: boolean;
  readonly roots: readonly Root[];
}

export class GcThread {
  readonly #env: RewriteEnvironment;
  #walk: Walk | undefined;
  #census: Census = emptyCensus(0);

  constructor(env: RewriteEnvironment) {
    this.#env = env;
  }

  handlers(): Handlers {
    return {
      'gc.startWalk': ({ visited, marks, roots }: WalkStart) => {
        const { locator, source, live } = this.#env;
        const visit = marks ? choosingCopies(locator, live) : () => {};
        this.#walk = new Walk(locator, source, new EntrySet(visited), visit);
        this.#walk.add(roots);
      },
      'gc.walk': (budgetMs: number): WalkProgress => this.#walking.step(budgetMs),
      'gc.share': (): Root[] => this.#walking.share(),
      'gc.take': (roots: Root[]) => this.#walking.take(roots),
      'gc.endWalk': () => {
        this.#walk = undefined;
      },
      'gc.startCount': (packs: number) => {
        this.#census = emptyCensus(packs);
      },
      'gc.count': ({ from, to }: { from: number; to: number }) =>
        countEntries(this.#census, this.#env.locator.index, this.#env.live, from, to),
      'gc.counted': (): Census => this.#census,
      'gc.rewrite': ({ kind, packs }: { kind: number; packs: number[] }): Rewritten =>
        rewritePacks(this.#env, kind, packs),
    };
  }

  get #walking(): Walk {
    if (this.#walk === undefined) throw new Error('no walk was started in this thread');
    return this.#walk;
  }
}
