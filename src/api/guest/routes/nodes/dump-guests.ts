// The task of a vzdump: guests one after the other, a section of the log for each. One that fails keeps no other from its backup.
import type { TaskWork } from '../../../../jobs/tasks/task.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import type { BackupService, GuestBackup, GuestService } from '../../services.ts';

export interface DumpWish {
  readonly vmids: readonly number[];
  readonly wish: Omit<GuestBackup, 'vmid'>;
  /** Warnings to begin with. */
  readonly notes: readonly string[];
}

/** @throws `task-failed` with the words `job errors`, which clients look for, when any failed; the signal's reason. */
export async function dumpGuests(
  { backups, guests }: { readonly backups: BackupService; readonly guests: Pick<GuestService, 'exists'> },
  { vmids, wish, notes }: DumpWish,
  work: TaskWork,
): Promise<void> {
  work.log(
    `INFO: starting new backup job: vzdump ${vmids.join(' ')} --storage ${wish.storage} --mode ${wish.mode}`.slice(
      0,
      4096,
    ),
  );
  for (const note of notes) work.warn(note);
  let failed = 0;
  for (const vmid of vmids) {
    work.signal.throwIfAborted();
    const startedMs = performance.now();
    work.log(`INFO: Starting Backup of VM ${vmid} (qemu)`);
    try {
      if (!(await guests.exists(vmid))) throw new HoldfastError('not-found', `unable to find VM '${vmid}'`);
      await backups.backup({ ...wish, vmid }, work);
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
