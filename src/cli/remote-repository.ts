// A repository at a server: questions are asked there, objects are fetched by the threads of this process.
import type { DataKey } from '../chunker/data-key.ts';
import type { StoredObject } from '../chunker/object.ts';
import type { Query } from '../datastore/control/query.ts';
import type { RemoteStore } from '../transport/client/remote-store.ts';
import { HoldfastError } from '../util/errors.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { unlockFor } from './client-key.ts';
import type { ExpectedUse, FoundSnapshot, Repository, SnapshotObjects } from './readable-repository.ts';
import { startPool } from './repository.ts';

export class RemoteRepository implements Repository {
  readonly #store: RemoteStore;
  #threads: WorkerPool | undefined;
  readonly #pools: WorkerPool[] = [];

  /** The first snapshots that are opened with so many threads get `threads`, which stay the caller's; others get threads of their own. */
  constructor(store: RemoteStore, threads?: WorkerPool) {
    this.#store = store;
    this.#threads = threads;
  }

  async ask<Argument, Answer>(query: Query<Argument, Answer>, argument: Argument): Promise<Answer> {
    return (await this.#store.ask(query, argument)) as Answer;
  }

  async open(
    snapshots: readonly FoundSnapshot[],
    key: DataKey | undefined,
    { workers }: ExpectedUse,
  ): Promise<SnapshotObjects> {
    const [first] = snapshots;
    if (first === undefined) throw new Error('no snapshot to open');
    const { ns, group } = first.name;
    if (snapshots.some(({ name }) => name.group !== group || name.ns !== ns))
      throw new HoldfastError(
        'bad-argument',
        'at a server the snapshots of one group can be compared, not those of two',
      );
    let used: DataKey | undefined;
    const unlock = (_: number, opened: DataKey): void => {
      used = opened;
    };
    for (const { manifest } of snapshots) unlockFor({ unlock }, manifest, key);
    const pool = this.#poolOf(workers);
    const times = [...new Set(snapshots.map(({ name }) => name.time))];
    const reader = await this.#store.openReader(pool, { ns, group }, times, used);
    const { space } = first.manifest.server;
    return {
      get: async (id) => await pool.call<StoredObject>(0, 'store.read', { space, id }),
      pool: async () => pool,
      reopen: () => reader.reopen(),
    };
  }

  #poolOf(workers: number): WorkerPool {
    const given = this.#threads;
    this.#threads = undefined;
    if (given?.size === workers) return given;
    const pool = startPool(workers, () => {});
    this.#pools.push(pool);
    return pool;
  }

  /** Ends the threads that were started here; the store has ended the sessions by then. */
  async close(): Promise<void> {
    for (const pool of this.#pools) await pool.close();
  }
}
