// The task of a vzdump over REST: what was asked for, guest by guest.
import { isWithoutRules, type KeepCounts } from '../../../../datastore/prune/keep-rules.ts';
import type { TaskResult, TaskWork } from '../../../../jobs/tasks/task.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { guestByGuest } from '../../guest-by-guest.ts';
import type { BackupService, GuestBackup, GuestService } from '../../services.ts';

export interface DumpWish {
  readonly vmids: readonly number[];
  readonly wish: Omit<GuestBackup, 'vmid'>;
  /** What stays of each guest after its backup; without any rule everything. */
  readonly counts: KeepCounts;
}

/** @throws as `guestByGuest`. */
export async function dumpGuests(
  { backups, guests }: { readonly backups: BackupService; readonly guests: Pick<GuestService, 'exists'> },
  { vmids, wish, counts }: DumpWish,
  work: TaskWork,
): Promise<TaskResult> {
  const backup = async (vmid: number): Promise<unknown> => {
    if (!(await guests.exists(vmid))) throw new HoldfastError('not-found', `unable to find VM '${vmid}'`);
    const made = await backups.backup({ ...wish, vmid }, work);
    if (!isWithoutRules(counts)) await backups.prune(wish.storage, vmid, counts, work);
    return made;
  };
  return { data: await guestByGuest(`--storage ${wish.storage} --mode ${wish.mode}`, vmids, backup, work) };
}
