// A repository in a directory of this machine, open for reading.
import type { DataKey } from '../chunker/data-key.ts';
import { readAccounting } from '../datastore/accounting/accounting-file.ts';
import type { Query } from '../datastore/control/query.ts';
import type { OpenObjects, ReadDatastore } from '../datastore/read-datastore.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { unlockFor } from './client-key.ts';
import type { ExpectedUse, FoundSnapshot, Repository, SnapshotObjects } from './readable-repository.ts';
import { startPool, warn } from './repository.ts';

export class LocalRepository implements Repository {
  readonly #store: ReadDatastore;
  readonly #pools: WorkerPool[] = [];

  constructor(store: ReadDatastore) {
    this.#store = store;
  }

  async ask<Argument, Answer>(
    query: Query<Argument, Answer>,
    argument: Argument,
    signal = new AbortController().signal,
  ): Promise<Answer> {
    const { groups, layout, config } = this.#store;
    const accounting = () => readAccounting(layout);
    return await query.run({ groups, layout, config, seesSizes: true, accounting }, argument, signal);
  }

  async open(
    snapshots: readonly FoundSnapshot[],
    key: DataKey | undefined,
    { lookups, workers }: ExpectedUse,
  ): Promise<SnapshotObjects> {
    const objects = this.#store.objects(lookups);
    for (const warning of objects.warnings) warn(warning);
    for (const { manifest } of snapshots) unlockFor(objects, manifest, key);
    const space = snapshots[0]?.manifest.server.space ?? 0;
    let pool: Promise<WorkerPool> | undefined;
    return {
      get: async (id) => objects.source.get(space, id),
      pool: () => {
        pool ??= this.#startPool(workers, objects);
        return pool;
      },
    };
  }

  async #startPool(workers: number, objects: OpenObjects): Promise<WorkerPool> {
    const pool = startPool(workers, () => {});
    this.#pools.push(pool);
    await objects.join(pool);
    return pool;
  }

  async close(): Promise<void> {
    for (const pool of this.#pools) await pool.close();
  }
}
