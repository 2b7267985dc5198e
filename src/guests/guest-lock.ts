// One operation at a time on a guest, whatever process it runs in.
import { dirname, join } from 'node:path';
import type { GuestId } from '../schema/guest-names.ts';
import { HoldfastError } from '../util/errors.ts';
import { isThere } from '../util/is-there.ts';
import { type HeldLock, tryLock, waitForLock } from '../util/process-lock.ts';
import type { GuestNode } from './guest-node.ts';
import type { NodeDirectory } from './node-directory.ts';

/** As long as Proxmox waits for the lock of a guest's configuration. */
const DEFAULT_WAIT_MS = 10_000;

export interface LockOptions {
  /** How long to wait for another operation; default 10 s. */
  waitMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** @throws `guest-locked` when another operation takes longer than `waitMs`. */
export async function lockGuest(node: NodeDirectory, id: GuestId, options: LockOptions = {}): Promise<HeldLock> {
  return await lockFile(node, id, 'lock.db', 'another operation is under way', options);
}

/** Runs `work` with the lock of a guest that is there. @throws `not-found`, before anything is made for it; `guest-locked`. */
export async function withGuestLock<Result>(
  node: GuestNode,
  id: GuestId,
  options: LockOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  await node.configs.read(id);
  const lock = await lockGuest(node.directory, id, options);
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/** Held by a backup or a restore beside the guest's lock, which others take meanwhile to look and to stop. @throws `guest-locked`. */
export async function lockBackup(node: NodeDirectory, id: GuestId, options: LockOptions = {}): Promise<HeldLock> {
  return await lockFile(node, id, 'backup.db', 'another backup or restore of it is under way', options);
}

async function lockFile(
  node: NodeDirectory,
  id: GuestId,
  name: string,
  why: string,
  { waitMs = DEFAULT_WAIT_MS, signal }: LockOptions,
): Promise<HeldLock> {
  const path = join(node.guestPath(id), name);
  await node.prepare(id);
  const lock = await waitForLock(path, waitMs, signal).catch(async (error: unknown) => {
    if (await isThere(dirname(path))) throw error;
    // Who held it has destroyed the guest.
    await node.prepare(id);
    return tryLock(path);
  });
  if (lock !== undefined) return lock;
  throw new HoldfastError('guest-locked', `VM ${id}: ${why}; try again when it has ended`, { data: { vmid: id } });
}
