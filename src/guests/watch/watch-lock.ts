// One watch a node: who holds this lock is it. It ends with the process, kill -9 included.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type HeldLock, tryLock } from '../../util/process-lock.ts';
import type { NodeDirectory } from '../node-directory.ts';

/** Undefined while another watch runs. */
export async function lockWatch({ path }: NodeDirectory): Promise<HeldLock | undefined> {
  await mkdir(path, { recursive: true, mode: 0o750 });
  return tryLock(join(path, 'watch.db'));
}

export async function isWatched(node: NodeDirectory): Promise<boolean> {
  const lock = await lockWatch(node);
  lock?.release();
  return lock === undefined;
}
