// A tree archive of a snapshot, open for reading: the one place where commands that look into trees open objects.
import { rootOf, type TreeRoot } from '../agent/tree/browse/describe-entry.ts';
import type { GetObject } from '../agent/tree/read-tree.ts';
import { snapshotLabel } from '../datastore/snapshots/group-store.ts';
import type { Archive, Manifest } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { findTrusted, type KeyOptions, readKey } from './client-key.ts';
import { withRepository } from './open-repository.ts';
import { workerCount } from './repository.ts';

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
  await withRepository(options, async (repository) => {
    const found = await findTrusted(repository, snapshotText, options, key);
    const { name, manifest } = found;
    const archive = treeOf(manifest, archiveName);
    const expected = { lookups: expectedLookups(archive), workers: workerCount(options) };
    const { get, pool } = await repository.open([found], key, expected);
    const { space } = manifest.server;
    const root = rootOf(archive);
    await use({ snapshot: snapshotLabel(name), archive, root, space, get, pool });
  });
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
