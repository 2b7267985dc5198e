// The datastores of the server: opened when it starts and kept open. One that cannot be opened keeps nobody from the others; whoever asks
// for it later has it tried again.
import { isAbsolute, relative, resolve } from 'node:path';
import { createDatastore, readConfig } from '../datastore/config.ts';
import type { Operations } from '../datastore/control/operation.ts';
import { Layout } from '../datastore/layout.ts';
import { changeLimits, readLimits } from '../datastore/limits/limits-file.ts';
import { spaceOf } from '../datastore/limits/low-space.ts';
import { requireOnline } from '../datastore/limits/maintenance.ts';
import {
  type DatastoreEntry,
  type DatastoreOptions,
  type DatastoreTable,
  MAX_COMMENT,
  MAX_DATASTORES,
  parseDatastoreName,
} from '../schema/datastore-entry.ts';
import { type Limits, MAX_MAINTENANCE_MESSAGE } from '../schema/limits-file.ts';
import { HoldfastError } from '../util/errors.ts';
import { Turn } from '../util/turn.ts';
import { type OpenDatastore, OpenStore, type ServeClients, type StartPool } from './open-store.ts';

/** A datastore that failed is not tried again sooner: whoever asks meanwhile gets the same error. */
const RETRY_AFTER_MS = 2000;
const AVERAGE_CHUNK_BYTES = 64 * 1024;

export interface NewDatastore {
  readonly name: string;
  readonly path: string;
  readonly comment?: string | undefined;
  readonly options?: DatastoreOptions | undefined;
  /** The directory is a datastore already, and is taken as it is. */
  readonly reuse: boolean;
  readonly averageChunkBytes?: number | undefined;
}

export interface DatastoreChange {
  /** Null takes it away. */
  readonly comment?: string | null | undefined;
  /** Holds from the next time that the datastore is opened. */
  readonly options?: DatastoreOptions | undefined;
  readonly maintenance?: Limits['maintenance'] | undefined;
}

export interface DatastoreState {
  readonly name: string;
  readonly isOpen: boolean;
  /** Why it is not open, as far as somebody tried. */
  readonly reason: string | undefined;
  /** Undefined when its file system cannot be asked. */
  readonly totalBytes: number | undefined;
  readonly availableBytes: number | undefined;
}

export interface DatastoresOptions {
  readonly table: DatastoreTable;
  readonly startPool: StartPool;
  readonly operations: Operations;
  readonly serve: ServeClients;
  /** Threads of a datastore that says nothing else. */
  readonly workers: number;
  /** No datastore may lie here, nor around it. */
  readonly stateDirectory: string;
  readonly warn: (message: string, name: string) => void;
}

interface Place {
  /** Opening, closing and changing, one after the other. */
  readonly turn: Turn;
  open: OpenStore | undefined;
  failure: { readonly error: unknown; readonly atMs: number } | undefined;
}

export class Datastores {
  readonly #options: DatastoresOptions;
  readonly #places = new Map<string, Place>();
  /** Changes of the list. */
  readonly #turn = new Turn();
  #isClosed = false;

  constructor(options: DatastoresOptions) {
    this.#options = options;
  }

