// The list of datastores and what is set for them: what may stand there, for the server and for commands on its machine. Each look is at the
// table itself, which several processes change. Every change says who asked for it and is in the audit log, so that no caller can forget it.
import { isAbsolute, relative, resolve } from 'node:path';
import type { Transactions } from '../auth/access-store.ts';
import type { Actor, AuditAction, AuditEvent, AuditLog } from '../auth/audit-log.ts';
import { createDatastore, readConfig } from '../datastore/config.ts';
import { Layout } from '../datastore/layout.ts';
import { changeLimits } from '../datastore/limits/limits-file.ts';
import {
  type DatastoreEntry,
  type DatastoreTable,
  MAX_COMMENT,
  MAX_DATASTORES,
  parseDatastoreName,
} from '../schema/datastore-entry.ts';
import { type Limits, MAX_MAINTENANCE_MESSAGE } from '../schema/limits-file.ts';
import { HoldfastError } from '../util/errors.ts';

const AVERAGE_CHUNK_BYTES = 64 * 1024;

export interface NewDatastore {
  readonly name: string;
  readonly path: string;
  readonly comment?: string | undefined;
  /** The directory is a datastore already, and is taken as it is. */
  readonly reuse: boolean;
  readonly averageChunkBytes?: number | undefined;
}

/** What is not named stays. */
export interface DatastoreChange {
  /** Null takes it away. */
  readonly comment?: string | null | undefined;
  readonly maintenance?: Limits['maintenance'] | undefined;
  readonly quotas?: Limits['quotas'] | undefined;
}

export interface DatastoreListParts {
  readonly table: DatastoreTable;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly transactions: Transactions;
  /** No datastore may lie in it, nor around it. */
  readonly stateDirectory: string;
  /** Removes the jobs that are of a datastore alone, in the transaction; what it returns is called when that is written. */
  readonly removeJobs: (actor: Actor, name: string) => () => void;
}

export class DatastoreList {
  readonly #parts: DatastoreListParts;

  constructor(parts: DatastoreListParts) {
    this.#parts = parts;
  }

  all(): readonly DatastoreEntry[] {
    return this.#parts.table.list();
  }

  /** @throws `not-found`. */
  entry(name: string): DatastoreEntry {
    const entry = this.#parts.table.get(name);
    if (entry === undefined) throw new HoldfastError('not-found', `there is no datastore ${JSON.stringify(name)}`);
    return entry;
  }

  /**
   * Makes a datastore, or takes one that is there, and notes it.
   * @throws `exists` for a name or directory that is taken, `bad-name`, `bad-argument`, `too-many`, `datastore-foreign`,
   * `datastore-newer`; nothing is noted then.
   */
  async add(actor: Actor, wish: NewDatastore): Promise<DatastoreEntry> {
    const entry = checkedEntry(wish);
    this.#requireFree(entry);
    if (wish.reuse) await readConfig(new Layout(entry.path), true);
    else await createDatastore(entry.path, wish.averageChunkBytes ?? AVERAGE_CHUNK_BYTES);
    this.#parts.transactions.atomically(() => {
      // Another process may have been faster.
      this.#requireFree(entry);
      this.#parts.table.add(entry);
      this.#note(actor, 'datastore-add', entry.name, { path: entry.path });
    });
    return entry;
  }

  /** One change at a time in a process. @throws `not-found`, `too-large`, and what writing the datastore's limits throws. */
  async change(actor: Actor, name: string, change: DatastoreChange): Promise<void> {
    const { path } = this.entry(name);
    const { comment, maintenance, quotas } = change;
    const fields = Object.entries({ comment, maintenance, quotas }).flatMap(([field, value]) =>
      value === undefined ? [] : [field],
    );
    if (fields.length === 0) return;
    checkLength(comment ?? '', MAX_COMMENT, 'a comment');
    checkLength(maintenance?.message ?? '', MAX_MAINTENANCE_MESSAGE, 'the message of a maintenance mode');
    if (maintenance !== undefined || quotas !== undefined)
      await changeLimits(new Layout(path), (limits) => ({
        ...limits,
        maintenance: maintenance ?? limits.maintenance,
        quotas: quotas ?? limits.quotas,
      }));
    this.#parts.transactions.atomically(() => {
      const entry = this.entry(name);
      this.#parts.table.update({
        ...entry,
        comment: comment === undefined ? entry.comment : (comment ?? undefined),
      });
      const mode = maintenance === undefined ? {} : { maintenance: maintenance.mode };
      this.#note(actor, 'datastore-update', name, { fields, ...mode });
    });
  }

  /** Forgets where it is, and the jobs that are of it alone unless `keepJobs`; its files stay. @throws `not-found`. */
  remove(actor: Actor, name: string, { keepJobs = false }: { readonly keepJobs?: boolean } = {}): void {
    const jobsRemoved = this.#parts.transactions.atomically(() => {
      const { path } = this.entry(name);
      this.#parts.table.remove(name);
      const removed = keepJobs ? undefined : this.#parts.removeJobs(actor, name);
      this.#note(actor, 'datastore-remove', name, { path });
      return removed;
    });
    // The scheduler's memory follows what is written, and nothing that was taken back.
    jobsRemoved?.();
  }

  #requireFree({ name, path }: DatastoreEntry): void {
    const others = this.all();
    if (others.length >= MAX_DATASTORES)
      throw new HoldfastError('too-many', `a server has at most ${MAX_DATASTORES} datastores`);
    if (others.some((other) => other.name === name))
      throw new HoldfastError('exists', `there is a datastore ${name} already; choose another name`);
    for (const other of [...others, { name: 'the state directory', path: resolve(this.#parts.stateDirectory) }])
      if (isWithin(path, other.path) || isWithin(other.path, path))
        throw new HoldfastError(
          'exists',
          `${path} is taken: ${other.name} lies in ${other.path}; choose another directory`,
        );
  }

  #note(
    actor: Actor,
    action: Extract<AuditAction, `datastore-${string}`>,
    object: string,
    detail: NonNullable<AuditEvent['detail']>,
  ): void {
    this.#parts.audit.append({ action, by: actor.authId, address: actor.address, object, detail });
  }
}

function checkedEntry({ name, path, comment }: NewDatastore): DatastoreEntry {
  if (!isAbsolute(path) || /\p{Cc}/u.test(path) || resolve(path) === '/')
    throw new HoldfastError(
      'bad-argument',
      `the path of a datastore is that of a directory, from the root, such as /backup/store; not ${JSON.stringify(path.slice(0, 200))}`,
    );
  checkLength(comment ?? '', MAX_COMMENT, 'a comment');
  return { name: parseDatastoreName(name), path: resolve(path), comment, options: {} };
}

/** @throws `too-large`. */
function checkLength(text: string, max: number, what: string): void {
  if (text.length > max) throw new HoldfastError('too-large', `${what} takes at most ${max} characters`);
}

function isWithin(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way === '' || (!way.startsWith('..') && !isAbsolute(way));
}
