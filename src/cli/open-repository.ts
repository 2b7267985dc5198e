// Opens the repository of --repository for commands that read, wherever it is.
import type { Query } from '../datastore/control/query.ts';
import type { RemoteStore } from '../transport/client/remote-store.ts';
import { isServerAddress } from '../transport/client/repository-address.ts';
import { interruptSignal } from './interrupt.ts';
import { LocalRepository } from './local-repository.ts';
import { withReadDatastore } from './local-store.ts';
import type { Repository } from './readable-repository.ts';
import { RemoteRepository } from './remote-repository.ts';
import { withRemoteStore } from './remote-store.ts';
import { type CommonOptions, repositoryText, startPool } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

/**
 * Runs `use` with the repository of --repository open, and closes everything after it. Without `around` Ctrl-C stops it. What surely opens
 * objects says with how many `workers`: they start while a server is connected to.
 */
export async function withRepository<Result>(
  options: CommonOptions,
  use: (repository: Repository) => Promise<Result>,
  around?: Pick<Surroundings, 'signal' | 'env'>,
  workers = 0,
): Promise<Result> {
  const place = repositoryText(options);
  if (!isServerAddress(place)) return await withDirectory(place, use);
  if (around !== undefined) return await withServer(options, use, around, workers);
  const interrupt = interruptSignal();
  try {
    return await withServer(options, use, { signal: interrupt.signal, env: process.env }, workers);
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
  workers: number,
): Promise<Result> {
  const threads = workers === 0 ? undefined : startPool(workers, () => {});
  let repository: RemoteRepository | undefined;
  const run = async (store: RemoteStore): Promise<Result> => {
    repository = new RemoteRepository(store, threads);
    return await use(repository);
  };
  try {
    return await withRemoteStore(options, signal, run, env);
  } finally {
    // Threads end after the sessions that they read in.
    await repository?.close();
    await threads?.close();
  }
}
