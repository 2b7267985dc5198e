// A worker thread's part in garbage collection, in slices, so that backups in the same thread go on in between.
import type { Handlers } from '../../util/worker-pool.ts';
import { EntrySet } from '../index/entry-set.ts';
import { type Census, countEntries, emptyCensus } from './census.ts';
import { choosingCopies } from './choose-copies.ts';
import { type RewriteEnvironment, type Rewritten, rewritePacks } from './rewrite-packs.ts';
import { type Root, Walk, type WalkProgress } from './walk.ts';

export interface WalkStart {
  /** The walk's name: a collection and a verification may walk at the same time. */
  readonly walk: string;
  /** Shared by all threads of one walk, empty at its start. */
  readonly visited: SharedArrayBuffer;
  /** Marks what must stay; without it the walk only says what cannot be read. */
  readonly marks: boolean;
  readonly roots: readonly Root[];
}

export class GcThread {
  readonly #env: RewriteEnvironment;
  readonly #walks = new Map<string, Walk>();
  #census: Census = emptyCensus(0);

  constructor(env: RewriteEnvironment) {
    this.#env = env;
  }

  handlers(): Handlers {
    return {
      'gc.startWalk': ({ walk: name, visited, marks, roots }: WalkStart) => {
        const { locator, source, live } = this.#env;
        const visit = marks ? choosingCopies(locator, live) : () => {};
        const walk = new Walk(locator, source, new EntrySet(visited), visit);
        this.#walks.set(name, walk);
        walk.add(roots);
      },
      'gc.walk': ({ walk, budgetMs }: { walk: string; budgetMs: number }): WalkProgress =>
        this.#walking(walk).step(budgetMs),
      'gc.share': (walk: string): Root[] => this.#walking(walk).share(),
      'gc.take': ({ walk, roots }: { walk: string; roots: Root[] }) => this.#walking(walk).take(roots),
      'gc.endWalk': (walk: string) => {
        this.#walks.delete(walk);
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

  #walking(name: string): Walk {
    const walk = this.#walks.get(name);
    if (walk === undefined) throw new Error(`no walk ${name} was started in this thread`);
    return walk;
  }
}
