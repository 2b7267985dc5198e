// /nodes/{node}/storage/{storage}/content: the volumes of a storage.
import { type Static, Type } from 'typebox';
import { ApiError, ParameterError } from '../../../dialect/failure.ts';
import { guestUpidOf } from '../../guest-upid.ts';
import { defineGuestMethod, type GuestCall, may, onStorage, requireNode, requirePrivilege } from '../../method.ts';
import type { StoredVolume } from '../../services.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { Count, Flag, given, Node, Nothing, StorageName, Upid, Vmid } from '../parameters.ts';
import { findStorage } from './storage-row.ts';

const PATH = '/nodes/{node}/storage/{storage}/content';
const KIBIBYTES = 1024;
const UNITS: Readonly<Record<string, number>> = { '': KIBIBYTES, M: KIBIBYTES ** 2, G: KIBIBYTES ** 3 };
const OfStorage = { node: Node, storage: StorageName };
const OfVolume = {
  ...OfStorage,
  volume: Type.String({
    minLength: 1,
    maxLength: 1024,
    description: 'STORAGE:NAME, or NAME; slashes may stand in it.',
  }),
};
const Row = Type.Object({
  volid: Type.String(),
  content: Type.String(),
  format: Type.String(),
  size: Count,
  used: Type.Optional(Count),
  ctime: Type.Optional(Count),
  vmid: Type.Optional(Count),
  parent: Type.Optional(Type.String()),
  notes: Type.Optional(Type.String()),
  protected: Type.Optional(Flag),
  subtype: Type.Optional(Type.Enum(['qemu'])),
  encrypted: Type.Optional(Type.String()),
  verification: Type.Optional(
    Type.Object({ state: Type.Enum(['ok', 'failed']), upid: Type.Optional(Type.String({ description: 'The task.' })) }),
  ),
});

export const CONTENT_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The volumes of a storage; disks of guests as far as the caller may look at the guest.',
    access: onStorage('Datastore.Audit', 'Datastore.AllocateSpace'),
    parameters: Type.Object({
      ...OfStorage,
      content: Type.Optional(Type.String({ pattern: '^[a-z]+$', maxLength: 32, description: 'Only such volumes.' })),
      vmid: Type.Optional(Vmid),
    }),
    returns: Type.Array(Row),
    handler: async (call, { node, storage, content, vmid }) => {
      requireNode(call, node);
      await findStorage(call, storage);
      const volumes = await call.services.storages.volumes(storage, given({ content, vmid }));
      return volumes.filter((volume) => maySee(call, storage, volume)).map(rowOf);
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes an empty volume for a guest, and says its name.',
    access: onStorage('Datastore.AllocateSpace'),
    parameters: Type.Object({
      ...OfStorage,
      filename: Type.String({
        pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
        maxLength: 255,
        description: 'Name of the volume.',
      }),
      size: Type.String({ pattern: '^\\d{1,12}[MG]?$', maxLength: 16, description: 'KiB, or with M or G.' }),
      vmid: Vmid,
      format: Type.Optional(Type.Enum(['raw', 'qcow2', 'vmdk'], { description: 'Of the volume.' })),
    }),
    returns: Type.String(),
    handler: async (call, { node, storage, filename, size, vmid, format }) => {
      requireNode(call, node);
      await findStorage(call, storage);
      const [, digits = '', unit = ''] = /^(\d+)([MG]?)$/.exec(size) ?? [];
      const sizeBytes = Number(digits) * (UNITS[unit] ?? KIBIBYTES);
      if (!Number.isSafeInteger(sizeBytes)) throw new ParameterError([['size', 'value is too large']]);
      const wish = { vmid, name: filename, sizeBytes, ...given({ format }) };
      return await call.services.storages.allocate(storage, wish);
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/{volume}`,
    takesRestOfPath: true,
    description: 'One volume.',
    access: onStorage('Datastore.Audit', 'Datastore.AllocateSpace'),
    parameters: Type.Object(OfVolume),
    returns: Type.Object({ ...Row.properties, path: Type.String() }),
    handler: async (call, { node, storage, volume }) => {
      requireNode(call, node);
      const found = await findVolume(call, storage, volume);
      return { ...rowOf(found), path: found.path };
    },
  }),
  defineGuestMethod({
    method: 'DELETE',
    path: `${PATH}/{volume}`,
    takesRestOfPath: true,
    description: 'Removes a volume; of a backup also with Datastore.AllocateSpace there and VM.Backup on its guest.',
    access: onStorage('Datastore.Allocate', 'Datastore.AllocateSpace'),
    parameters: Type.Object({
      ...OfVolume,
      delay: Type.Optional(Type.Integer({ minimum: 1, maximum: 30, description: 'Taken and ignored.' })),
    }),
    returns: Upid,
    handler: async (call, { node, storage, volume }) => {
      requireNode(call, node);
      const found = await findVolume(call, storage, volume);
      const { volid, content, vmid } = found;
      requireChange(call, storage, found);
      if (found.isProtected)
        throw new ApiError(500, 'protected', `can't remove volume '${volid}' - protection enabled`);
      if (vmid !== undefined && (await call.services.guests.exists(vmid)) && content === 'images')
        await requireUnused(call, vmid, volid);
      return startGuestTask(call, 'imgdel', storage, (work) => call.services.storages.remove(volid, work));
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: `${PATH}/{volume}`,
    takesRestOfPath: true,
    description: 'Changes the notes or the protection of a backup.',
    access: onStorage('Datastore.Allocate', 'Datastore.AllocateSpace'),
    parameters: Type.Object({
      ...OfVolume,
      notes: Type.Optional(Type.String({ maxLength: 65_536, description: 'Any text.' })),
      protected: Type.Optional(Type.Boolean({ description: 'Neither removed nor pruned.' })),
    }),
    returns: Nothing,
    handler: async (call, { node, storage, volume, notes, protected: isProtected }) => {
      requireNode(call, node);
      const found = await findVolume(call, storage, volume);
      requireChange(call, storage, found);
      const { type } = await findStorage(call, storage);
      if (type !== 'pbs' || found.content !== 'backup')
        throw new ApiError(500, 'bad-argument', `notes and protection are of backups, and '${found.volid}' is none`);
      // The right by which the datastore itself has anomalies settled.
      const mayClear = may(call, `/datastore/${storage}`, 'Datastore.Modify');
      await call.services.backups.change(found.volid, given({ notes, protected: isProtected }), mayClear);
      return null;
    },
  }),
];

