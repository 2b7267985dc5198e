// A repository as commands that read see it, wherever it is: questions to ask of it, and the objects of its snapshots.
import type { GetObject } from '../agent/tree/read-tree.ts';
import type { DataKey } from '../chunker/data-key.ts';
import type { Query } from '../datastore/control/query.ts';
import type { OpenObjects, ReadDatastore } from '../datastore/read-datastore.ts';
import type { SnapshotName } from '../datastore/snapshots/group-store.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { unlockFor } from './client-key.ts';
import { withReadDatastore } from './local-store.ts';
import { type CommonOptions, repositoryPath, startPool, warn } from './repository.ts';

export interface Repository {
  /** Of the datastore, whatever way leads to it. */
  readonly storeId: string;
  ask<Argument, Answer>(query: Query<Argument, Answer>, argument: Argument, signal?: AbortSignal): Promise<Answer>;
  /** Average bytes of the chunks of the datastore. */
  averageBytes(): Promise<number>;
  /**
   * Opens the objects of snapshots that are in one space, `expectedLookups` of which will be asked for. They stay open as long as the
   * repository. @throws `key-missing`, `key-wrong`, `manifest-altered`.
   */
  open(
    snapshots: readonly FoundSnapshot[],
    key: DataKey | undefined,
    expectedLookups: number,
  ): Promise<SnapshotObjects>;
}

export interface FoundSnapshot {
  readonly name: SnapshotName;
  readonly manifest: Manifest;
}

export interface SnapshotObjects {
  /** Reads an object in this thread. */
  readonly get: GetObject;
  /** Threads that read the same objects, started at the first call. */
  pool(workers: number): Promise<WorkerPool>;
}

/** Runs `use` with the repository of --repository open, and closes everything after it. */
export async function withRepository<Result>(
  options: CommonOptions,
  use: (repository: Repository) => Promise<Result>,
): Promise<Result> {
  return await withReadDatastore(repositoryPath(options), async (store) => {
    const repository = new LocalRepository(store);
    try {
      return await use(repository);
    } finally {
      await repository.close();
    }
  });
}

/** Asks one question of the repository of --repository. */
export async function ask<Argument, Answer>(
  options: CommonOptions,
  query: Query<Argument, Answer>,
  argument: Argument,
  signal?: AbortSignal,
): Promise<Answer> {
  return await withRepository(options, async (repository) => await repository.ask(query, argument, signal));
}

/** A directory of this machine. */
export class LocalRepository implements Repository {
  readonly #store: ReadDatastore;
  readonly #pools: WorkerPool[] = [];

  constructor(store: ReadDatastore) {
    this.#store = store;
  }

  get storeId(): string {
    return this.#store.config.store;
  }

  async averageBytes(): Promise<number> {
    return this.#store.config.chunk.averageBytes;
  }

  async ask<Argument, Answer>(
    query: Query<Argument, Answer>,
    argument: Argument,
    signal = new AbortController().signal,
  ): Promise<Answer> {
    const { groups, layout, config } = this.#store;
    return await query.run({ groups, layout, config, seesSizes: true }, argument, signal);
  }

  async open(
    snapshots: readonly FoundSnapshot[],
    key: DataKey | undefined,
    expectedLookups: number,
  ): Promise<SnapshotObjects> {
    const objects = this.#store.objects(expectedLookups);
    for (const warning of objects.warnings) warn(warning);
    for (const { manifest } of snapshots) unlockFor(objects, manifest, key);
    const space = snapshots[0]?.manifest.server.space ?? 0;
    let pool: Promise<WorkerPool> | undefined;
    return {
      get: async (id) => objects.source.get(space, id),
      pool: (workers) => {
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
