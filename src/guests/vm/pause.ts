// qm suspend, qm resume, qm reset: one command to QEMU each.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode } from '../guest-node.ts';
import { queryStatus } from '../qmp/qmp-types.ts';
import { requireUnlocked } from './config-lock.ts';
import { unmarkPaused } from './held-still.ts';
import { withMonitor } from './machine-state.ts';

export interface PauseOptions {
  readonly signal?: AbortSignal | undefined;
  readonly skipLock?: boolean;
}

/** Stops the guest's processors; its memory stays. @throws `guest-stopped`, `guest-locked`. */
export async function suspendVm(node: GuestNode, id: GuestId, options: PauseOptions): Promise<void> {
  await tell(node, id, 'stop', options);
}

/** Lets the processors run again. @throws `guest-stopped`, `guest-locked`, `guest-failed` when the guest's system has ended. */
export async function resumeVm(node: GuestNode, id: GuestId, options: PauseOptions): Promise<void> {
  await tell(node, id, 'cont', options);
}

/** The reset button. @throws `guest-stopped`, `guest-locked`. */
export async function resetVm(node: GuestNode, id: GuestId, options: PauseOptions): Promise<void> {
  await tell(node, id, 'system_reset', options);
}

async function tell(node: GuestNode, id: GuestId, command: string, options: PauseOptions): Promise<void> {
  await withGuestLock(node, id, options, async () => {
    const { config } = await node.configs.read(id);
    if (options.skipLock !== true) requireUnlocked(id, config);
    await withMonitor(
      node,
      id,
      async (monitor) => {
        const { status } = await queryStatus(monitor);
        if (status === 'shutdown' && command === 'cont')
          throw new HoldfastError('guest-failed', `VM ${id}: the guest has powered itself off; start it instead`);
        // Also where one of us paused it: it is not let run by whoever comes next.
        if (command !== 'system_reset') await unmarkPaused(node.directory.run(id));
        await monitor.execute(command);
      },
      options.signal,
    );
  });
}
