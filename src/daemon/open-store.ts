// One datastore of the server: held, with threads of its own, and open to commands of the same user on this machine.
import { resolve } from 'node:path';
import { ControlServer } from '../datastore/control/control-server.ts';
import type { Operations } from '../datastore/control/operation.ts';
import { HeldDatastore } from '../datastore/held-datastore.ts';
import { Layout } from '../datastore/layout.ts';
import type { WorkerPool } from '../util/worker-pool.ts';

export interface OpenDatastore {
  readonly name: string;
  readonly store: HeldDatastore;
  readonly pool: WorkerPool;
}

/** Starts threads that tell of copies that they found bad, and of failures with connections of clients. */
export type StartPool = (
  workers: number,
  onQuarantined: (entry: number) => void,
  onFailed: (error: Error) => void,
) => WorkerPool;

/** Lets clients reach an open datastore; what it returns ends that. */
export type ServeClients = (open: OpenDatastore) => Promise<() => Promise<void>>;

export class OpenStore implements OpenDatastore {
  readonly name: string;
  readonly store: HeldDatastore;
  readonly pool: WorkerPool;
  readonly #closing: (() => Promise<void>)[] = [];

  private constructor(name: string, store: HeldDatastore, pool: WorkerPool) {
    this.name = name;
    this.store = store;
    this.pool = pool;
  }

  /** `warn` is told of what was found at open. @throws as `HeldDatastore.open`. */
  static async open(
    place: { readonly name: string; readonly path: string; readonly workers: number },
    startPool: StartPool,
    operations: Operations,
    serve: ServeClients,
    warn: (message: string) => void,
  ): Promise<OpenStore> {
    let store: HeldDatastore | undefined;
    const pool = startPool(
      place.workers,
      (entry) => store?.noteQuarantined(entry),
      (error) => warn(`a connection of a client failed: ${error.stack ?? error.message}`),
    );
    try {
      store = await HeldDatastore.open(place.path, pool);
      for (const warning of store.warnings) warn(warning);
      const open = new OpenStore(place.name, store, pool);
      open.#closing.push(await serve(open));
      const control = await listen(store, place.path, operations, warn);
      open.#closing.push(async () => await control?.close());
      return open;
    } catch (error) {
      await store?.close().catch(() => undefined);
      await pool.close();
      throw error;
    }
  }

  /** Commands get a moment to end. Whoever else uses the store has ended before. */
  async close(): Promise<void> {
    try {
      for (const close of this.#closing) await close();
      await this.store.close();
    } finally {
      await this.pool.close();
    }
  }
}

/** A file system without sockets keeps nobody from a backup. */
async function listen(
  store: HeldDatastore,
  path: string,
  operations: Operations,
  warn: (message: string) => void,
): Promise<ControlServer | undefined> {
  try {
    return await ControlServer.start(store, new Layout(resolve(path)), operations);
  } catch (error) {
    warn(`other processes cannot use ${path} meanwhile: no control socket (${(error as Error).message})`);
    return undefined;
  }
}
