// The datastores of the server: opened when it starts and kept open. One that cannot be opened keeps nobody from the others; whoever asks
// for it later has it tried again. One that goes offline is closed, and opened when that is over.
import { resolve } from 'node:path';
import type { Actor } from '../auth/audit-log.ts';
import type { Operations } from '../datastore/control/operation.ts';
import { Layout } from '../datastore/layout.ts';
import { readLimits } from '../datastore/limits/limits-file.ts';
import { requireOnline } from '../datastore/limits/maintenance.ts';
import type { DatastoreEntry } from '../schema/datastore-entry.ts';
import { readIfPresent } from '../util/atomic-file.ts';
import { HoldfastError } from '../util/errors.ts';
import { Turn } from '../util/turn.ts';
import type { DatastoreChange, DatastoreList, NewDatastore } from './datastore-list.ts';
import { FileSystems } from './file-systems.ts';
import type { DatastoreFigures } from './metrics.ts';
import { type OpenDatastore, OpenStore, type ServeClients, type StartPool } from './open-store.ts';

/** A datastore that failed is not tried again sooner: whoever asks meanwhile gets the same error. */
const RETRY_AFTER_MS = 2000;

export interface DatastoreState {
  readonly name: string;
  readonly isOpen: boolean;
  /** Why it is not open, as far as somebody tried. */
  readonly reason: string | undefined;
}

export interface DatastoresOptions {
  readonly list: DatastoreList;
  readonly startPool: StartPool;
  readonly operations: Operations;
  readonly serve: ServeClients;
  /** Ends tasks and sessions of a datastore. Returns whether all have ended; it is asked again when they have not. */
  readonly endWork: (name: string, reason: string) => Promise<boolean>;
  /** Threads of a datastore that says nothing else. */
  readonly workers: number;
  readonly warn: (message: string, name: string) => void;
}

interface Place {
  /** Opening, closing and changing, one after the other. */
  readonly turn: Turn;
  open: OpenStore | undefined;
  failure: { readonly error: unknown; readonly atMs: number } | undefined;
  /** It was closed for a time, and is opened when that is over. */
  isAwaited: boolean;
}

export class Datastores {
  readonly #options: DatastoresOptions;
  readonly #list: DatastoreList;
  readonly #places = new Map<string, Place>();
  /** Names that were opened once, or tried: from then on a datastore is opened when it is asked for. */
  readonly #known = new Set<string>();
  /** Changes of the list. */
  readonly #turn = new Turn();
  readonly #fileSystems = new FileSystems();
  /** Names of those that are being looked at: a disk that does not answer is asked once, and holds up only its own datastore. */
  readonly #looks = new Set<string>();
  #isClosed = false;

  constructor(options: DatastoresOptions) {
    this.#options = options;
    this.#list = options.list;
  }

