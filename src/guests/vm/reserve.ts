// A VMID is taken for a guest that is to be made: its lock first, so that nobody takes what is being made for what a killed operation left.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { HeldLock } from '../../util/process-lock.ts';
import { EMPTY_CONFIG, withSettings } from '../config/vm-config.ts';
import { lockGuest } from '../guest-lock.ts';
import type { GuestNode } from '../guest-node.ts';
import type { ConfigLock } from './config-lock.ts';
import { removeGuestFiles } from './guest-files.ts';

/** @throws `exists`, also for a container's VMID; `guest-locked`. */
export async function reserveGuest(
  node: GuestNode,
  id: GuestId,
  lock: ConfigLock,
  signal?: AbortSignal,
): Promise<HeldLock> {
  if ((await node.configs.list()).includes(id))
    throw new HoldfastError('exists', `VM ${id} exists already`, { data: { vmid: id } });
  const held = await lockGuest(node.directory, id, { signal });
  try {
    await node.configs.create(id, withSettings(EMPTY_CONFIG, { lock }));
    return held;
  } catch (error) {
    // Of another that was made meanwhile nothing is touched.
    if (!(await node.configs.list()).includes(id)) await removeGuestFiles(node, id);
    held.release();
    throw error;
  }
}
