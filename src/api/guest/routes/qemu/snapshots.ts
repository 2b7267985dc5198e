// /nodes/{node}/qemu/{vmid}/snapshot: snapshots that the storage of a virtual machine keeps.
import { Type } from 'typebox';
import { ParameterError } from '../../../dialect/failure.ts';
import { defineGuestMethod, onGuest, requireGuest } from '../../method.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { Description, Flag, flag, given, Nothing, OfGuest, SnapshotName, Upid } from '../parameters.ts';
import { shown } from './config.ts';

const PATH = '/nodes/{node}/qemu/{vmid}/snapshot';
const OfSnapshot = { ...OfGuest, snapname: SnapshotName };
const TAKEN = ['current', 'pending'];
/** Clients that keep a number of snapshots drop the last row, which is this one. */
const NOW = 'current';

export const VM_SNAPSHOT_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The snapshots of a virtual machine, and last the running state.',
    access: onGuest('VM.Audit'),
    parameters: Type.Object(OfGuest),
    returns: Type.Array(
      Type.Object({
        name: Type.String(),
        description: Type.String(),
        parent: Type.Optional(Type.String()),
        snaptime: Type.Optional(Type.Integer()),
        vmstate: Type.Optional(Flag),
        running: Type.Optional(Flag),
        digest: Type.Optional(Type.String()),
      }),
    ),
    handler: async (call, { node, vmid }) => {
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      const { snapshots, parent } = await guests.snapshots(vmid);
      const { status } = await guests.status(vmid);
      const { digest } = await guests.config(vmid, { current: true });
      const rows = snapshots.map(({ name, description, time, withMemory, parent: before }) => ({
        name,
        description,
        snaptime: time,
        vmstate: flag(withMemory),
        ...given({ parent: before }),
      }));
      const now = { name: NOW, description: 'You are here!', running: flag(status === 'running'), digest };
      return [...rows, { ...now, ...given({ parent }) }];
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a snapshot of the disks, and with `vmstate` of memory.',
    access: onGuest('VM.Snapshot'),
    parameters: Type.Object({
      ...OfSnapshot,
      description: Type.Optional(Description),
      vmstate: Type.Boolean({ default: false, description: 'With memory.' }),
    }),
    returns: Upid,
    handler: async (call, { node, vmid, snapname, description = '', vmstate }) => {
      await requireGuest(call, node, vmid);
      if (TAKEN.includes(snapname.toLowerCase()))
        throw new ParameterError([['snapname', `unable to use snapshot name '${snapname}' (reserved name)`]]);
      const { guests } = call.services;
      return startGuestTask(call, 'qmsnapshot', vmid, async (work) => {
        await guests.snapshot(vmid, snapname, { description, withMemory: vmstate }, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{snapname}`,
    description: 'Removes a snapshot.',
    access: onGuest('VM.Snapshot'),
    parameters: Type.Object({
      ...OfSnapshot,
      force: Type.Boolean({ default: false, description: 'Also where a disk cannot remove it.' }),
    }),
    returns: Upid,
    handler: async (call, { node, vmid, snapname, force }) => {
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      return startGuestTask(call, 'qmdelsnapshot', vmid, async (work) => {
        await guests.deleteSnapshot(vmid, snapname, { force }, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/{snapname}/rollback`,
    description: 'Brings a virtual machine back to a snapshot.',
    access: onGuest('VM.Snapshot', 'VM.Snapshot.Rollback'),
    parameters: Type.Object({
      ...OfSnapshot,
      start: Type.Boolean({ default: false, description: 'Started then; one with memory runs anyway.' }),
    }),
    returns: Upid,
    handler: async (call, { node, vmid, snapname, start }) => {
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      return startGuestTask(call, 'qmrollback', vmid, async (work) => {
        await guests.rollback(vmid, snapname, { start }, work);
      });
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{snapname}/config`,
    description: 'The settings that a snapshot keeps.',
    access: onGuest('VM.Snapshot', 'VM.Snapshot.Rollback', 'VM.Audit'),
    parameters: Type.Object(OfSnapshot),
    returns: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
    handler: async (call, { node, vmid, snapname }) => {
      await requireGuest(call, node, vmid);
      return shown(await call.services.guests.config(vmid, { snapshot: snapname }));
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/{snapname}/config`,
    description: 'Describes a snapshot.',
    access: onGuest('VM.Snapshot'),
    parameters: Type.Object({ ...OfSnapshot, description: Type.Optional(Description) }),
    returns: Nothing,
    handler: async (call, { node, vmid, snapname, description = '' }) => {
      await requireGuest(call, node, vmid);
      await call.services.guests.describeSnapshot(vmid, snapname, description);
      return null;
    },
  }),
];