  /** Opens all of them side by side; what fails is warned of. */
  async openAll(): Promise<void> {
    await Promise.all(
      this.list().map(async ({ name }) => {
        await this.get(name).catch((error: Error) => this.#options.warn(`cannot be opened: ${error.message}`, name));
      }),
    );
  }

  list(): readonly DatastoreEntry[] {
    return this.#options.table.list();
  }

  /**
   * The open datastore; one that is not is opened.
   * @throws `not-found`, `datastore-maintenance` when it is offline, and what opening it throws.
   */
  async get(name: string): Promise<OpenDatastore> {
    const entry = this.#entry(name);
    await requireOnline(new Layout(entry.path));
    const place = this.#place(name);
    return await place.turn.run(async () => place.open ?? (await this.#open(this.#entry(name), place)));
  }

  state(name: string): DatastoreState {
    const { path } = this.#entry(name);
    const place = this.#place(name);
    const isOpen = place.open !== undefined;
    const reason = isOpen ? undefined : (place.failure?.error as Error | undefined)?.message;
    try {
      const { totalBytes, freeBytes } = spaceOf(path);
      return { name, isOpen, reason, totalBytes, availableBytes: freeBytes };
    } catch {
      return { name, isOpen, reason, totalBytes: undefined, availableBytes: undefined };
    }
  }

  /** The maintenance mode, read from the datastore each time. @throws `not-found`, `datastore-damaged`. */
  async maintenance(name: string): Promise<Limits['maintenance']> {
    return (await readLimits(new Layout(this.#entry(name).path))).maintenance;
  }

  /**
   * Makes a datastore, or takes one that is there, and opens it.
   * @throws `exists` for a name or directory that is taken, `bad-name`, `bad-argument`, `too-many`, `datastore-foreign`; nothing is kept then.
   */
  async create(wish: NewDatastore): Promise<void> {
    const entry = checkedEntry(wish);
    await this.#turn.run(async () => {
      this.#requireFree(entry);
      if (wish.reuse) await readConfig(new Layout(entry.path), true);
      else await createDatastore(entry.path, wish.averageChunkBytes ?? AVERAGE_CHUNK_BYTES);
      this.#options.table.add(entry);
    });
    // It is there and noted: that it cannot be opened now, such as when another process holds it, does not undo that.
    await this.get(entry.name).catch((error: Error) =>
      this.#options.warn(`cannot be opened: ${error.message}`, entry.name),
    );
  }

  /** @throws `not-found`, `too-large`, and what writing the datastore's limits throws. */
  async update(name: string, change: DatastoreChange): Promise<void> {
    await this.#turn.run(async () => {
      const entry = this.#entry(name);
      const { maintenance } = change;
      if (maintenance !== undefined) {
        checkLength(maintenance.message, MAX_MAINTENANCE_MESSAGE, 'the message of a maintenance mode');
        await changeLimits(new Layout(entry.path), (limits) => ({ ...limits, maintenance }));
      }
      const comment = change.comment === undefined ? entry.comment : (change.comment ?? undefined);
      checkLength(comment ?? '', MAX_COMMENT, 'a comment');
      this.#options.table.update({ ...entry, comment, options: change.options ?? entry.options });
    });
  }

  /** Closes a datastore and forgets where it is. Its files stay: deleting them is left to whoever means it. @throws `not-found`. */
  async remove(name: string, options: { readonly destroyData?: boolean } = {}): Promise<void> {
    if (options.destroyData === true)
      throw new HoldfastError(
        'bad-argument',
        `the data of ${name} is not destroyed from here: remove the datastore, then delete ${this.#entry(name).path} on the server`,
      );
    await this.#turn.run(async () => {
      this.#entry(name);
      // First, so that nobody opens it again who waits for its turn.
      this.#options.table.remove(name);
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

  async #open(entry: DatastoreEntry, place: Place): Promise<OpenStore> {
    if (this.#isClosed) throw new HoldfastError('aborted', 'the server is stopping; try again when it runs');
    const { failure } = place;
    if (failure !== undefined && performance.now() - failure.atMs < RETRY_AFTER_MS) throw failure.error;
    const { startPool, operations, serve, workers, warn } = this.#options;
    try {
      const opening = { name: entry.name, path: entry.path, workers: entry.options.workers ?? workers };
      place.open = await OpenStore.open(opening, startPool, operations, serve, (message) => warn(message, entry.name));
      place.failure = undefined;
      return place.open;
    } catch (error) {
      place.failure = { error, atMs: performance.now() };
      throw error;
    }
  }

  #entry(name: string): DatastoreEntry {
    const entry = this.#options.table.get(name);
    if (entry === undefined) throw new HoldfastError('not-found', `there is no datastore ${JSON.stringify(name)}`);
    return entry;
  }

  #place(name: string): Place {
    let place = this.#places.get(name);
    if (place === undefined) {
      place = { turn: new Turn(), open: undefined, failure: undefined };
      this.#places.set(name, place);
    }
    return place;
  }

  #requireFree({ name, path }: DatastoreEntry): void {
    const others = this.list();
    if (others.length >= MAX_DATASTORES)
      throw new HoldfastError('too-many', `a server has at most ${MAX_DATASTORES} datastores`);
    if (others.some((other) => other.name === name))
      throw new HoldfastError('exists', `there is a datastore ${name} already; choose another name`);
    for (const other of [...others, { name: 'the state directory', path: resolve(this.#options.stateDirectory) }])
      if (isWithin(path, other.path) || isWithin(other.path, path))
        throw new HoldfastError(
          'exists',
          `${path} is taken: ${other.name} lies in ${other.path}; choose another directory`,
        );
  }
}

function checkedEntry({ name, path, comment, options }: NewDatastore): DatastoreEntry {
  if (!isAbsolute(path) || /\p{Cc}/u.test(path) || resolve(path) === '/')
    throw new HoldfastError(
      'bad-argument',
      `the path of a datastore is that of a directory, from the root, such as /backup/store; not ${JSON.stringify(path.slice(0, 200))}`,
    );
  checkLength(comment ?? '', MAX_COMMENT, 'a comment');
  return { name: parseDatastoreName(name), path: resolve(path), comment, options: options ?? {} };
}

function checkLength(text: string, max: number, what: string): void {
  if (text.length > max) throw new HoldfastError('too-large', `${what} takes at most ${max} characters`);
}

function isWithin(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way === '' || (!way.startsWith('..') && !isAbsolute(way));
}
