// One holder, many readers. `lock.db` and `readers.db` are SQLite files that hold nothing: their locks die with the process,
// which no lock file does. docs/design.md has the locking matrix; rule L1.
import { createRequire } from 'node:module';
import type { Database as Connection } from 'better-sqlite3';
import { HoldfastError, systemCode } from '../util/errors.ts';
import type { Layout } from './layout.ts';

const Database = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');

/** A lock that is held until `release`, or until the process ends. */
export class HeldLock {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  release(): void {
    if (this.#connection.open) this.#connection.close();
  }
}

/** Takes the holder's lock, or returns undefined when another process has it. */
export function tryHold(layout: Layout): HeldLock | undefined {
  return tryExclusive(layout.lockDb);
}

/** Holds off the emptying of `condemned/` while it is held; any number of processes may hold it. */
export function holdAsReader(layout: Layout): HeldLock {
  // On a read-only file system SQLite may only be opened so, and takes the same shared lock.
  const connection = open(layout.readersDb, true);
  connection.exec('BEGIN');
  connection.prepare('SELECT count(*) FROM sqlite_master').get();
  return new HeldLock(connection);
}

/** Takes the readers' lock exclusively, or returns undefined while a reader is there. */
export function tryExcludeReaders(layout: Layout): HeldLock | undefined {
  return tryExclusive(layout.readersDb);
}

/** Creates an empty lock file. */
export function createLockFile(path: string): void {
  const connection = new Database(path);
  connection.exec('PRAGMA journal_mode = DELETE; PRAGMA user_version = 1;');
  connection.close();
}

function tryExclusive(path: string): HeldLock | undefined {
  const connection = open(path, false);
  try {
    connection.exec('BEGIN EXCLUSIVE');
    return new HeldLock(connection);
  } catch (error) {
    connection.close();
    const code = (error as { code?: string }).code ?? '';
    if (code.startsWith('SQLITE_BUSY')) return undefined;
    if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN')) throw readOnly(path, error);
    throw error;
  }
}

function open(path: string, readonly: boolean): Connection {
  try {
    return new Database(path, { readonly, fileMustExist: true, timeout: 0 });
  } catch (error) {
    if (systemCode(error) === 'EROFS' || (error as { code?: string }).code === 'SQLITE_CANTOPEN')
      throw readOnly(path, error);
    throw error;
  }
}

function readOnly(path: string, cause: unknown): HoldfastError {
  return new HoldfastError(
    'datastore-read-only',
    `cannot lock ${path}: the datastore is read-only for this user, or the file is gone; remount it writable, or check owner and mode`,
    {
      cause,
    },
  );
}