  /** Opens all of them side by side; what fails is warned of. */
  async openAll(): Promise<void> {
    await Promise.all(this.list().map(async ({ name }) => await this.#openFirst(name)));
  }

  /**
   * Follows what other processes changed, and what became of the datastores: opens what is new, closes what is gone or lies elsewhere now, closes
   * what is offline, opens what is so no more, and opens anew what has lost a thread. What fails is warned of.
   * It may be called again meanwhile: that leaves out what is still being looked at.
   */
  async follow(): Promise<void> {
    const entries = new Map(this.list().map((entry) => [entry.name, entry]));
    const gone = [...this.#places].filter(([name]) => !entries.has(name));
    for (const name of this.#known) if (!entries.has(name)) this.#known.delete(name);
    await Promise.all([
      ...gone.map(([name, place]) => this.#lookOnce(name, () => this.#leave(name, place))),
      ...[...entries.values()].map((entry) =>
        this.#lookOnce(entry.name, () =>
          this.#known.has(entry.name) ? this.#followOne(entry) : this.#openFirst(entry.name),
        ),
      ),
    ]);
  }

  /** Looks, unless the look before has not come to its end. */
  async #lookOnce(name: string, look: () => Promise<void>): Promise<void> {
    if (this.#looks.has(name)) return;
    this.#looks.add(name);
    try {
      await look();
    } finally {
      this.#looks.delete(name);
    }
  }

  /** Closes one that another process took from the list. */
  async #leave(name: string, place: Place): Promise<void> {
    await this.#turn.run(async () => {
      if (this.#isClosed || this.list().some((entry) => entry.name === name)) return;
      await this.#releaseOrWarn(name);
      if (this.#places.get(name) === place) this.#places.delete(name);
    });
  }

  list(): readonly DatastoreEntry[] {
    return this.#list.all();
  }

  /**
   * The open datastore; one that is not is opened.
   * @throws `not-found`, `datastore-maintenance` when it is offline, and what opening it throws.
   */
  async get(name: string): Promise<OpenDatastore> {
    const entry = this.#entry(name);
    await requireOnline(new Layout(entry.path));
    const place = this.#place(name);
    return await place.turn.run(async () => {
      await closeElsewhere(place, this.#entry(name));
      return place.open ?? (await this.#open(this.#entry(name), place));
    });
  }

  state(name: string): DatastoreState {
    const place = this.#place(this.#entry(name).name);
    const isOpen = place.open !== undefined;
    const reason = isOpen ? undefined : (place.failure?.error as Error | undefined)?.message;
    return { name, isOpen, reason };
  }

  /** Of all of them, with their file systems. */
  async figures(): Promise<DatastoreFigures[]> {
    return await Promise.all(
      this.list().map(async ({ name, path }) => {
        const { isOpen } = this.state(name);
        const space = await this.#fileSystems.space(path);
        return { name, isOpen, totalBytes: space?.totalBytes, availableBytes: space?.freeBytes };
      }),
    );
  }

  /**
   * Makes a datastore, or takes one that is there, and opens it.
   * @throws `exists` for a name or directory that is taken, `bad-name`, `bad-argument`, `too-many`, `datastore-foreign`; nothing is kept then.
   */
  async create(actor: Actor, wish: NewDatastore): Promise<void> {
    const entry = await this.#turn.run(() => this.#list.add(actor, wish));
    // It is there and noted: that it cannot be opened now, such as when another process holds it, does not undo that.
    await this.#openFirst(entry.name);
  }

  /** One that goes offline is closed when this returns, unless work on it does not end. @throws as `DatastoreList.change`. */
  async update(actor: Actor, name: string, change: DatastoreChange): Promise<void> {
    await this.#turn.run(() => this.#list.change(actor, name, change));
    if (change.maintenance !== undefined) await this.#followOne(this.#entry(name));
  }

  /**
   * Closes a datastore and forgets where it is, and the jobs that are of it alone. Its files stay: deleting them is left to whoever means it.
   * @throws `not-found`.
   */
  async remove(
    actor: Actor,
    name: string,
    options: { readonly destroyData?: boolean; readonly keepJobs?: boolean } = {},
  ): Promise<void> {
    if (options.destroyData === true)
      throw new HoldfastError(
        'bad-argument',
        `the data of ${name} is not destroyed from here: remove the datastore, then delete ${this.#entry(name).path} on the server`,
      );
    await this.#turn.run(async () => {
      // First, so that nobody opens it again who waits for its turn.
      this.#list.remove(actor, name, options);
      await this.release(name);
      this.#places.delete(name);
    });
  }

  /** Closes a datastore, for example to unmount it; the next one who asks for it opens it again. The caller knows that nobody uses it. */
  async release(name: string): Promise<void> {
    const place = this.#place(name);
    await place.turn.run(async () => {
      const { open } = place;
      place.open = undefined;
      await open?.close();
    });
  }

  /** Closes all. Nothing is opened any more. @throws the first failure, when all are closed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = await Promise.allSettled([...this.#places.keys()].map((name) => this.release(name)));
    for (const each of closed) if (each.status === 'rejected') throw each.reason;
  }

  async #openFirst(name: string): Promise<void> {
    this.#known.add(name);
    try {
      await this.get(name);
    } catch (error) {
      if (this.#isClosed) return;
      this.#place(name).isAwaited = error instanceof HoldfastError && error.code === 'datastore-maintenance';
      this.#options.warn(`cannot be opened: ${(error as Error).message}`, name);
    }
  }

  /** Closes a datastore that is offline, so that its disk can be unmounted, or has lost a thread; opens it when it is there and online. */
  async #followOne({ name, path }: DatastoreEntry): Promise<void> {
    const place = this.#place(name);
    if (place.open === undefined && !place.isAwaited) return;
    const condition = await conditionOf(path);
    if (this.#isClosed) return;
    if (place.open !== undefined) {
      const { failure } = place.open.pool;
      if (condition !== 'offline' && failure === undefined) return;
      const reason = failure === undefined ? 'it goes offline' : `it has lost a thread: ${failure.message}`;
      this.#options.warn(`is being closed: ${reason}`, name);
      // Not in the place's turn: what is to end may be waiting for it.
      if (!(await this.#options.endWork(name, `the datastore is being closed: ${reason}`))) return;
      place.isAwaited = true;
      await this.#releaseOrWarn(name);
    }
    if (!place.isAwaited || condition !== 'online' || this.#isClosed) return;
    place.isAwaited = false;
    await this.#openFirst(name);
  }

  async #releaseOrWarn(name: string): Promise<void> {
    await this.release(name).catch((error: Error) => this.#options.warn(`closed badly: ${error.message}`, name));
  }

  async #open(entry: DatastoreEntry, place: Place): Promise<OpenStore> {
    if (this.#isClosed) throw new HoldfastError('aborted', 'the server is stopping; try again when it runs');
    const { failure } = place;
    if (failure !== undefined && performance.now() - failure.atMs < RETRY_AFTER_MS) throw failure.error;
    const { startPool, operations, serve, workers, warn } = this.#options;
    try {
      const opening = { name: entry.name, path: entry.path, workers };
      place.open = await OpenStore.open(opening, startPool, operations, serve, (message) => warn(message, entry.name));
      place.failure = undefined;
      return place.open;
    } catch (error) {
      place.failure = { error, atMs: performance.now() };
      throw error;
    }
  }

  #entry(name: string): DatastoreEntry {
    return this.#list.entry(name);
  }

  #place(name: string): Place {
    let place = this.#places.get(name);
    if (place === undefined) {
      place = { turn: new Turn(), open: undefined, failure: undefined, isAwaited: false };
      this.#places.set(name, place);
    }
    return place;
  }
}

/** A datastore of that name that was open before lies in another directory than the entry says now. */
async function closeElsewhere(place: Place, entry: DatastoreEntry): Promise<void> {
  const { open } = place;
  if (open === undefined || open.store.layout.root === resolve(entry.path)) return;
  place.open = undefined;
  await open.close();
}

/** `absent` is a disk that is not mounted, or anything else that keeps from knowing. */
async function conditionOf(path: string): Promise<'online' | 'offline' | 'absent'> {
  const layout = new Layout(path);
  try {
    if ((await readIfPresent(layout.config)) === undefined) return 'absent';
    return (await readLimits(layout)).maintenance.mode === 'offline' ? 'offline' : 'online';
  } catch {
    return 'absent';
  }
}
