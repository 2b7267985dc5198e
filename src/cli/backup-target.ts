// Where a backup goes: a directory that this process holds meanwhile, or a server.
import type { Session } from '../agent/backup/session.ts';
import type { DataKey } from '../chunker/data-key.ts';
import { describeStore, type StoreDescription } from '../datastore/describe-store.ts';
import type { GroupName, Namespace } from '../schema/names.ts';
import type { RemoteStore } from '../transport/client/remote-store.ts';
import { isServerAddress } from '../transport/client/repository-address.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { withHeldDatastore } from './local-store.ts';
import { RemoteRepository } from './remote-repository.ts';
import { withRemoteStore } from './remote-store.ts';
import { type CommonOptions, LOCAL_OWNER, repositoryText, startPool, workerCount } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

export interface SessionWish {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly compressionLevel: number;
  readonly key: DataKey | undefined;
}

export interface BackupTarget extends StoreDescription {
  readonly pool: WorkerPool;
  openSession(wish: SessionWish): Promise<Session>;
}

/** Runs `use` with the repository of --repository open for a backup. */
export async function withBackupTarget<Result>(
  options: CommonOptions,
  around: Pick<Surroundings, 'signal' | 'env' | 'startPool'>,
  use: (target: BackupTarget) => Promise<Result>,
): Promise<{ result: Result; indexGrowthBytes: number }> {
  const place = repositoryText(options);
  const workers = workerCount(options);
  if (isServerAddress(place)) return { result: await atServer(options, workers, around, use), indexGrowthBytes: 0 };
  return await withHeldDatastore(place, workers, async (store, pool) => {
    const { store: storeId, chunk } = store.config;
    return await use({
      storeId,
      averageBytes: chunk.averageBytes,
      pool,
      openSession: async (wish) => await store.openSession({ ...wish, owner: LOCAL_OWNER }),
    });
  });
}

async function atServer<Result>(
  options: CommonOptions,
  workers: number,
  { signal, env, startPool: startThreads = startPool }: Pick<Surroundings, 'signal' | 'env' | 'startPool'>,
  use: (target: BackupTarget) => Promise<Result>,
): Promise<Result> {
  // Threads start while the server is connected to.
  const pool = startThreads(workers, () => {});
  try {
    const run = async (store: RemoteStore): Promise<Result> => {
      const description = await new RemoteRepository(store).ask(describeStore, {});
      return await use({
        ...description,
        pool,
        openSession: async ({ ns, group, compressionLevel, key }) =>
          await store.openBackup(pool, { ns, group }, { key, compressionLevel }),
      });
    };
    return await withRemoteStore(options, signal, run, env);
  } finally {
    // Threads end after the sessions that they put into.
    await pool.close();
  }
}
