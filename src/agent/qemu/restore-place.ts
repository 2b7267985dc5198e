// The guest that a restore makes or replaces, from the reservation of its VMID to the configuration that takes over. A guest that was there keeps its
// configuration and volumes until the new ones are whole.
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { dropBitmapRecords } from '../../guests/bitmaps/bitmap-records.ts';
import { dropSidecars } from '../../guests/bitmaps/sidecars.ts';
import { DISK_KEYS, isUnusedKey, parseDrive } from '../../guests/config/drive.ts';
import { parseVmConfig, type VmConfig, withSettings } from '../../guests/config/vm-config.ts';
import { lockGuest } from '../../guests/guest-lock.ts';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import { findQemu } from '../../guests/qemu/qemu-process.ts';
import { clearConfigLock, setConfigLock } from '../../guests/vm/config-lock.ts';
import { drivesOf, isCloudInitDrive } from '../../guests/vm/owned-volumes.ts';
import { settle } from '../../guests/vm/put-away.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { RestorePlan } from './restore-plan.ts';
import type { VmRestoreRequest } from './restore-request.ts';
import { freeVolumes, withoutUnused, withUnused } from './restore-volumes.ts';

type PlaceRequest = Pick<VmRestoreRequest, 'node' | 'id' | 'force' | 'report' | 'waitMs' | 'signal'>;

/** What was there; undefined for a new guest. */
export interface Before {
  /** Text of the configuration, without the lock of the restore. */
  readonly config: string;
  readonly firewall: string | undefined;
  /** The restore has nothing to do with the firewall. */
  readonly keepsFirewall?: true;
}

/**
 * Reserves the VMID: a new guest has `lock: create` from here on, one that is there `lock: backup`, which goes by itself when the next backup or restore finds that
 * nobody works on it. @throws `exists` without `force`, `guest-running`, `guest-locked`, `protected`.
 */
export async function reservePlace(
  request: PlaceRequest,
  plan: Pick<RestorePlan, 'config'>,
): Promise<Before | undefined> {
  const { node, id, force, waitMs, signal } = request;
  const lock = await lockGuest(node.directory, id, { waitMs, signal });
  try {
    const present = (await node.configs.list()).includes(id);
    if (!present) {
      await node.configs.create(id, withSettings(plan.config, { lock: 'create' }));
      return undefined;
    }
    if (!force && !(await isRunning(request)))
      throw new HoldfastError(
        'exists',
        `VM ${id} already exists; restore under another VMID, or replace it with --force`,
        {
          data: { vmid: id },
        },
      );
    const config = await enterGuest(request);
    return { config, firewall: await readIfPresent(node.directory.firewallFile(id)) };
  } finally {
    lock.release();
  }
}

/** Locks a stopped guest that is there; call with the guest's lock. */
export async function enterGuest(request: Omit<PlaceRequest, 'force'>): Promise<string> {
  const { node, id, report } = request;
  await settle(node, id, report);
  if (await isRunning(request))
    throw new HoldfastError('guest-running', `VM ${id} is running; stop it first, or restore under another VMID`, {
      data: { vmid: id },
    });
  await clearConfigLock(node, id, 'backup');
  const { config, text } = await node.configs.read(id);
  if (config.values.get('protection') === '1')
    throw new HoldfastError(
      'protected',
      `VM ${id} is protected; take protection away first, or restore under another VMID`,
    );
  await setConfigLock(node, id, 'backup');
  return text;
}

async function isRunning({ node, id }: Pick<PlaceRequest, 'node' | 'id'>): Promise<boolean> {
  return (await findQemu(node.directory.run(id))) !== undefined;
}

/** Undoes `reservePlace`, after the volumes that were made are freed. */
export async function leavePlace(node: GuestNode, id: GuestId, before: Before | undefined): Promise<void> {
  const lock = await lockGuest(node.directory, id);
  try {
    if (before?.keepsFirewall !== true) await writeFirewall(node, id, before?.firewall);
    await freeCloudInit(node, id, before);
    if (before === undefined) await node.configs.remove(id);
    else await node.configs.write(id, parseVmConfig(before.config, `qemu-server/${id}.conf`));
  } finally {
    lock.release();
  }
}

