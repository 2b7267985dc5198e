// POST /nodes/{node}/qemu with `archive`: a virtual machine out of a backup in a datastore, as the task `qmrestore`.
import { parseVmConfig } from '../../../../guests/config/vm-config.ts';
import { ROOT_USER } from '../../../../schema/auth-id.ts';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { callerOf } from '../../../method.ts';
import { CONFIG_KEYS } from '../../config-keys.ts';
import { needsOf } from '../../config-rights.ts';
import { type GuestCall, requirePrivilege } from '../../method.ts';
import type { GuestWork } from '../../services.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { given } from '../parameters.ts';
import { findVolume } from '../storage/content.ts';

export interface RestoreWish {
  readonly archive: string;
  readonly storage: string | undefined;
  readonly force: boolean;
  readonly unique: boolean;
  readonly start: boolean;
  readonly isLive: boolean;
  readonly bwlimit: number | undefined;
}

/** The task's UPID; `then` runs in it when the guest is there. @throws ApiError 403, 500; ParameterError. */
export async function restoreArchive(
  call: GuestCall,
  vmid: number,
  wish: RestoreWish,
  then: (work: GuestWork) => void,
): Promise<string> {
  const { archive, storage, bwlimit, ...how } = wish;
  if (bwlimit !== undefined && !how.isLive)
    throw new ParameterError([['bwlimit', 'only a live restore has a limit here']]);
  const [from = ''] = archive.split(':', 1);
  requirePrivilege(call, `/storage/${from}`, 'Datastore.Audit', 'Datastore.AllocateSpace');
  const { volid, content, format } = await findVolume(call, from, archive);
  if (content !== 'backup' || format !== 'pbs-vm')
    throw new ParameterError([['archive', `'${volid}' is no backup of a virtual machine in a datastore`]]);
  await requireRoom(call, storage);
  await requireHarmless(call, vmid, volid);
  const { backups } = call.services;
  backups.requireReady();
  const request = { volid, vmid, ...how, ...given({ storage, bwlimit }) };
  return startGuestTask(call, 'qmrestore', vmid, async (work) => {
    await backups.restore(request, work);
    then(work);
  });
}

/** Without a storage the backup says where its disks go, so it takes the right to any. */
async function requireRoom(call: GuestCall, storage: string | undefined): Promise<void> {
  const all = await call.services.storages.list();
  const wanted = storage === undefined ? all.filter(({ content }) => content.includes('images')) : [{ storage }];
  for (const each of wanted) requirePrivilege(call, `/storage/${each.storage}`, 'Datastore.AllocateSpace');
}

/**
 * A backup may have been made by anybody who may write to the datastore: what only root@pam may set comes back only through root@pam. The server
 * cannot read one that is encrypted; the agent's key vouches for that.
 */
async function requireHarmless(call: GuestCall, vmid: number, volid: string): Promise<void> {
  if (callerOf(call) === ROOT_USER) return;
  const text = await call.services.backups.config(volid, callerOf(call));
  if (text === undefined) return;
  for (const [key, value] of parseVmConfig(text, volid).values) {
    if (!CONFIG_KEYS.has(key) || key === 'lock') continue;
    if (needsOf(vmid, key, value).includes('root'))
      throw new ApiError(403, 'permission-denied', `only root can restore '${key}' of ${volid}`);
  }
}
