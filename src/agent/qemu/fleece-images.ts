// Images for a fleece: volumes `vm-VMID-fleece-KEY` on the chosen storage, or on each disk's own. They hold nothing that anybody needs after the backup, so what a
// crash left is deleted by the next.
import { rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestNode } from '../../guests/guest-node.ts';
import { type GuestId, parseVolumeId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { FleeceImage } from './fleece.ts';
import type { VmDisk } from './vm-disk.ts';

/** Left free on the file system for everybody else. */
const RESERVE_BYTES = 512 * 1024 ** 2;

export interface FleeceImages {
  readonly images: readonly FleeceImage[];
  /** What they may take without filling their storage. */
  readonly roomBytes: number;
  free(): Promise<void>;
}

/** `storage` undefined: each disk's own. After a failure no image is left. @throws what the storage's `allocate` throws. */
export async function makeFleeceImages(
  node: GuestNode,
  id: GuestId,
  disks: readonly VmDisk[],
  storage: string | undefined,
  signal: AbortSignal,
): Promise<FleeceImages> {
  const made: { image: FleeceImage; free: () => Promise<void> }[] = [];
  const free = async (): Promise<void> => {
    const ends = await Promise.allSettled(made.splice(0).map(async (each) => await each.free()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  };
  await freeForgotten(node, id, disks, storage, signal);
  try {
    for (const disk of disks) made.push(await makeImage(node, id, disk, storage, signal));
    const images = made.map(({ image }) => image);
    const rooms = await Promise.all(images.map(async ({ path }) => await roomAt(path)));
    return { images, roomBytes: Math.min(...rooms, Number.MAX_SAFE_INTEGER), free };
  } catch (error) {
    await free();
    throw error;
  }
}

/** Of whatever disks. Only storages that this backup needs anyway are asked: another may hang. */
async function freeForgotten(
  node: GuestNode,
  id: GuestId,
  disks: readonly VmDisk[],
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (const storageId of new Set(disks.map((disk) => storageOf(disk, wanted)))) {
    if (storageId === undefined) continue;
    const storage = await node.storages.get(storageId);
    for (const { name } of await storage.list({ vmid: id, content: 'images' }, signal))
      if (name.includes(`vm-${id}-fleece-`)) await storage.free(name, signal);
  }
}

/** Undefined for a disk that is on no storage. */
function storageOf({ volume }: VmDisk, wanted: string | undefined): string | undefined {
  return wanted ?? (volume.startsWith('/') ? undefined : parseVolumeId(volume).storage);
}

async function makeImage(
  node: GuestNode,
  id: GuestId,
  disk: VmDisk,
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<{ image: FleeceImage; free: () => Promise<void> }> {
  const { key, sizeBytes } = disk;
  const storageId = storageOf(disk, wanted);
  if (storageId === undefined) return await makePlainFile(node, id, key, sizeBytes);
  const storage = await node.storages.get(storageId);
  const request = { vmid: id, sizeBytes, mayBeEmpty: true, format: 'raw' as const, name: `vm-${id}-fleece-${key}` };
  const allocated = await storage.allocate(request, signal);
  const { path } = await storage.locate(allocated.name);
  return { image: { key, path }, free: async () => await storage.free(allocated.name) };
}

/** Beside the guest's own files, for a disk that is on no storage. */
async function makePlainFile(
  node: GuestNode,
  id: GuestId,
  key: string,
  sizeBytes: number,
): Promise<{ image: FleeceImage; free: () => Promise<void> }> {
  const path = join(node.directory.guestPath(id), `fleece-${key}.raw`);
  await writeFile(path, '', { mode: 0o600 });
  await truncate(path, sizeBytes);
  return { image: { key, path }, free: async () => await rm(path, { force: true }) };
}

async function roomAt(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  const room = bavail * bsize - RESERVE_BYTES;
  if (room > 0) return room;
  throw new HoldfastError(
    'disk-full',
    `${path}: the fleece needs room, and less than ${RESERVE_BYTES} bytes are free there`,
  );
}