/** A live restore has started the guest, and with that made its drive. */
async function freeCloudInit(node: GuestNode, id: GuestId, before: Before | undefined): Promise<void> {
  const { config } = await node.configs.read(id);
  const kept = before === undefined ? [] : cloudInitVolumes(parseVmConfig(before.config, `qemu-server/${id}.conf`));
  for (const volume of cloudInitVolumes(config)) {
    if (kept.includes(volume) || !(await isOwn(node, id, volume))) continue;
    const { storage, name } = await node.storages.resolve(volume);
    await storage.free(name);
  }
}

function cloudInitVolumes(config: VmConfig): string[] {
  return drivesOf(config)
    .filter(isCloudInitDrive)
    .map(({ file }) => file);
}

/** Volumes of the guest that was there: those that the restore replaces, and those that stay as unused ones. */
export interface OldVolumes {
  readonly replaced: readonly string[];
  readonly kept: readonly string[];
}

/**
 * As with Proxmox: a disk that the backup has too goes, with its snapshots and saved states; any other stays as an unused one. A cloud-init drive goes
 * unless the guest will have the same again.
 */
export async function oldVolumes(
  node: GuestNode,
  id: GuestId,
  before: Before | undefined,
  plan: Pick<RestorePlan, 'config' | 'disks'>,
): Promise<OldVolumes> {
  if (before === undefined) return { replaced: [], kept: [] };
  const config = parseVmConfig(before.config, `qemu-server/${id}.conf`);
  const again = cloudInitVolumes(plan.config);
  const replaced = new Set<string>();
  const kept = new Set<string>();
  for (const [key, value] of config.values) {
    if (!DISK_KEYS.includes(key) && !isUnusedKey(key)) continue;
    const drive = parseDrive(key, value);
    const { file } = drive;
    const isMadeAnew = isCloudInitDrive(drive) && !again.includes(file);
    if ((drive.media === 'cdrom' && !isMadeAnew) || !(await isOwn(node, id, file))) continue;
    (isMadeAnew || plan.disks.some((disk) => disk.drive.key === key) ? replaced : kept).add(file);
  }
  for (const { values } of config.snapshots.values()) {
    const state = values.get('vmstate');
    if (state !== undefined && (await isOwn(node, id, state))) replaced.add(state);
  }
  return { replaced: [...replaced], kept: [...kept].filter((volume) => !replaced.has(volume)) };
}

/** Whether a volume is the guest's: a path, another guest's disk and what is not there are not. */
export async function isOwn({ storages }: GuestNode, id: GuestId, file: string): Promise<boolean> {
  if (file.startsWith('/') || !file.includes(':')) return false;
  try {
    const { storage, name } = await storages.resolve(file);
    return (await storage.list({ vmid: id })).some((volume) => volume.name === name);
  } catch (error) {
    if (error instanceof HoldfastError && ['not-found', 'bad-name', 'target-unfit'].includes(error.code)) return false;
    throw error;
  }
}

/**
 * The new configuration takes over: from here on the guest is the restored one. Nothing that was known of the old disks is believed any more. Volumes that are
 * not its drives are named as unused ones until they are freed.
 */
export async function takeOver(
  node: GuestNode,
  id: GuestId,
  config: VmConfig,
  unused: readonly string[],
  firewall: string | undefined,
): Promise<void> {
  const lock = await lockGuest(node.directory, id);
  try {
    await forgetBitmaps(node, id, DISK_KEYS);
    await node.configs.write(id, withUnused(config, unused));
    await writeFirewall(node, id, firewall);
  } finally {
    lock.release();
  }
}

async function writeFirewall(node: GuestNode, id: GuestId, text: string | undefined): Promise<void> {
  const path = node.directory.firewallFile(id);
  if (text === undefined) return await rm(path, { force: true });
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomic(path, text);
}

/** A disk whose bytes came from a backup is read in full by the next one. */
export async function forgetBitmaps(node: GuestNode, id: GuestId, keys: readonly string[]): Promise<void> {
  await dropBitmapRecords(node.directory, id);
  await dropSidecars(node.directory, id, keys);
}

/** Frees volumes that the configuration calls unused. */
export async function freeUnused(
  node: GuestNode,
  id: GuestId,
  volumes: readonly string[],
  report: Report,
): Promise<void> {
  if (volumes.length === 0) return;
  const left = await freeVolumes(node, volumes, report);
  const freed = volumes.filter((volume) => !left.includes(volume));
  const lock = await lockGuest(node.directory, id);
  try {
    const { config, digest } = await node.configs.read(id);
    await node.configs.write(id, withoutUnused(config, freed), { digest });
  } finally {
    lock.release();
  }
}
