// A tree archive of a snapshot, open for reading: the one place where commands that look into trees open objects.
import { rootOf, type TreeRoot } from '../agent/tree/browse/describe-entry.ts';
import type { GetObject } from '../agent/tree/read-tree.ts';
import type { DataKey } from '../chunker/data-key.ts';
import type { OpenObjects, ReadDatastore } from '../datastore/read-datastore.ts';
import { snapshotLabel } from '../datastore/snapshots/group-store.ts';
import type { Archive, Manifest } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { findTrusted, type KeyOptions, readKey, unlockFor } from './client-key.ts';
import { repositoryPath, startPool, warn, withReadDatastore, workerCount } from './repository.ts';

export interface TreeArchive {
  /** `vm/101/2026-11-20T02:00:00Z`. */
  readonly snapshot: string;
  readonly archive: Archive;
  readonly root: TreeRoot;
  readonly space: number;
  readonly get: GetObject;
  /** Threads that read the same objects; started at the first call. */
  readonly pool: () => Promise<WorkerPool>;
}

/** Objects that a walk over part of a tree looks up: with few, the index stays on disk. */
export const FEW_LOOKUPS = 1000;

/**
 * Runs `use` with a tree of a snapshot. `expectedLookups` says how many objects it will ask for.
 * @throws `not-found`; `bad-argument` when the archive is no tree.
 */
export async function withTreeArchive(
  options: KeyOptions,
  snapshotText: string,
  archiveName: string,
  expectedLookups: (archive: Archive) => number,
  use: (tree: TreeArchive) => Promise<void>,
): Promise<void> {
  const key = await readKey(options);
  await withReadDatastore(repositoryPath(options), async (store) => {
    const { name, manifest } = await findTrusted(store, snapshotText, options, key);
    const archive = treeOf(manifest, archiveName);
    const { space } = manifest.server;
    const { objects, get } = openTreeObjects(store, expectedLookups(archive), manifest, key);
    let pool: WorkerPool | undefined;
    const start = async (): Promise<WorkerPool> => {
      pool = startPool(workerCount(options), () => {});
      await objects.join(pool);
      return pool;
    };
    try {
      await use({ snapshot: snapshotLabel(name), archive, root: rootOf(archive), space, get, pool: start });
    } finally {
      await pool?.close();
    }
  });
}

/** Objects of one snapshot, read in this thread. */
export function openTreeObjects(
  store: ReadDatastore,
  expectedLookups: number,
  manifest: Manifest,
  key: DataKey | undefined,
): { objects: OpenObjects; get: GetObject } {
  const objects = store.objects(expectedLookups);
  for (const warning of objects.warnings) warn(warning);
  unlockFor(objects, manifest, key);
  const { space } = manifest.server;
  return { objects, get: async (id) => objects.source.get(space, id) };
}

function treeOf(manifest: Manifest, name: string): Archive {
  const { archives } = manifest.client;
  const archive = archives.find((each) => each.name === name);
  if (archive === undefined) {
    const names = archives.map((each) => each.name).join(', ');
    throw new HoldfastError('not-found', `the snapshot has no archive ${JSON.stringify(name)}; it has ${names}`);
  }
  if (archive.kind === 'tree') return archive;
  const trees = archives.filter(({ kind }) => kind === 'tree').map((each) => each.name);
  throw new HoldfastError(
    'bad-argument',
    `${name} is ${archive.kind === 'blob' ? 'a small file' : 'a disk'} and has no files in it; ${trees.length === 0 ? 'the snapshot has no file tree' : `the file trees are ${trees.join(', ')}`}`,
  );
}
