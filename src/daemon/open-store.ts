// One datastore of the server: held, with threads of its own, and open to commands of the same user on this machine.
import { resolve } from 'node:path';
import { ControlServer } from '../datastore/control/control-server.ts';
import type { Operations } from '../datastore/control/operation.ts';
import { HeldDatastore } from '../datastore/held-datastore.ts';
import { Layout } from '../datastore/layout.ts';
import { closeAll } from '../util/close-all.ts';
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
  readonly #closing: (() => Promise<unknown>)[];

  private constructor(name: string, store: HeldDatastore, pool: WorkerPool, closing: (() => Promise<unknown>)[]) {
    this.name = name;
    this.store = store;
    this.pool = pool;
    this.#closing = closing;
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
    const closing: (() => Promise<unknown>)[] = [() => pool.close()];
    try {
      const held = await HeldDatastore.open(place.path, pool);
      store = held;
      closing.push(() => held.close());
      for (const warning of held.warnings) warn(warning);
      const open = new OpenStore(place.name, held, pool, closing);
      const control = await listen(held, place.path, operations, warn);
      closing.push(async () => await control?.close());
      closing.push(await serve(open));
      return open;
    } catch (error) {
      // The first error is the one to show.
      await closeAll(closing).catch(() => undefined);
      throw error;
    }
  }

  /** Clients first; commands get a moment to end. Whoever else uses the store has ended before. @throws the first failure, when all is closed. */
  async close(): Promise<void> {
    // What is left of the threads may be writing: none may go on when the lock is given up.
    if (this.pool.failure !== undefined) await this.pool.close();
    await closeAll(this.#closing);
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