/** Who may back a guest up may change its backups. @throws ApiError 403. */
function requireChange(call: GuestCall, storage: string, { content, vmid }: StoredVolume): void {
  if (may(call, `/storage/${storage}`, 'Datastore.Allocate')) return;
  if (content !== 'backup' || vmid === undefined) requirePrivilege(call, `/storage/${storage}`, 'Datastore.Allocate');
  else requirePrivilege(call, `/vms/${vmid}`, 'VM.Backup');
}

/** @throws ApiError 500 while the guest, or a snapshot of it, names the volume. */
async function requireUnused(call: GuestCall, vmid: number, volid: string): Promise<void> {
  const { guests } = call.services;
  const { snapshots } = await guests.snapshots(vmid);
  for (const snapshot of [undefined, ...snapshots.map(({ name }) => name)]) {
    const { values } = await guests.config(vmid, given({ snapshot }));
    const isIt = (part: string): boolean => part === volid || part.endsWith(`=${volid}`);
    const key = Object.keys(values).find((each) => values[each]?.split(',').some(isIt));
    if (key === undefined) continue;
    const place = snapshot === undefined ? key : `${key} of snapshot '${snapshot}'`;
    throw new ApiError(500, 'guest-failed', `cannot remove image, a guest with VMID '${vmid}' uses it as ${place}`);
  }
}

/** One that the caller may look at. @throws ApiError 403, 500. */
export async function findVolume(call: GuestCall, storage: string, volume: string) {
  await findStorage(call, storage);
  const volid = volume.includes(':') ? volume : `${storage}:${volume}`;
  if (!volid.startsWith(`${storage}:`))
    throw new ParameterError([['volume', `'${volid.slice(0, 100)}' is no volume of storage '${storage}'`]]);
  const found = await call.services.storages.volume(volid);
  if (!maySee(call, storage, found)) requirePrivilege(call, `/storage/${storage}`, 'Datastore.Allocate');
  return found;
}

/** Disks and backups say something of their guest; images of CDs and templates are for everybody. */
function maySee(call: GuestCall, storage: string, { content, vmid }: StoredVolume): boolean {
  if (content === 'iso' || content === 'vztmpl' || content === 'import' || content === 'snippets') return true;
  if (may(call, `/storage/${storage}`, 'Datastore.Allocate')) return true;
  const privilege = content === 'backup' ? 'VM.Backup' : 'VM.Audit';
  return vmid !== undefined && may(call, `/vms/${vmid}`, privilege);
}

function rowOf(volume: StoredVolume): Static<typeof Row> {
  const { volid, content, format, sizeBytes, usedBytes, created, vmid, parent, notes, isProtected } = volume;
  const { encrypted, verification } = volume;
  const subtype = format === 'pbs-vm' ? ('qemu' as const) : undefined;
  const shownVerdict = ({ state, upid }: NonNullable<typeof verification>) => ({
    state,
    ...given({ upid: upid && guestUpidOf(upid) }),
  });
  return {
    volid,
    content,
    format,
    size: sizeBytes,
    ...given({ used: usedBytes, ctime: created, vmid, parent, notes, protected: isProtected ? 1 : undefined }),
    ...given({ subtype, encrypted, verification: verification && shownVerdict(verification) }),
  };
}
