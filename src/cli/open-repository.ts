// A repository as commands that read see it, wherever it is: questions to ask of it, and the objects of its snapshots.
import type { GetObject } from '../agent/tree/read-tree.ts';
import type { DataKey } from '../chunker/data-key.ts';
import type { Query } from '../datastore/control/query.ts';
import type { SnapshotName } from '../datastore/snapshots/group-store.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { RemoteStore } from '../transport/client/remote-store.ts';
import { isServerAddress } from '../transport/client/repository-address.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { interruptSignal } from './interrupt.ts';
import { LocalRepository } from './local-repository.ts';
import { withReadDatastore } from './local-store.ts';
import { RemoteRepository } from './remote-repository.ts';
import { withRemoteStore } from './remote-store.ts';
import { type CommonOptions, repositoryText } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

export interface Repository {
  ask<Argument, Answer>(query: Query<Argument, Answer>, argument: Argument, signal?: AbortSignal): Promise<Answer>;
  /**
   * Opens the objects of snapshots that are in one space. They stay open as long as the repository.
   * @throws `key-missing`, `key-wrong`, `manifest-altered`.
   */
  open(snapshots: readonly FoundSnapshot[], key: DataKey | undefined, use: ExpectedUse): Promise<SnapshotObjects>;
}

export interface FoundSnapshot {
  readonly name: SnapshotName;
  readonly manifest: Manifest;
}

export interface ExpectedUse {
  /** How many objects will be asked for: with few, the index of a directory stays on disk. */
  readonly lookups: number;
  /** Threads of the pool. */
  readonly workers: number;
}

export interface SnapshotObjects {
  /** Reads an object. */
  readonly get: GetObject;
  /** Threads that read the same objects, started at the first call. */
  pool(): Promise<WorkerPool>;
}

/** Runs `use` with the repository of --repository open, and closes everything after it. Without `around` Ctrl-C stops it. */
export async function withRepository<Result>(
  options: CommonOptions,
  use: (repository: Repository) => Promise<Result>,
  around?: Pick<Surroundings, 'signal' | 'env'>,
): Promise<Result> {
  const place = repositoryText(options);
  if (!isServerAddress(place)) return await withDirectory(place, use);
  if (around !== undefined) return await withServer(options, use, around);
  const interrupt = interruptSignal();
  try {
    return await withServer(options, use, { signal: interrupt.signal, env: process.env });
  } finally {
    interrupt.stop();
  }
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

async function withDirectory<Result>(root: string, use: (repository: Repository) => Promise<Result>): Promise<Result> {
  return await withReadDatastore(root, async (store) => {
    const repository = new LocalRepository(store);
    try {
      return await use(repository);
    } finally {
      await repository.close();
    }
  });
}

async function withServer<Result>(
  options: CommonOptions,
  use: (repository: Repository) => Promise<Result>,
  { signal, env }: Pick<Surroundings, 'signal' | 'env'>,
): Promise<Result> {
  let repository: RemoteRepository | undefined;
  const run = async (store: RemoteStore): Promise<Result> => {
    repository = new RemoteRepository(store);
    return await use(repository);
  };
  try {
    return await withRemoteStore(options, signal, run, env);
  } finally {
    // Threads end after the sessions that they read in.
    await repository?.close();
  }
}
