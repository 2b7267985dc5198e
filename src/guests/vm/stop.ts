// qm stop: the power plug. The disks are as after a power cut; our bitmaps are stored first, so that the next backup stays incremental.
import type { GuestId } from '../../schema/guest-names.ts';
import { lockGuest } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { runGuestHook } from './guest-hook.ts';
import { lookAtMachine } from './machine-state.ts';
import { putAway } from './put-away.ts';

export interface StopVmOptions {
  readonly signal?: AbortSignal | undefined;
  readonly skipLock?: boolean;
}

/** One that does not run is stopped already. @throws `guest-locked`, `timed-out` when QEMU cannot be killed. */
export async function stopVm(node: GuestNode, id: GuestId, options: StopVmOptions, report: Report): Promise<void> {
  await node.configs.read(id);
  const lock = await lockGuest(node.directory, id, options);
  try {
    const { config } = await node.configs.read(id);
    if (options.skipLock !== true) requireUnlocked(id, config);
    if ((await lookAtMachine(node, id)).pid === undefined) return;
    await runGuestHook(node, id, config, 'pre-stop', report, options.signal);
    await putAway(node, id, report);
  } finally {
    lock.release();
  }
}
