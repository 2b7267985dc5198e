// Snapshots of volumes, whoever has to make them: QEMU itself for a qcow2 image that it has open, else the storage.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { keepingSeals, type SealedDisk } from '../bitmaps/sidecars.ts';
import type { ConfigSection } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import { nodeNames } from '../qemu/disk-nodes.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { SnapshotMode, Storage } from '../storage/storage.ts';
import { lookAtMachine, withMonitor } from './machine-state.ts';
import { disksOf } from './owned-volumes.ts';
import { atQuietInstant, type QuietInstant } from './quiet-instant.ts';

/** Copying of refcounts of a large image on a slow disk. */
const SNAPSHOT_TIMEOUT_MS = 120_000;

/** A guest that may run. */
export type GuestInstant = Omit<QuietInstant, 'monitor'>;

export interface SnapshotVolume {
  readonly key: string;
  readonly volume: string;
  readonly storage: Storage;
  readonly name: string;
  readonly mode: SnapshotMode;
}

/** The volumes of a section's disks. @throws `target-unfit` for one that has no snapshots, before anything is done; `not-found`. */
export async function snapshotVolumes(node: GuestNode, id: GuestId, section: ConfigSection): Promise<SnapshotVolume[]> {
  const volumes: SnapshotVolume[] = [];
  for (const { key, file } of disksOf(section)) {
    const unfit = (why: string): HoldfastError =>
      new HoldfastError('target-unfit', `VM ${id}: ${key} (${file}) has no snapshots: ${why}`, {
        data: { vmid: id, key },
      });
    if (file.startsWith('/')) throw unfit('it is no volume of a storage');
    const { storage, name } = await node.storages.volume(file);
    const mode = storage.snapshotMode(name);
    if (mode === 'none') throw unfit('it is a raw image in a directory; move it to qcow2, or to a storage on btrfs');
    volumes.push({ key, volume: file, storage, name, mode });
  }
  return volumes;
}

/** @throws `exists` when one has a snapshot of that name: it is not ours. */
export async function requireNoSnapshot(
  id: GuestId,
  volumes: readonly SnapshotVolume[],
  snapshot: string,
): Promise<void> {
  for (const { key, volume, storage, name } of volumes)
    if ((await storage.snapshots(name)).includes(snapshot))
      throw new HoldfastError('exists', `VM ${id}: ${key} (${volume}) has a snapshot '${snapshot}' already`, {
        data: { vmid: id, key },
      });
}

/**
 * Takes the snapshot of all volumes, at one instant of a guest that runs. After a failure some may have it.
 * @throws what the storages and QEMU throw.
 */
export async function takeSnapshots(
  instant: GuestInstant,
  volumes: readonly SnapshotVolume[],
  snapshot: string,
): Promise<void> {
  await onDisks(instant, volumes, async (monitor, nodes) => {
    const inQemu = volumes.filter(({ mode, volume }) => mode === 'image' && nodes.has(volume));
    const work = async (): Promise<void> => {
      for (const each of volumes) if (!inQemu.includes(each)) await each.storage.snapshot(each.name, snapshot);
      const actions = inQemu.map(({ volume }) => ({
        type: 'blockdev-snapshot-internal-sync',
        data: { device: nodes.get(volume), name: snapshot },
      }));
      if (actions.length > 0) await monitor?.execute('transaction', { actions }, { timeoutMs: SNAPSHOT_TIMEOUT_MS });
    };
    if (monitor === undefined) await work();
    else await atQuietInstant({ ...instant, monitor }, work);
  });
}

/** One that is gone already is deleted. Tries all volumes. @throws what the first that failed threw. */
export async function deleteSnapshots(
  guest: Pick<GuestInstant, 'node' | 'id' | 'signal'>,
  volumes: readonly SnapshotVolume[],
  snapshot: string,
): Promise<void> {
  const failures: unknown[] = [];
  await onDisks(guest, volumes, async (monitor, nodes) => {
    for (const { storage, name, volume, mode } of volumes) {
      try {
        if (!(await storage.snapshots(name)).includes(snapshot)) continue;
        const device = mode === 'image' ? nodes.get(volume) : undefined;
        if (monitor === undefined || device === undefined) await storage.deleteSnapshot(name, snapshot);
        else
          await monitor.execute(
            'blockdev-snapshot-delete-internal-sync',
            { device, name: snapshot },
            { timeoutMs: SNAPSHOT_TIMEOUT_MS },
          );
      } catch (error) {
        failures.push(error);
      }
    }
  });
  if (failures.length > 0) throw failures[0];
}

/** With the monitor of a running guest, and its nodes by the volume that they are of: the node above the format is the one that QEMU takes. */
async function onDisks(
  { node, id, signal }: Pick<GuestInstant, 'node' | 'id' | 'signal'>,
  volumes: readonly SnapshotVolume[],
  work: (monitor: QmpClient | undefined, nodes: ReadonlyMap<string, string>) => Promise<void>,
): Promise<void> {
  if ((await lookAtMachine(node, id, signal)).pid === undefined) {
    const disks = await filesOf(volumes);
    return await keepingSeals(node.directory, id, disks, async () => await work(undefined, new Map()));
  }
  const { disks } = await readRunningMachine(node.directory.run(id));
  const writable = disks.filter(({ isReadOnly }) => !isReadOnly);
  const nodes = new Map(writable.map(({ key, volume }) => [volume, nodeNames(key).throttle]));
  await withMonitor(node, id, async (monitor) => await work(monitor, nodes));
}

async function filesOf(volumes: readonly SnapshotVolume[]): Promise<SealedDisk[]> {
  const disks: SealedDisk[] = [];
  for (const { key, storage, name } of volumes) {
    // One that is not there is told of by who needs it.
    const found = await storage.locate(name).catch(() => undefined);
    if (found !== undefined) disks.push({ key, path: found.path });
  }
  return disks;
}
