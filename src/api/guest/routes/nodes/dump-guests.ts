// The task of a vzdump over REST: what was asked for, guest by guest.
import type { TaskResult, TaskWork } from '../../../../jobs/tasks/task.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { guestByGuest } from '../../guest-by-guest.ts';
import type { BackupService, GuestBackup, GuestService } from '../../services.ts';

export interface DumpWish {
  readonly vmids: readonly number[];
  readonly wish: Omit<GuestBackup, 'vmid'>;
  /** Warnings to begin with. */
  readonly notes: readonly string[];
}

/** @throws as `guestByGuest`. */
export async function dumpGuests(
  { backups, guests }: { readonly backups: BackupService; readonly guests: Pick<GuestService, 'exists'> },
  { vmids, wish, notes }: DumpWish,
  work: TaskWork,
): Promise<TaskResult> {
  for (const note of notes) work.warn(note);
  const backup = async (vmid: number): Promise<unknown> => {
    if (!(await guests.exists(vmid))) throw new HoldfastError('not-found', `unable to find VM '${vmid}'`);
    return await backups.backup({ ...wish, vmid }, work);
  };
  return { data: await guestByGuest(`--storage ${wish.storage} --mode ${wish.mode}`, vmids, backup, work) };
}
