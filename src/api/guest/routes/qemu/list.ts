// /nodes/{node}/qemu: the virtual machines of this node, and new ones.
import { type Static, Type } from 'typebox';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { PoolName } from '../../../routes/pool-parts.ts';
import { CONFIG_PARAMETERS, settingsOf } from '../../config-keys.ts';
import { requireConfigRights } from '../../config-rights.ts';
import {
  defineGuestMethod,
  type GuestCall,
  LIST_ANSWER_MS,
  may,
  onGuest,
  requireGuest,
  requireNode,
  requirePrivilege,
} from '../../method.ts';
import { forgetGone, joinPool, requirePool, requireReplacing } from '../../pool-of-guest.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { given, Node, OfGuest, SkipLock, StorageName, Upid, type Vmid } from '../parameters.ts';
import { restoreArchive } from './restore-archive.ts';
import { requireRootFor } from './skip-lock.ts';
import { summaryOf, VmRow } from './vm-row.ts';

const PATH = '/nodes/{node}/qemu';

export const VM_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The virtual machines that the caller may look at.',
    access: { auth: true },
    parameters: Type.Object({
      node: Node,
      full: Type.Boolean({ default: false, description: 'Taken and ignored: all that is known is shown anyway.' }),
    }),
    returns: Type.Array(VmRow),
    handler: async (call, { node }) => {
      requireNode(call, node);
      const all = await call.services.guests.list(LIST_ANSWER_MS);
      return all.filter(({ vmid }) => may(call, `/vms/${vmid}`, 'VM.Audit')).map(summaryOf);
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description:
      'Makes a virtual machine, with VM.Allocate on it or on its pool and what its settings take; with `archive` out of a backup.',
    access: ({ vmid, pool }) => ({
      path: `/vms/${vmid}`,
      anyOf: ['VM.Allocate'],
      ...(pool !== undefined && { orPath: `/pool/${pool}` }),
    }),
    parameters: Type.Object({
      ...OfGuest,
      ...CONFIG_PARAMETERS,
      storage: Type.Optional(StorageName),
      start: Type.Boolean({ default: false, description: 'Started when it is made.' }),
      pool: Type.Optional(PoolName),
      archive: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 1024,
          description: 'A backup in a datastore, as its storage lists it.',
        }),
      ),
      force: Type.Boolean({
        default: false,
        description: 'With archive: in place of the stopped guest that is there.',
      }),
      unique: Type.Boolean({ default: false, description: 'With archive: new MAC addresses and a new UUID.' }),
      'live-restore': Type.Boolean({
        default: false,
        description: 'With archive: it runs at once, and its disks are copied meanwhile.',
      }),
      bwlimit: Type.Optional(
        Type.Integer({ minimum: 0, maximum: 2 ** 30, description: 'KiB a second, of a live restore.' }),
      ),
      'ha-managed': Type.Boolean({
        default: false,
        description: 'There is no high availability here: only 0 is taken.',
      }),
    }),
    returns: Upid,
    handler: async (call, { node, vmid, storage, start, pool, 'ha-managed': isManaged, ...restoring }) => {
      const { archive, force, unique, 'live-restore': isLive, bwlimit, ...rest } = restoring;
      requireNode(call, node);
      requirePool(call, pool);
      if (isManaged) throw new ParameterError([['ha-managed', 'there is no high availability on this node']]);
      const settings = settingsOf(rest);
      if (archive !== undefined) {
        const [key] = Object.keys(settings);
        if (key !== undefined) throw new ParameterError([[key, 'not together with archive: set it after the restore']]);
        const isThere = await call.services.guests.exists(vmid);
        if (!force) await requireFree(call, vmid);
        if (isThere) requireReplacing(call, vmid, pool);
        // One that comes meanwhile is somebody else's: it is not replaced.
        const wish = { archive, storage, force: force && isThere, unique, start, isLive, bwlimit };
        return await restoreArchive(call, vmid, wish, (work) => {
          if (!isThere || pool !== undefined) joinPool(call, vmid, pool, work);
        });
      }
      if (unique || isLive || bwlimit !== undefined)
        throw new ParameterError([[unique ? 'unique' : isLive ? 'live-restore' : 'bwlimit', 'only with archive']]);
      requireConfigRights(call, vmid, { set: settings, remove: [], before: {}, pool });
      if (storage !== undefined) requirePrivilege(call, `/storage/${storage}`, 'Datastore.AllocateSpace');
      const { guests } = call.services;
      await requireFree(call, vmid);
      return startGuestTask(call, 'qmcreate', vmid, async (work) => {
        await guests.create(vmid, { settings: withoutEmpty(settings), ...given({ storage }) }, work);
        joinPool(call, vmid, pool, work);
        if (start) await guests.start(vmid, {}, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{vmid}`,
    description: 'Removes a virtual machine with its disks.',
    access: onGuest('VM.Allocate'),
    parameters: Type.Object({
      ...OfGuest,
      purge: Type.Boolean({ default: false, description: 'It goes from jobs and rules too.' }),
      'destroy-unreferenced-disks': Type.Boolean({ default: false, description: 'Also disks that nothing names.' }),
      skiplock: SkipLock,
    }),
    returns: Upid,
    handler: async (call, { node, vmid, purge, 'destroy-unreferenced-disks': destroyUnreferencedDisks, skiplock }) => {
      requireRootFor(call, skiplock);
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      const { status } = await guests.status(vmid);
      if (status === 'running') throw new ApiError(500, 'guest-running', `VM ${vmid} is running - destroy failed`);
      return startGuestTask(call, 'qmdestroy', vmid, async (work) => {
        await guests.destroy(vmid, { purge, destroyUnreferencedDisks, skipLock: skiplock }, work);
        forgetGone(call, vmid, work);
      });
    },
  }),
];

/** @throws ApiError 500 in the words that clients know. */
export async function requireFree(call: GuestCall, vmid: Static<typeof Vmid>): Promise<void> {
  if (!(await call.services.guests.exists(vmid))) return;
  const { name } = call.services.node;
  throw new ApiError(500, 'exists', `unable to create VM ${vmid} - VM ${vmid} already exists on node '${name}'`);
}

function withoutEmpty(settings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== ''));
}
