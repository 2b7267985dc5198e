// A datastore in a directory of this machine: held for writing, or open for reading.
import { resolve } from 'node:path';
import { ControlServer } from '../datastore/control/control-server.ts';
import { HeldDatastore } from '../datastore/held-datastore.ts';
import { Layout } from '../datastore/layout.ts';
import { ReadDatastore } from '../datastore/read-datastore.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { OPERATIONS } from './operations.ts';
import { startPool, warn } from './repository.ts';

/** Runs `use` with the datastore held for writing and open to requests of other processes, and closes everything after it. */
export async function withHeldDatastore<Result>(
  root: string,
  workers: number,
  use: (store: HeldDatastore, pool: WorkerPool) => Promise<Result>,
): Promise<{ result: Result; indexGrowthBytes: number }> {
  let store: HeldDatastore | undefined;
  const pool = startPool(workers, (entry) => store?.noteQuarantined(entry));
  try {
    store = await HeldDatastore.open(root, pool);
    for (const warning of store.warnings) warn(warning);
    const control = await listen(root, store);
    let result: Result;
    try {
      result = await use(store, pool);
      await control?.close();
    } catch (error) {
      await control?.close();
      // The first error is the one to show; closing still releases lock and threads.
      await store.close().catch(() => undefined);
      throw error;
    }
    return { result, ...(await store.close()) };
  } finally {
    await pool.close();
  }
}

/** A file system without sockets keeps nobody from a backup. */
async function listen(root: string, store: HeldDatastore): Promise<ControlServer | undefined> {
  try {
    return await ControlServer.start(store, new Layout(resolve(root)), OPERATIONS);
  } catch (error) {
    warn(`other processes cannot use ${root} meanwhile: no control socket (${(error as Error).message})`);
    return undefined;
  }
}

/** Runs `use` with the datastore open for reading. */
export async function withReadDatastore<Result>(
  root: string,
  use: (store: ReadDatastore) => Promise<Result>,
  evenOffline = false,
): Promise<Result> {
  const store = await ReadDatastore.open(root, evenOffline);
  try {
    return await use(store);
  } finally {
    store.close();
  }
}
