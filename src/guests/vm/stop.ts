// qm stop: the power plug. The disks are as after a power cut; our bitmaps are stored first, so that the next backup stays incremental.
import type { GuestId } from '../../schema/guest-names.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { runGuestHook } from './guest-hook.ts';
import { lookAtMachine } from './machine-state.ts';
import { putAway } from './put-away.ts';
import { releaseHost } from './release-host.ts';

export interface StopVmOptions {
  readonly signal?: AbortSignal | undefined;
  readonly skipLock?: boolean;
}

/** One that does not run is stopped already. @throws `guest-locked`, `timed-out` when QEMU cannot be killed. */
export async function stopVm(node: GuestNode, id: GuestId, options: StopVmOptions, report: Report): Promise<void> {
  await withGuestLock(node, id, options, async () => {
    const { config } = await node.configs.read(id);
    if (options.skipLock !== true) requireUnlocked(id, config);
    // One that was killed has left its part of the host.
    if ((await lookAtMachine(node, id)).pid === undefined) return await releaseHost(node, id);
    await runGuestHook(node, id, config, 'pre-stop', report, options.signal);
    await putAway(node, id, report);
  });
}
