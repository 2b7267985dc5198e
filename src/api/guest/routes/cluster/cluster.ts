// /cluster: the one node as a cluster without a name, with all that it has.
import { Type } from 'typebox';
import { ParameterError } from '../../../dialect/failure.ts';
import { actorOf } from '../../../routes/actor.ts';
import { defineGuestMethod, type GuestCall, LIST_ANSWER_MS, may, onRoot } from '../../method.ts';
import type { VmSummary } from '../../services.ts';
import { usageOfNode } from '../nodes/node.ts';
import { Count, Flag, given, Vmid } from '../parameters.ts';
import { visibleStorages } from '../storage/storage-row.ts';
import { backupJobs } from './backup-jobs.ts';
import { coverage } from './covered-guests.ts';
import { guestRow, Resource, storageRow } from './resource-rows.ts';

export const CLUSTER_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/nextid',
    description: 'The lowest VMID that is free, as a text; with `vmid` that one, if it is.',
    access: { auth: true },
    parameters: Type.Object({ vmid: Type.Optional(Vmid) }),
    returns: Type.String({ pattern: '^[0-9]+$' }),
    handler: async (call, { vmid }) => {
      const { guests } = call.services;
      if (vmid === undefined) return String(await guests.nextFreeId());
      if (await guests.exists(vmid)) throw new ParameterError([['vmid', `VM ${vmid} already exists`]]);
      return String(vmid);
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/status',
    description: 'The one node that there is.',
    access: onRoot('Sys.Audit'),
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        id: Type.String(),
        name: Type.String(),
        type: Type.Enum(['node']),
        ip: Type.String(),
        level: Type.String(),
        local: Flag,
        nodeid: Count,
        online: Flag,
      }),
    ),
    handler: ({ services: { node } }) => [
      {
        id: `node/${node.name}`,
        name: node.name,
        type: 'node' as const,
        ip: '127.0.0.1',
        level: '',
        local: 1,
        nodeid: 0,
        online: 1,
      },
    ],
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/resources',
    description: 'Guests, storages, pools and the node, as far as the caller may look at them.',
    access: { auth: true },
    parameters: Type.Object({
      type: Type.Optional(Type.Enum(['vm', 'storage', 'node', 'sdn', 'pool'], { description: 'Only such rows.' })),
    }),
    returns: Type.Array(Resource),
    handler: async (call, { type }) => {
      const isWanted = (kind: typeof type): boolean => type === undefined || type === kind;
      // Side by side: the waits for what hangs do not add up.
      const rows = await Promise.all([
        isWanted('vm') ? guestRows(call) : [],
        isWanted('node') ? nodeRow(call) : [],
        isWanted('storage') ? storageRows(call) : [],
      ]);
      return [...rows.flat(), ...(isWanted('pool') ? poolRows(call) : [])];
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/cluster/backup-info/not-backed-up',
    description: 'Guests that no backup job covers which runs by itself.',
    access: onRoot('Sys.Audit'),
    parameters: Type.Object({}),
    returns: Type.Array(Type.Object({ vmid: Count, type: Type.Enum(['qemu']), name: Type.Optional(Type.String()) })),
    handler: async (call) => {
      const running = backupJobs(call).filter(({ enabled, schedule }) => enabled && schedule !== null);
      const covering = running.map(({ options }) => coverage(options));
      const pools = call.services.pools.poolsOfGuests();
      const isLeft = (guest: VmSummary): boolean =>
        !covering.some((isCovered) => isCovered({ ...guest, pool: pools.get(guest.vmid) }));
      const left = (await visibleGuests(call)).filter(isLeft);
      return left.map(({ vmid, name }) => ({ vmid, type: 'qemu' as const, ...given({ name }) }));
    },
  }),
];

async function visibleGuests(call: GuestCall): Promise<readonly VmSummary[]> {
  const all = await call.services.guests.list(LIST_ANSWER_MS);
  return all.filter(({ vmid }) => may(call, `/vms/${vmid}`, 'VM.Audit')).sort((one, other) => one.vmid - other.vmid);
}

/** Those of pools too that hold nothing. */
function poolRows(call: GuestCall): Resource[] {
  return call.services.pools.list(actorOf(call)).map(({ poolid }) => ({
    id: `/pool/${poolid}`,
    type: 'pool' as const,
    pool: poolid,
  }));
}

async function guestRows(call: GuestCall): Promise<Resource[]> {
  const pools = call.services.pools.poolsOfGuests();
  return (await visibleGuests(call)).map((vm) => guestRow(call, vm, pools.get(vm.vmid)));
}

async function nodeRow(call: GuestCall): Promise<Resource> {
  const node = call.services.node.name;
  const usage = await usageOfNode(call);
  return { id: `node/${node}`, type: 'node', node, status: 'online', level: '', 'cgroup-mode': 2, ...usage };
}

async function storageRows(call: GuestCall): Promise<Resource[]> {
  const enabled = (await visibleStorages(call)).filter(({ isEnabled }) => isEnabled);
  return await Promise.all(enabled.map(async (storage) => await storageRow(call, storage)));
}
