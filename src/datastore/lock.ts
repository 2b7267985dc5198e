// One holder, many readers. `lock.db` and `readers.db` are SQLite files that hold nothing: their locks die with the process,
// which no lock file does. docs/design.md has the locking matrix; rule L1.
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import type { Database as Connection } from 'better-sqlite3';
import { HoldfastError, systemCode } from '../util/errors.ts';
import type { Layout } from './layout.ts';

const Database = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');

/** How long a reader waits for the holder to empty `condemned/`. */
const READER_TIMEOUT_MS = 60_000;

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
  const connection = open(layout.readersDb, true, READER_TIMEOUT_MS);
  try {
    connection.exec('BEGIN');
    connection.prepare('SELECT count(*) FROM sqlite_master').get();
    return new HeldLock(connection);
  } catch (error) {
    connection.close();
    if (!isBusy(error)) throw error;
    throw new HoldfastError(
      'datastore-locked',
      `${layout.root}: the process that holds this datastore has been deleting dropped packs for ${READER_TIMEOUT_MS / 1000} s; try again`,
      { cause: error },
    );
  }
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
  // SQLite opens what it cannot write for reading, and then BEGIN EXCLUSIVE takes no more than a shared lock.
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    throw readOnly(path, error);
  }
  const connection = open(path, false, 0);
  try {
    connection.exec('BEGIN EXCLUSIVE');
    return new HeldLock(connection);
  } catch (error) {
    connection.close();
    if (isBusy(error)) return undefined;
    const code = (error as { code?: string }).code ?? '';
    if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN')) throw readOnly(path, error);
    throw error;
  }
}

function isBusy(error: unknown): boolean {
  return ((error as { code?: string }).code ?? '').startsWith('SQLITE_BUSY');
}

function open(path: string, readonly: boolean, timeout: number): Connection {
  try {
    return new Database(path, { readonly, fileMustExist: true, timeout });
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
