// Makes a state directory from a snapshot of a server's state. Nothing in it counts before all of it is there: the database comes last.
import { chmod, mkdir, readdir, readFile, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT_USER } from '../../schema/auth-id.ts';
import type { Archive } from '../../schema/manifest.ts';
import { DatastoreTables } from '../../state/datastore-tables.ts';
import { NotifyQueueTable } from '../../state/notify-queue-table.ts';
import { StateDatabase } from '../../state/state-database.ts';
import { syncDirectory } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { parseStateFile } from '../../util/json-file.ts';
import { loadCertificate } from '../certificate.ts';
import { STATE_ARCHIVES, StateAbout } from './state-snapshot.ts';

/** Where the snapshot is read from. */
export interface StateSource {
  readonly archives: readonly Archive[];
  /** Writes an archive to a file that is not there. */
  restore(archive: Archive, target: string): Promise<void>;
}

export interface RestoredState {
  readonly about: StateAbout;
  readonly fingerprint: string;
  /** Where the configuration file was put; null when the server had none. */
  readonly configFile: string | null;
  readonly users: number;
  readonly tokens: number;
  readonly datastores: readonly { readonly name: string; readonly path: string }[];
}

/** Names in the state directory, by archive. */
const PLACES: readonly (readonly [archive: string, file: string, isOptional: boolean])[] = [
  [STATE_ARCHIVES.about, 'restored-about.json', false],
  [STATE_ARCHIVES.certificate, 'server.crt', false],
  [STATE_ARCHIVES.key, 'server.key', false],
  [STATE_ARCHIVES.config, 'restored-config.json', true],
  [STATE_ARCHIVES.database, 'state.db.restoring', false],
];

/**
 * Restores into `directory`, which is empty or not there yet; what goes wrong leaves it so.
 * @throws `exists` when it is not empty, `not-found` when the snapshot lacks a part, `datastore-newer` when a newer version made it,
 * `datastore-damaged`, and what restoring an archive throws.
 */
export async function restoreState(source: StateSource, directory: string): Promise<RestoredState> {
  const wasThere = await requireVacant(directory);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
    return await fill(source, directory);
  } catch (error) {
    await empty(directory);
    if (!wasThere) await rmdir(directory).catch(() => undefined);
    throw error;
  }
}

async function fill(source: StateSource, directory: string): Promise<RestoredState> {
  for (const [name, file, isOptional] of PLACES) {
    const archive = source.archives.find((each) => each.name === name);
    if (archive === undefined && isOptional) continue;
    if (archive === undefined)
      throw new HoldfastError('not-found', `the snapshot has no ${name}: it is none of a server's state; name another`);
    await source.restore(archive, join(directory, file));
    await chmod(join(directory, file), 0o600);
  }
  const aboutPath = join(directory, 'restored-about.json');
  const about = parseStateFile(STATE_ARCHIVES.about, await readFile(aboutPath, 'utf8'), StateAbout);
  await unlink(aboutPath);
  const paths = { certificate: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  const { fingerprint } = await loadCertificate(paths);
  const counts = prepare(join(directory, 'state.db.restoring'));
  await rename(join(directory, 'state.db.restoring'), join(directory, 'state.db'));
  await syncDirectory(directory);
  const hasConfig = source.archives.some(({ name }) => name === STATE_ARCHIVES.config);
  return { about, fingerprint, configFile: hasConfig ? join(directory, 'restored-config.json') : null, ...counts };
}

/** Brings the schema up to date, takes out what nobody should get twice, and reads what is there. @throws `datastore-newer`, `datastore-damaged`. */
function prepare(path: string): Pick<RestoredState, 'users' | 'tokens' | 'datastores'> {
  const state = StateDatabase.open(path);
  try {
    const found = state.db.pragma('quick_check(1)', { simple: true });
    if (found !== 'ok') throw damaged(String(found));
    // An empty file is an empty database: a server on it would make a new administrator.
    if (state.db.prepare('SELECT 1 FROM users WHERE userid = ?').get(ROOT_USER) === undefined)
      throw damaged(`it has no ${ROOT_USER}`);
    // Snapshots of older versions have what was to be sent then.
    new NotifyQueueTable(state.db).clear();
    const count = (table: 'users' | 'tokens'): number =>
      state.db.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0;
    const datastores = new DatastoreTables(state.db).list().map(({ name, path: where }) => ({ name, path: where }));
    return { users: count('users'), tokens: count('tokens'), datastores };
  } finally {
    state.close();
  }
}

function damaged(why: string): HoldfastError {
  return new HoldfastError(
    'datastore-damaged',
    `the database in the snapshot is damaged (${why}); name an older snapshot`,
  );
}

/** Whether it is there. @throws `exists`, `bad-argument`. */
async function requireVacant(directory: string): Promise<boolean> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw new HoldfastError('bad-argument', `${directory} cannot be used: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (names.length === 0) return true;
  throw new HoldfastError(
    'exists',
    `the state directory ${directory} is not empty, and nothing in it is touched: name another one with --state-dir, or move what is there away`,
  );
}

async function empty(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) await rm(join(directory, name), { recursive: true, force: true }).catch(() => undefined);
}
