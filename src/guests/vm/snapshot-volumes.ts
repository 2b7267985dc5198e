// Snapshots of volumes, whoever has to make them: QEMU itself for a qcow2 image that it has open, else the storage.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ConfigSection } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import { nodeNames } from '../qemu/disk-nodes.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { SnapshotMode, Storage } from '../storage/storage.ts';
import { disksOf } from './owned-volumes.ts';

/** Copying of refcounts of a large image on a slow disk. */
const SNAPSHOT_TIMEOUT_MS = 120_000;

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

/** The nodes of a running QEMU by the volume that they are of. The node above the format is the one that QEMU takes. */
export async function nodesByVolume(node: GuestNode, id: GuestId): Promise<ReadonlyMap<string, string>> {
  const { disks } = await readRunningMachine(node.directory.run(id));
  return new Map(
    disks.filter(({ isReadOnly }) => !isReadOnly).map(({ key, volume }) => [volume, nodeNames(key).throttle]),
  );
}

/** All or none. `monitor` is of the guest when it runs; it is paused or frozen by the caller. */
export async function takeSnapshots(
  volumes: readonly SnapshotVolume[],
  snapshot: string,
  monitor: QmpClient | undefined,
  nodes: ReadonlyMap<string, string>,
): Promise<void> {
  const inQemu = volumes.filter(({ mode, volume }) => monitor !== undefined && mode === 'image' && nodes.has(volume));
  const taken: SnapshotVolume[] = [];
  try {
    for (const each of volumes) {
      if (inQemu.includes(each)) continue;
      await each.storage.snapshot(each.name, snapshot);
      taken.push(each);
    }
    const actions = inQemu.map(({ volume }) => ({
      type: 'blockdev-snapshot-internal-sync',
      data: { device: nodes.get(volume), name: snapshot },
    }));
    if (actions.length > 0) await monitor?.execute('transaction', { actions }, { timeoutMs: SNAPSHOT_TIMEOUT_MS });
  } catch (error) {
    for (const each of taken) await each.storage.deleteSnapshot(each.name, snapshot).catch(() => undefined);
    throw error;
  }
}

/** One that is gone already is deleted. */
export async function deleteSnapshots(
  volumes: readonly SnapshotVolume[],
  snapshot: string,
  monitor: QmpClient | undefined,
  nodes: ReadonlyMap<string, string>,
): Promise<void> {
  for (const { storage, name, volume, mode } of volumes) {
    if (!(await storage.snapshots(name)).includes(snapshot)) continue;
    const device = mode === 'image' ? nodes.get(volume) : undefined;
    if (monitor === undefined || device === undefined) await storage.deleteSnapshot(name, snapshot);
    else
      await monitor.execute(
        'blockdev-snapshot-delete-internal-sync',
        { device, name: snapshot },
        { timeoutMs: SNAPSHOT_TIMEOUT_MS },
      );
  }
}
