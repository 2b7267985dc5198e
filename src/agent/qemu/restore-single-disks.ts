// Single disks of a snapshot into a guest that is there and stopped: as unused disks, or with `force` in place of those that it has. The rest of its
// configuration stays as it is.
import { parseDrive, printDrive } from '../../guests/config/drive.ts';
import { type VmConfig, withSettings } from '../../guests/config/vm-config.ts';
import { lockBackup, lockGuest } from '../../guests/guest-lock.ts';
import { HoldfastError } from '../../util/errors.ts';
import { enterGuest, forgetBitmaps, freeUnused, isOwn } from './restore-place.ts';
import { type DiskToRestore, planRestore } from './restore-plan.ts';
import type { RestoredVm, VmRestoreRequest } from './restore-request.ts';
import type { VmSnapshot } from './restore-source.ts';
import { describeDisk, undo, writeDisk } from './restore-vm.ts';
import { changeConfig, type NewVolume, RestoreVolumes, withoutUnused, withUnused } from './restore-volumes.ts';

export interface DisksRequest extends Omit<VmRestoreRequest, 'unique' | 'start'> {
  /** `scsi0`, as the backup calls them. */
  readonly keys: readonly string[];
}

/** @throws `not-found` for a guest or a disk that is not there, `guest-running`, and what restoring throws; the guest is as it was then. */
export async function restoreSingleDisks(request: DisksRequest): Promise<RestoredVm> {
  const { node, id, keys, waitMs, signal, report } = request;
  const backupLock = await lockBackup(node.directory, id, { waitMs, signal });
  try {
    const quiet = { log: report.log, warn: () => {} };
    const plan = await planRestore({ ...request, unique: false, report: quiet, onlyDisks: keys });
    const disks = keys.map((key) => requireDisk(plan.disks, key, request.snapshot));
    const lock = await lockGuest(node.directory, id, { waitMs, signal });
    let before: string;
    try {
      before = await enterGuest(request);
    } finally {
      lock.release();
    }
    const volumes = new RestoreVolumes(node, id);
    const written: [DiskToRestore, NewVolume][] = [];
    let replaced: string[] = [];
    try {
      for (const disk of disks)
        written.push([disk, await writeDisk({ ...request, unique: false, start: false }, disk, volumes)]);
      signal.throwIfAborted();
      if (request.force) await forgetBitmaps(node, id, keys);
      const config = await changeConfig(node, id, (config) => {
        const unlocked = withSettings(config, {}, ['lock']);
        if (!request.force) return unlocked;
        replaced = keys.flatMap((key) => volumeOf(unlocked, key) ?? []);
        return withUnused(inPlace(unlocked, written), replaced);
      });
      replaced = await freeable(request, config, replaced);
    } catch (error) {
      await undo(request, volumes, { config: before, firewall: undefined, keepsFirewall: true });
      throw error;
    }
    await freeUnused(node, id, replaced, report);
    return { disks: written.map(([{ drive, archive }, volume]) => describeDisk(drive.key, volume, archive.sizeBytes)) };
  } finally {
    backupLock.release();
  }
}

function requireDisk(disks: readonly DiskToRestore[], key: string, snapshot: VmSnapshot): DiskToRestore {
  const disk = disks.find(({ drive }) => drive.key === key);
  if (disk !== undefined) return disk;
  const names = snapshot.archives.flatMap(({ name, kind }) =>
    kind === 'image' ? [name.replace(/^drive-(.*?)(-backup)?\.img$/, '$1')] : [],
  );
  const has = names.length === 0 ? 'no disks' : names.sort().join(', ');
  throw new HoldfastError('not-found', `${snapshot.name} has no disk ${JSON.stringify(key)}; it has ${has}`);
}

/** The options of the drive that is there stay; a drive that is not gets those of the backup. */
function inPlace(config: VmConfig, written: readonly (readonly [DiskToRestore, NewVolume])[]): VmConfig {
  const lines = written.map(([{ drive, archive }, { id }]) => {
    const present = config.values.get(drive.key);
    const base = present === undefined ? drive : parseDrive(drive.key, present);
    return [drive.key, printDrive({ ...base, file: id, size: archive.sizeBytes, format: undefined })] as const;
  });
  return withSettings(
    withoutUnused(
      config,
      written.map(([, { id }]) => id),
    ),
    Object.fromEntries(lines),
  );
}

function volumeOf(config: VmConfig, key: string): string | undefined {
  const value = config.values.get(key);
  const drive = value === undefined ? undefined : parseDrive(key, value);
  return drive === undefined || drive.media === 'cdrom' || !drive.file.includes(':') ? undefined : drive.file;
}

/** What a snapshot of the guest needs stays as an unused disk. */
async function freeable(
  { node, id, report }: DisksRequest,
  config: VmConfig,
  volumes: readonly string[],
): Promise<string[]> {
  const free: string[] = [];
  for (const volume of volumes) {
    const isNeeded = [...config.snapshots.values()].some(({ values }) =>
      [...values.values()].some((value) => value.split(',')[0] === volume),
    );
    if (isNeeded || !(await isOwn(node, id, volume)))
      report.warn(`${volume} is kept as an unused disk${isNeeded ? ': snapshots of the guest need it' : ''}`);
    else free.push(volume);
  }
  return free;
}
