// The server's own state in one SQLite file: users, rights, tasks, configuration. Datastores do not depend on it. Several processes may have
// it open; each change is durable when its transaction ends, but for those of `unsynced`.
import { chmodSync, closeSync, constants, fchmodSync, mkdirSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type { Database } from 'better-sqlite3';
import { HoldfastError } from '../util/errors.ts';
import { MIGRATIONS } from './migrations/all.ts';
import type { Migration } from './migrations/migration.ts';
import { sqliteError } from './sqlite-error.ts';

const Sqlite = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');

/** `HfSt`: tells our file from any other SQLite file. */
const APPLICATION_ID = 0x48665374;
/** How long a transaction waits for another process. */
const BUSY_TIMEOUT_MS = 5000;

export class StateDatabase {
  readonly path: string;
  /** For the files of tables in this folder. */
  readonly db: Database;

  private constructor(path: string, db: Database) {
    this.path = path;
    this.db = db;
  }

  /**
   * Opens the file, makes it and its directory when missing (modes 0600 and 0700), and brings its schema up to date.
   * Throws `datastore-newer`, `datastore-foreign`, `datastore-damaged`, `datastore-read-only`, `disk-full`, `timed-out`.
   */
  static open(path: string, migrations: readonly Migration[] = MIGRATIONS): StateDatabase {
    let db: Database | undefined;
    try {
      createPrivate(path);
      db = new Sqlite(path, { timeout: BUSY_TIMEOUT_MS, fileMustExist: true });
      // Before anything is written, also not the journal mode.
      requireOurs(db, path, migrations.length);
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = FULL');
      db.pragma('foreign_keys = ON');
      // What was a secret does not stay in free pages.
      db.pragma('secure_delete = ON');
      db.pragma('trusted_schema = OFF');
      migrate(db, path, migrations);
      return new StateDatabase(path, db);
    } catch (error) {
      db?.close();
      throw sqliteError(error, path);
    }
  }

  /** Runs synchronous work in one transaction that writes; within another one, as a part of it. */
  atomically<T>(work: () => T): T {
    if (this.db.inTransaction) return work();
    try {
      return this.db.transaction(work).immediate();
    } catch (error) {
      throw sqliteError(error, this.path);
    }
  }

  close(): void {
    if (this.db.open) this.db.close();
  }
}

/** SQLite gives its other files the mode of the first. */
function createPrivate(path: string): void {
  const directory = dirname(path);
  if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) chmodSync(directory, 0o700);
  const file = openSync(path, constants.O_CREAT | constants.O_RDWR, 0o600);
  try {
    fchmodSync(file, 0o600);
  } finally {
    closeSync(file);
  }
}

function requireOurs(db: Database, path: string, known: number): void {
  const version = db.pragma('user_version', { simple: true }) as number;
  const application = db.pragma('application_id', { simple: true });
  const isEmpty = db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() === 0;
  if (isEmpty ? version !== 0 : application !== APPLICATION_ID) {
    throw new HoldfastError(
      'datastore-foreign',
      `${path} is an SQLite file, but not a state database of Holdfast; give another path, or move that file away`,
    );
  }
  if (version > known) {
    throw new HoldfastError(
      'datastore-newer',
      `${path} was written by a newer Holdfast (its state has version ${version}, this program knows ${known}); install that version or a later one`,
      { data: { version, known } },
    );
  }
}

function migrate(db: Database, path: string, migrations: readonly Migration[]): void {
  const isCurrent = (db.pragma('user_version', { simple: true }) as number) === migrations.length;
  if (isCurrent) return;
  db.transaction(() => {
    // Another process may have been here first.
    requireOurs(db, path, migrations.length);
    const version = db.pragma('user_version', { simple: true }) as number;
    for (const migration of migrations.slice(version)) db.exec(migration.up);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${migrations.length}`);
  }).immediate();
}
