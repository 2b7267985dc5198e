// The restore of a virtual machine, as a list of steps: plan, reserve the VMID, make volumes, write them, let the new configuration take over, free what it
// replaced. Whatever ends it before the configuration takes over leaves what was there, and nothing else.
import { printDrive } from '../../guests/config/drive.ts';
import { type VmConfig, withSettings } from '../../guests/config/vm-config.ts';
import { lockBackup } from '../../guests/guest-lock.ts';
import { startVm } from '../../guests/vm/start.ts';
import { restoreDiskInto } from './restore-disk.ts';
import { type Before, freeUnused, leavePlace, oldVolumes, reservePlace, takeOver } from './restore-place.ts';
import { type DiskToRestore, planRestore, type RestorePlan } from './restore-plan.ts';
import type { RestoredDisk, RestoredVm, VmRestoreRequest } from './restore-request.ts';
import { type NewVolume, RestoreVolumes } from './restore-volumes.ts';

/**
 * Makes the snapshot's guest, stopped, or running with `start`.
 * @throws `exists`, `guest-running`, `guest-locked`, `not-found` (configuration, storage), `target-unfit`, `disk-full`, `object-missing`, `object-damaged`, `aborted`;
 * nothing that was made is left then.
 */
export async function restoreVm(request: VmRestoreRequest): Promise<RestoredVm> {
  const { node, id, waitMs, signal, report } = request;
  const backupLock = await lockBackup(node.directory, id, { waitMs, signal });
  let disks: RestoredDisk[];
  try {
    const plan = await planRestore(request);
    const before = await reservePlace(request, plan);
    disks = await restoreInto(request, plan, before);
  } finally {
    backupLock.release();
  }
  if (request.start) await startVm(node, id, { signal }, report);
  return { disks };
}

async function restoreInto(
  request: VmRestoreRequest,
  plan: RestorePlan,
  before: Before | undefined,
): Promise<RestoredDisk[]> {
  const { node, id, report } = request;
  const volumes = new RestoreVolumes(node, id);
  const written: [DiskToRestore, NewVolume][] = [];
  let old: Awaited<ReturnType<typeof oldVolumes>>;
  try {
    for (const disk of plan.disks) written.push([disk, await writeDisk(request, disk, volumes)]);
    old = await oldVolumes(node, id, before, plan);
    request.signal.throwIfAborted();
    await takeOver(node, id, withDrives(plan.config, written), [...old.kept, ...old.replaced], plan.firewall);
  } catch (error) {
    await undo(request, volumes, before);
    throw error;
  }
  for (const volume of old.kept) report.log(`${volume} is not in the backup; it is kept as an unused disk`);
  await freeUnused(node, id, old.replaced, report);
  return written.map(([{ drive, archive }, volume]) => describeDisk(drive.key, volume, archive.sizeBytes));
}

/** Frees what was made and gives the VMID back. */
export async function undo(
  { node, id, report }: Pick<VmRestoreRequest, 'node' | 'id' | 'report'>,
  volumes: RestoreVolumes,
  before: Before | undefined,
): Promise<void> {
  try {
    await volumes.freeAll(report);
    await leavePlace(node, id, before);
  } catch (problem) {
    report.warn(`cleaning up failed, look at VM ${id}: ${(problem as Error).message}`);
  }
}

export async function writeDisk(
  request: VmRestoreRequest,
  { drive, archive, storage, format }: DiskToRestore,
  volumes: RestoreVolumes,
): Promise<NewVolume> {
  const { report, signal } = request;
  const volume = await volumes.make(storage, { sizeBytes: archive.sizeBytes, format }, signal);
  report.log(`${drive.key}: restoring ${archive.sizeBytes} bytes to ${volume.id}`);
  await restoreDiskInto(request, drive.key, archive, volume);
  return volume;
}

/** The drives keep their options, with their new volumes and sizes. */
export function withDrives(config: VmConfig, disks: readonly (readonly [DiskToRestore, NewVolume])[]): VmConfig {
  const lines = disks.map(([{ drive, archive }, { id }]) => {
    const now = { ...drive, file: id, size: archive.sizeBytes, format: undefined };
    return [drive.key, printDrive(now)] as const;
  });
  return withSettings(config, Object.fromEntries(lines));
}

export function describeDisk(key: string, { id, format }: NewVolume, sizeBytes: number): RestoredDisk {
  return { key, volume: id, format, sizeBytes };
}
