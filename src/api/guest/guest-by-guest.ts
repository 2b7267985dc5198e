// The task of a vzdump: guests one after the other, a section of the log for each. One that fails keeps no other from its backup.
import type { TaskWork } from '../../jobs/tasks/task.ts';
import { HoldfastError } from '../../util/errors.ts';

const MAX_LINE = 4096;

/** `what` says it as vzdump's command line. @throws `task-failed` with the words `job errors`, which clients look for, when any failed; the signal's reason. */
export async function guestByGuest(
  what: string,
  vmids: readonly number[],
  backup: (vmid: number) => Promise<unknown>,
  work: Pick<TaskWork, 'log' | 'signal'>,
): Promise<void> {
  work.log(`INFO: starting new backup job: vzdump ${vmids.join(' ')} ${what}`.slice(0, MAX_LINE));
  let failed = 0;
  for (const vmid of vmids) {
    work.signal.throwIfAborted();
    const startedMs = performance.now();
    work.log(`INFO: Starting Backup of VM ${vmid} (qemu)`);
    try {
      await backup(vmid);
      work.log(`INFO: Finished Backup of VM ${vmid} (${clock(performance.now() - startedMs)})`);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      work.log(`ERROR: Backup of VM ${vmid} failed - ${error.message}`);
      // Whoever stops the task means all of it.
      work.signal.throwIfAborted();
      failed++;
    }
  }
  if (failed === 0) return work.log('INFO: Backup job finished successfully');
  work.log(`INFO: Backup job finished with errors: ${failed} of ${vmids.length} guests`);
  throw new HoldfastError('task-failed', 'job errors');
}

/** `00:01:07`. */
function clock(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}
