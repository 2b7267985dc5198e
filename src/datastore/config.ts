// datastore.json: what a directory is. Creating one, and refusing what is not ours, newer, or not readable by this version.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DatastoreConfig } from '../schema/state-files.ts';
import { readIfPresent, syncDirectory, writeFileAtomic } from '../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../util/errors.ts';
import { JsonShapeError, parseJson } from '../util/json-file.ts';
import { Layout } from './layout.ts';
import { createLockFile } from './lock.ts';
import { DEFAULT_MAX_LOCK_MS } from './snapshots/retention-lock.ts';

export const FORMAT = 1;
/** Feature names that this version knows. Stores made before the format was frozen have `draft-1`; what is in them is format 1. */
const KNOWN = { incompatible: ['draft-1'], readOnlyCompatible: [] as string[] };

/** Average chunk sizes that a datastore may be created with. */
export const AVERAGE_CHUNK_BYTES = [64 * 1024, 256 * 1024] as const;

/**
 * Creates an empty datastore in a directory that is empty, does not exist, or holds a creation that was cut short. `maxLockMs` is the longest
 * retention lock that a snapshot can get.
 * @throws `exists`.
 */
export async function createDatastore(
  root: string,
  averageBytes: number,
  maxLockMs = DEFAULT_MAX_LOCK_MS,
): Promise<DatastoreConfig> {
  const layout = new Layout(resolve(root));
  try {
    await makeDirectories(layout.root);
    if (!(await isVacant(layout))) {
      throw new HoldfastError('exists', `${layout.root} is not empty; a datastore is created in an empty directory`);
    }
    for (const path of [layout.packs, layout.condemned, layout.index, layout.sessions, layout.snapshots])
      await makeDirectories(path);
    createLockFile(layout.lockDb);
    createLockFile(layout.readersDb);
    const config: DatastoreConfig = {
      format: FORMAT,
      store: randomBytes(16).toString('hex'),
      created: new Date().toISOString(),
      features: { compatible: [], readOnlyCompatible: [], incompatible: [] },
      chunk: { averageBytes },
      retentionLock: { maxMs: maxLockMs },
    };
    // Last, because a directory with this file is a datastore.
    await writeFileAtomic(layout.config, `${JSON.stringify(config, undefined, 1)}\n`);
    await syncDirectory(dirname(layout.root));
    return config;
  } catch (error) {
    throw describeRootError(layout.root, error);
  }
}

/** Whether there is nothing but what an interrupted creation leaves, all of it empty: the description of the datastore comes last. */
async function isVacant(layout: Layout): Promise<boolean> {
  const folders = [layout.packs, layout.condemned, layout.index, layout.sessions, layout.snapshots];
  const locks = [layout.lockDb, layout.readersDb];
  const files = [...locks, ...locks.map((path) => `${path}-journal`), `${layout.config}.tmp`];
  for (const name of await readdir(layout.root)) {
    const path = join(layout.root, name);
    if (name === 'lost+found' || files.includes(path)) continue;
    if (!folders.includes(path) || (await readdir(path).catch(() => ['?'])).length > 0) return false;
  }
  return true;
}

/** Not mkdir's own `recursive`: on a full or read-only file system that says ENOENT. What exists already is left for the caller to look at. */
async function makeDirectories(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o750 });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeDirectories(dirname(path));
    await mkdir(path, { mode: 0o750 });
  }
}

/**
 * Reads and checks what a directory is.
 * @throws `datastore-foreign` when it is no datastore, `datastore-newer` when this version must not open it (for writing).
 */
export async function readConfig(layout: Layout, forWriting: boolean): Promise<DatastoreConfig> {
  let text: string | undefined;
  try {
    text = await readIfPresent(layout.config);
  } catch (error) {
    throw describeRootError(layout.root, error);
  }
  if (text === undefined) {
    throw new HoldfastError(
      'datastore-foreign',
      `${layout.root} is not a Holdfast datastore (no datastore.json); create one with: holdfast datastore create --repository ${layout.root}`,
    );
  }
  let config: DatastoreConfig;
  try {
    config = parseJson(text, DatastoreConfig);
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw new HoldfastError(
      'datastore-foreign',
      `${layout.config} is not the description of a Holdfast datastore: ${error.message}; if this is one, put the original file back`,
      { cause: error },
    );
  }
  const unknown = config.features.incompatible.filter((name) => !KNOWN.incompatible.includes(name));
  if (config.format !== FORMAT || unknown.length > 0) {
    throw new HoldfastError(
      'datastore-newer',
      `${layout.root} has format ${config.format} with features this version does not know (${unknown.join(', ') || 'none named'}); use a newer Holdfast`,
    );
  }
  const writeUnknown = config.features.readOnlyCompatible.filter((name) => !KNOWN.readOnlyCompatible.includes(name));
  if (forWriting && writeUnknown.length > 0) {
    throw new HoldfastError(
      'datastore-newer',
      `this version can only read ${layout.root}: it has ${writeUnknown.join(', ')}; use a newer Holdfast to write`,
    );
  }
  return config;
}

/** Turns what the file system says of the datastore's directory into an error that says what to do. */
export function describeRootError(root: string, error: unknown): unknown {
  const code = systemCode(error) ?? sqliteCode(error);
  if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') {
    return new HoldfastError(
      'datastore-read-only',
      `${root} cannot be written by this user (${code}); remount it writable, or check owner and mode`,
      { cause: error },
    );
  }
  if (code === 'ENOTDIR') return new HoldfastError('datastore-foreign', `${root} is not a directory`, { cause: error });
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new HoldfastError('disk-full', `the file system of ${root} is full; free space first`, { cause: error });
  if (code !== undefined && FAILING_DISK.has(code)) {
    return new HoldfastError(
      'write-failed',
      `the file system of ${root} failed (${(error as Error).message}); check the disk (dmesg), then repeat the command`,
      { cause: error },
    );
  }
  return error;
}

/** Codes that tell of a broken disk, a lost mount or a spent limit, not of a mistake of ours. */
const FAILING_DISK = new Set([
  'EIO',
  'ENXIO',
  'ENODEV',
  'ESTALE',
  'ENOTCONN',
  'ETIMEDOUT',
  'EFBIG',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
]);

/** SQLite has its own names. */
function sqliteCode(error: unknown): string | undefined {
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  return code === 'SQLITE_FULL' ? 'ENOSPC' : code.startsWith('SQLITE_IOERR') ? 'EIO' : undefined;
}

/** Runs a step that writes below `root`; what the file system refuses is thrown as `describeRootError` says it. */
export async function describingRootErrors<Result>(root: string, step: () => Promise<Result>): Promise<Result> {
  try {
    return await step();
  } catch (error) {
    throw describeRootError(root, error);
  }
}
