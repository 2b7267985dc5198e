// A datastore as the server's configuration has it: its name, where it is, and what is configured for it there.
import { type Static, Type } from 'typebox';
import { HoldfastError } from '../util/errors.ts';

/** Datastores that one server opens. */
export const MAX_DATASTORES = 64;
export const MAX_COMMENT = 1024;

/** Plain JSON. There are none yet; what a version does not know it keeps. */
export const DatastoreOptions = Type.Object({});
export type DatastoreOptions = Static<typeof DatastoreOptions>;

export interface DatastoreEntry {
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly comment?: string | undefined;
  readonly options: DatastoreOptions;
}

/** Where the list of datastores is kept. */
export interface DatastoreTable {
  /** By name. */
  list(): DatastoreEntry[];
  get(name: string): DatastoreEntry | undefined;
  add(entry: DatastoreEntry): void;
  update(entry: DatastoreEntry): void;
  remove(name: string): void;
}

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{2,31}$/;

/** As with Proxmox: 3 to 32 letters, digits, `_`, `-` and `.`. @throws `bad-name`. */
export function parseDatastoreName(text: string): string {
  if (NAME.test(text)) return text;
  throw new HoldfastError(
    'bad-name',
    `${JSON.stringify(text.slice(0, 64))} is no name of a datastore: 3 to 32 letters, digits, "_", "-" and ".", not beginning with "-" or "."`,
  );
}
