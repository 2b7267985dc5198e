// Rows of guests and storages as lists of resources and of members of pools have them.
import { type Static, Type } from 'typebox';
import type { GuestCall } from '../../method.ts';
import type { StorageEntry, VmSummary } from '../../services.ts';
import { Count, Flag, flag, given } from '../parameters.ts';
import { usageOf } from '../qemu/vm-row.ts';
import { storageSpace } from '../storage/storage-row.ts';

export const Resource = Type.Object({
  id: Type.String(),
  type: Type.Enum(['qemu', 'node', 'storage', 'pool']),
  node: Type.Optional(Type.String()),
  status: Type.Optional(Type.String()),
  vmid: Type.Optional(Count),
  name: Type.Optional(Type.String()),
  template: Type.Optional(Flag),
  tags: Type.Optional(Type.String()),
  lock: Type.Optional(Type.String()),
  pool: Type.Optional(Type.String()),
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
export type Resource = Static<typeof Resource>;

/** `template` is always there, other than in the list of a node: clients of each want it so. */
export function guestRow({ services }: GuestCall, vm: VmSummary, pool: string | undefined): Resource {
  return {
    id: `qemu/${vm.vmid}`,
    type: 'qemu' as const,
    vmid: vm.vmid,
    node: services.node.name,
    status: vm.status,
    name: vm.name ?? `VM ${vm.vmid}`,
    template: flag(vm.isTemplate),
    maxcpu: vm.cpus,
    maxmem: vm.memoryBytes,
    maxdisk: vm.diskBytes,
    ...given({ pool, tags: vm.tags, lock: vm.lock }),
    ...usageOf(vm),
  };
}

export async function storageRow(
  call: GuestCall,
  { storage, type, content, isShared }: StorageEntry,
): Promise<Resource> {
  const node = call.services.node.name;
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
}
