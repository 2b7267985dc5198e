// The table of datastores (migration 3). All its queries are here.
import type { Database } from 'better-sqlite3';
import { type DatastoreEntry, DatastoreOptions, type DatastoreTable } from '../schema/datastore-entry.ts';
import { parseStateFile } from '../util/json-file.ts';

interface Stored {
  readonly name: string;
  readonly path: string;
  readonly comment: string | null;
  readonly options: string;
}

export class DatastoreTables implements DatastoreTable {
  readonly #db: Database;

  /** `db` has migration 3. */
  constructor(db: Database) {
    this.#db = db;
  }

  list(): DatastoreEntry[] {
    return (this.#db.prepare('SELECT * FROM datastores ORDER BY name').all() as Stored[]).map(entryOf);
  }

  get(name: string): DatastoreEntry | undefined {
    const row = this.#db.prepare('SELECT * FROM datastores WHERE name = ?').get(name) as Stored | undefined;
    return row === undefined ? undefined : entryOf(row);
  }

  add(entry: DatastoreEntry): void {
    this.#db
      .prepare('INSERT INTO datastores (name, path, comment, options) VALUES (:name, :path, :comment, :options)')
      .run(rowOf(entry));
  }

  update(entry: DatastoreEntry): void {
    this.#db
      .prepare('UPDATE datastores SET path = :path, comment = :comment, options = :options WHERE name = :name')
      .run(rowOf(entry));
  }

  remove(name: string): void {
    this.#db.prepare('DELETE FROM datastores WHERE name = ?').run(name);
  }
}

function rowOf({ name, path, comment, options }: DatastoreEntry): Stored {
  return { name, path, comment: comment ?? null, options: JSON.stringify(options) };
}

function entryOf({ name, path, comment, options }: Stored): DatastoreEntry {
  const parsed = parseStateFile(`the options of datastore ${name}`, options, DatastoreOptions);
  return { name, path, ...(comment !== null && { comment }), options: parsed };
}
