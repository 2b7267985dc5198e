// The list of datastores: what may stand in it, for the server and for commands on its machine. Each look is at the table itself, which
// several processes change.
import { isAbsolute, relative, resolve } from 'node:path';
import { createDatastore, readConfig } from '../datastore/config.ts';
import { Layout } from '../datastore/layout.ts';
import {
  type DatastoreEntry,
  type DatastoreOptions,
  type DatastoreTable,
  MAX_COMMENT,
  MAX_DATASTORES,
  parseDatastoreName,
} from '../schema/datastore-entry.ts';
import { HoldfastError } from '../util/errors.ts';

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

export class DatastoreList {
  readonly #table: DatastoreTable;
  readonly #stateDirectory: string;

  /** No datastore may lie in the state directory, nor around it. */
  constructor(table: DatastoreTable, stateDirectory: string) {
    this.#table = table;
    this.#stateDirectory = resolve(stateDirectory);
  }

  all(): readonly DatastoreEntry[] {
    return this.#table.list();
  }

  /** @throws `not-found`. */
  entry(name: string): DatastoreEntry {
    const entry = this.#table.get(name);
    if (entry === undefined) throw new HoldfastError('not-found', `there is no datastore ${JSON.stringify(name)}`);
    return entry;
  }

  /**
   * Makes a datastore, or takes one that is there, and notes it.
   * @throws `exists` for a name or directory that is taken, `bad-name`, `bad-argument`, `too-many`, `datastore-foreign`,
   * `datastore-newer`; nothing is noted then.
   */
  async add(wish: NewDatastore): Promise<DatastoreEntry> {
    const entry = checkedEntry(wish);
    this.#requireFree(entry);
    if (wish.reuse) await readConfig(new Layout(entry.path), true);
    else await createDatastore(entry.path, wish.averageChunkBytes ?? AVERAGE_CHUNK_BYTES);
    // Another process may have been faster.
    this.#requireFree(entry);
    this.#table.add(entry);
    return entry;
  }

  /** @throws `too-large`. */
  update(entry: DatastoreEntry): void {
    checkLength(entry.comment ?? '', MAX_COMMENT, 'a comment');
    this.#table.update(entry);
  }

  /** Forgets where it is; its files stay. @throws `not-found`. */
  remove(name: string): void {
    this.entry(name);
    this.#table.remove(name);
  }

  #requireFree({ name, path }: DatastoreEntry): void {
    const others = this.all();
    if (others.length >= MAX_DATASTORES)
      throw new HoldfastError('too-many', `a server has at most ${MAX_DATASTORES} datastores`);
    if (others.some((other) => other.name === name))
      throw new HoldfastError('exists', `there is a datastore ${name} already; choose another name`);
    for (const other of [...others, { name: 'the state directory', path: this.#stateDirectory }])
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

/** @throws `too-large`. */
export function checkLength(text: string, max: number, what: string): void {
  if (text.length > max) throw new HoldfastError('too-large', `${what} takes at most ${max} characters`);
}

function isWithin(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way === '' || (!way.startsWith('..') && !isAbsolute(way));
}
