// What is done with the disks of a virtual machine: clone, template, resize, move, unlink; and which of it they can.
import { Type } from 'typebox';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { PoolName } from '../../../routes/pool-parts.ts';
import { requireCloneRights } from '../../config-rights.ts';
import { defineGuestMethod, onGuest, requireGuest, requirePrivilege } from '../../method.ts';
import { joinPool, requireMaking, requirePool } from '../../pool-of-guest.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import {
  Description,
  DISK_KEY,
  Digest,
  DiskKey,
  Flag,
  flag,
  given,
  KeyList,
  listOf,
  Node,
  Nothing,
  OfGuest,
  quietWork,
  SkipLock,
  SnapshotName,
  StorageName,
  Upid,
  Vmid,
} from '../parameters.ts';
import { requireFree } from './list.ts';
import { requireRootFor } from './skip-lock.ts';

const PATH = '/nodes/{node}/qemu/{vmid}';
const Format = Type.Enum(['raw', 'qcow2', 'vmdk'], { description: 'Of the new volume.' });
const Bandwidth = Type.Optional(
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'Taken and ignored.' }),
);

export const VM_DISK_METHODS = [
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/clone`,
    description: 'Makes another virtual machine of this one; of a template with linked disks, unless `full`.',
    access: onGuest('VM.Clone'),
    parameters: Type.Object({
      ...OfGuest,
      newid: Vmid,
      name: Type.Optional(Type.String({ maxLength: 255, description: 'Name of the new one.' })),
      description: Type.Optional(Description),
      full: Type.Optional(Type.Boolean({ description: 'All disks are copied.' })),
      format: Type.Optional(Format),
      storage: Type.Optional(StorageName),
      snapname: Type.Optional(SnapshotName),
      pool: Type.Optional(PoolName),
      target: Type.Optional(Node),
      bwlimit: Bandwidth,
    }),
    returns: Upid,
    handler: async (call, { node, vmid, newid, full, snapname, pool, target, bwlimit: _, ...options }) => {
      requireMaking(call, newid, pool);
      await requireGuest(call, node, vmid);
      requirePool(call, pool);
      if (target !== undefined && target !== node && target !== call.services.node.name)
        throw new ParameterError([['target', `there is no node '${target}'`]]);
      if (options.storage !== undefined)
        requirePrivilege(call, `/storage/${options.storage}`, 'Datastore.AllocateSpace');
      await requireFree(call, newid);
      const { guests } = call.services;
      const { values } = await guests.config(vmid, given({ snapshot: snapname }));
      requireCloneRights(call, values, options.storage);
      const { isTemplate } = await guests.status(vmid);
      const isFull = full ?? !isTemplate;
      if (!isFull && !isTemplate)
        throw new ApiError(500, 'bad-argument', `linked clone of VM ${vmid} is not possible: it is no template`);
      return startGuestTask(call, 'qmclone', vmid, async (work) => {
        await guests.clone(vmid, newid, { ...given({ ...options, snapshot: snapname }), isFull }, work);
        joinPool(call, newid, pool, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/template`,
    description: 'Makes a template of a virtual machine, or of one disk.',
    access: onGuest('VM.Allocate'),
    parameters: Type.Object({ ...OfGuest, disk: Type.Optional(DiskKey) }),
    returns: Upid,
    handler: async (call, { node, vmid, disk }) => {
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      return startGuestTask(call, 'qmtemplate', vmid, (work) => guests.makeTemplate(vmid, given({ disk }), work));
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/resize`,
    description: 'Makes a disk larger: to a size, or by one that begins with a plus.',
    access: onGuest('VM.Config.Disk'),
    parameters: Type.Object({
      ...OfGuest,
      disk: DiskKey,
      size: Type.String({ pattern: '^\\+?\\d+(\\.\\d+)?[KMGT]?$', maxLength: 32, description: '32G, or +1G.' }),
      digest: Type.Optional(Digest),
      skiplock: SkipLock,
    }),
    returns: Upid,
    handler: async (call, { node, vmid, disk, size, digest, skiplock }) => {
      requireRootFor(call, skiplock);
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      return startGuestTask(call, 'resize', vmid, async (work) => {
        await guests.resize(vmid, { disk, size, ...given({ digest }) }, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/move_disk`,
    description: 'Moves a disk to another storage.',
    access: onGuest('VM.Config.Disk'),
    parameters: Type.Object({
      ...OfGuest,
      disk: DiskKey,
      storage: StorageName,
      format: Type.Optional(Format),
      delete: Type.Boolean({ default: false, description: 'The old volume goes; else it stays as an unused one.' }),
      digest: Type.Optional(Digest),
      bwlimit: Bandwidth,
    }),
    returns: Upid,
    handler: async (call, { node, vmid, disk, storage, format, delete: deletesOld, digest }) => {
      await requireGuest(call, node, vmid);
      requirePrivilege(call, `/storage/${storage}`, 'Datastore.AllocateSpace');
      const { guests } = call.services;
      return startGuestTask(call, 'qmmove', vmid, async (work) => {
        await guests.moveDisk(vmid, { disk, storage, deletesOld, ...given({ format, digest }) }, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/unlink`,
    description: 'Takes disks out of a virtual machine; with `force` their volumes go.',
    access: onGuest('VM.Config.Disk'),
    parameters: Type.Object({
      ...OfGuest,
      idlist: KeyList,
      force: Type.Boolean({ default: false, description: 'Volumes go too.' }),
    }),
    returns: Nothing,
    handler: async (call, { node, vmid, idlist, force }) => {
      await requireGuest(call, node, vmid);
      const remove = listOf(idlist);
      if (!remove.every((key) => new RegExp(DISK_KEY).test(key)))
        throw new ParameterError([['idlist', 'one of them is no disk']]);
      await call.services.guests.setConfig(vmid, { set: {}, remove, force }, quietWork(call.signal));
      return null;
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/feature`,
    description: 'Whether the disks of a virtual machine can be snapshot, cloned or copied.',
    access: onGuest('VM.Audit'),
    parameters: Type.Object({
      ...OfGuest,
      feature: Type.Enum(['snapshot', 'clone', 'copy'], { description: 'What is asked for.' }),
      snapname: Type.Optional(SnapshotName),
    }),
    returns: Type.Object({ hasFeature: Flag, nodes: Type.Array(Type.String()) }),
    handler: async (call, { node, vmid, feature, snapname }) => {
      await requireGuest(call, node, vmid);
      const { guests, node: here } = call.services;
      return { hasFeature: flag(await guests.hasFeature(vmid, feature, snapname)), nodes: [here.name] };
    },
  }),
];
