// qm unlock: takes away the `lock` that an operation left which was cut off.
import type { GuestId } from '../../schema/guest-names.ts';
import { lockBackup, lockGuest } from '../guest-lock.ts';
import type { GuestNode } from '../guest-node.ts';
import { clearConfigLock } from './config-lock.ts';

/** @throws `not-found`; `guest-locked` while the operation is still under way. */
export async function unlockVm(node: GuestNode, id: GuestId, signal?: AbortSignal): Promise<void> {
  await node.configs.read(id);
  const backupLock = await lockBackup(node.directory, id, { waitMs: 0, signal });
  try {
    const lock = await lockGuest(node.directory, id, { signal });
    try {
      await clearConfigLock(node, id);
    } finally {
      lock.release();
    }
  } finally {
    backupLock.release();
  }
}
