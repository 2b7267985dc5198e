// /cluster: the one node as a cluster without a name, with all that it has.
import { type Static, Type } from 'typebox';
import { ParameterError } from '../../../dialect/failure.ts';
import { defineGuestMethod, type GuestCall, LIST_ANSWER_MS, may, onRoot } from '../../method.ts';
import type { VmSummary } from '../../services.ts';
import { usageOfNode } from '../nodes/node.ts';
import { Count, Flag, flag, given, Vmid } from '../parameters.ts';
import { usageOf } from '../qemu/vm-row.ts';
import { storageSpace, visibleStorages } from '../storage/storage-row.ts';
import { backupJobs } from './backup-jobs.ts';
import { coverage } from './covered-guests.ts';

const Resource = Type.Object({
  id: Type.String(),
  type: Type.Enum(['qemu', 'node', 'storage']),
  node: Type.String(),
  status: Type.String(),
  vmid: Type.Optional(Count),
  name: Type.Optional(Type.String()),
  template: Type.Optional(Flag),
  tags: Type.Optional(Type.String()),
  lock: Type.Optional(Type.String()),
  level: Type.Optional(Type.String()),
  storage: Type.Optional(Type.String()),
  plugintype: Type.Optional(Type.String()),
  content: Type.Optional(Type.String()),
  shared: Type.Optional(Flag),
  uptime: Type.Optional(Count),
  cpu: Type.Optional(Type.Number()),
  maxcpu: Type.Optional(Count),
  mem: Type.Optional(Count),
  maxmem: Type.Optional(Count),
  disk: Type.Optional(Count),
  maxdisk: Type.Optional(Count),
  diskread: Type.Optional(Count),
  diskwrite: Type.Optional(Count),
  netin: Type.Optional(Count),
  netout: Type.Optional(Count),
  'cgroup-mode': Type.Optional(Count),
});
type Resource = Static<typeof Resource>;

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
    description: 'Guests, storages and the node, as far as the caller may look at them.',
    access: { auth: true },
    parameters: Type.Object({
      type: Type.Optional(Type.Enum(['vm', 'storage', 'node', 'sdn'], { description: 'Only such rows.' })),
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
      return rows.flat();
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
      const left = (await visibleGuests(call)).filter((guest) => !covering.some((isCovered) => isCovered(guest)));
      return left.map(({ vmid, name }) => ({ vmid, type: 'qemu' as const, ...given({ name }) }));
    },
  }),
];

async function visibleGuests(call: GuestCall): Promise<readonly VmSummary[]> {
  const all = await call.services.guests.list(LIST_ANSWER_MS);
  return all.filter(({ vmid }) => may(call, `/vms/${vmid}`, 'VM.Audit')).sort((one, other) => one.vmid - other.vmid);
}

/** `template` is always there, other than in the list of a node: clients of each want it so. */
async function guestRows(call: GuestCall): Promise<Resource[]> {
  const node = call.services.node.name;
  return (await visibleGuests(call)).map((vm) => ({
    id: `qemu/${vm.vmid}`,
    type: 'qemu' as const,
    vmid: vm.vmid,
    node,
    status: vm.status,
    name: vm.name ?? `VM ${vm.vmid}`,
    template: flag(vm.isTemplate),
    maxcpu: vm.cpus,
    maxmem: vm.memoryBytes,
    maxdisk: vm.diskBytes,
    ...given({ tags: vm.tags, lock: vm.lock }),
    ...usageOf(vm),
  }));
}

async function nodeRow(call: GuestCall): Promise<Resource> {
  const node = call.services.node.name;
  const usage = await usageOfNode(call);
  return { id: `node/${node}`, type: 'node', node, status: 'online', level: '', 'cgroup-mode': 2, ...usage };
}

async function storageRows(call: GuestCall): Promise<Resource[]> {
  const node = call.services.node.name;
  const enabled = (await visibleStorages(call)).filter(({ isEnabled }) => isEnabled);
  return await Promise.all(
    enabled.map(async ({ storage, type, content, isShared }) => {
      const { isActive, usedBytes, totalBytes } = await storageSpace(call, storage);
      return {
        id: `storage/${node}/${storage}`,
        type: 'storage' as const,
        storage,
        node,
        plugintype: type,
        content: content.join(','),
        shared: flag(isShared),
        status: isActive ? 'available' : 'unknown',
        disk: usedBytes,
        maxdisk: totalBytes,
      };
    }),
  );
}
