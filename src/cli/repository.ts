// What every command needs to begin: where the repository is, how to print, and the worker threads of this process.
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { ControlServer } from '../datastore/control/control-server.ts';
import { HeldDatastore } from '../datastore/held-datastore.ts';
import { Layout } from '../datastore/layout.ts';
import { ReadDatastore } from '../datastore/read-datastore.ts';
import { type Namespace, parseNamespace } from '../schema/names.ts';
import { HoldfastError } from '../util/errors.ts';
import { WorkerPool } from '../util/worker-pool.ts';
import { OPERATIONS } from './operations.ts';
import { type OutputFormat, printable } from './output.ts';

/** The user of a local datastore: whoever may write to its directory. */
export const LOCAL_OWNER = 'root@pam';

const MAX_WORKERS = 64;

export interface CommonOptions {
  readonly repository?: string;
  readonly ns?: string;
  readonly outputFormat: OutputFormat;
  readonly workers?: string;
}

/** The datastore's directory from the option or the environment. @throws `bad-argument` without either. */
export function repositoryPath(options: CommonOptions): string {
  const path = options.repository ?? process.env.HOLDFAST_REPOSITORY;
  if (path === undefined || path === '') {
    throw new HoldfastError('bad-argument', 'which datastore? Give --repository DIR, or set HOLDFAST_REPOSITORY');
  }
  return path;
}

export function namespaceOf(options: CommonOptions): Namespace {
  return parseNamespace(options.ns ?? '');
}

/** Threads to use: --workers, else one per processor. */
export function workerCount(options: CommonOptions): number {
  if (options.workers === undefined) return Math.min(MAX_WORKERS, availableParallelism());
  const count = Number(options.workers);
  if (!Number.isInteger(count) || count < 1 || count > MAX_WORKERS) {
    throw new HoldfastError(
      'bad-argument',
      `--workers takes a whole number from 1 to ${MAX_WORKERS}, not ${JSON.stringify(options.workers)}`,
    );
  }
  return count;
}

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

export function startPool(workers: number, onQuarantined: (entry: number) => void): WorkerPool {
  return WorkerPool.start(new URL('worker.js', import.meta.url), workers, (event, argument) => {
    if (event === 'store.quarantined') onQuarantined(argument as number);
  });
}

/** Warnings go to standard error, so that JSON on standard output stays whole. */
export function warn(message: string): void {
  process.stderr.write(`warning: ${printable(message)}\n`);
}
