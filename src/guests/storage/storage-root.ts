// The directory of a storage, made ready for use: there, mounted when it has to be. A storage that should be a mount point and is not
// is never written to: its volumes would fill the disk below.
import { mkdir, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { HoldfastError } from '../../util/errors.ts';
import type { StorageEntry } from './storage-entry.ts';

/** The real path. @throws `target-unfit` with the reason. */
export async function activateRoot(entry: StorageEntry): Promise<string> {
  try {
    if (entry.mountPoint !== undefined) await requireMounted(entry.mountPoint);
    if (entry.createsPath) await mkdir(entry.path, { recursive: true, mode: 0o755 });
    const root = await realpath(entry.path);
    if (!(await stat(root)).isDirectory()) throw new Error(`${root} is no directory`);
    return root;
  } catch (error) {
    throw new HoldfastError('target-unfit', `storage '${entry.id}' is not active: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function requireMounted(path: string): Promise<void> {
  const [here, above] = await Promise.all([stat(path), stat(dirname(resolve(path)))]);
  if (here.dev === above.dev) throw new Error(`nothing is mounted at ${path}`);
}
