// qm snapshot: all disks of a guest at one instant, while it runs or while it does not, and its configuration as it was then.
import { type GuestId, requireSnapshotName } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { isUnusedKey } from '../config/drive.ts';
import { type ConfigSection, type VmConfig, withSettings } from '../config/vm-config.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { settle } from './put-away.ts';
import {
  deleteSnapshots,
  requireNoSnapshot,
  type SnapshotVolume,
  snapshotVolumes,
  takeSnapshots,
} from './snapshot-volumes.ts';

export interface SnapshotOptions {
  readonly signal?: AbortSignal | undefined;
  readonly description?: string | undefined;
}

/** Of the guest now, and not of the moment that a snapshot is of. */
const NOT_KEPT = ['lock', 'digest', 'snapstate', 'snaptime', 'vmstate'];

/** @throws `exists`, `bad-name`, `guest-locked`, `target-unfit` when a disk has no snapshots; after a failure none of the disks has it, or the entry is marked as not whole. */
export async function snapshotVm(
  node: GuestNode,
  id: GuestId,
  name: string,
  { signal, description }: SnapshotOptions,
  report: Report,
): Promise<void> {
  requireSnapshotName(name);
  await withGuestLock(node, id, { signal }, async () => {
    await settle(node, id, report);
    const { config } = await node.configs.read(id);
    requireUnlocked(id, config);
    if (config.snapshots.has(name))
      throw new HoldfastError('exists', `VM ${id} has a snapshot '${name}' already`, { data: { vmid: id } });
    const volumes = await snapshotVolumes(node, id, config);
    await requireNoSnapshot(id, volumes, name);
    const section = sectionNow(config, description);
    const begun = preparing(config, name, section);
    await node.configs.write(id, begun);
    try {
      await takeSnapshots({ node, id, config, report, signal }, volumes, name);
    } catch (error) {
      await node.configs.write(
        id,
        (await isTakenBack(node, id, volumes, name, report)) ? config : withSettings(begun, {}, ['lock']),
      );
      throw error;
    }
    const done = withSettings(config, { parent: name });
    await node.configs.write(id, { ...done, snapshots: new Map([...config.snapshots, [name, section]]) });
  });
}

/** What some disks have already goes again. False, and told, when it cannot: the entry says so then, and deleting it cleans up. */
async function isTakenBack(
  node: GuestNode,
  id: GuestId,
  volumes: readonly SnapshotVolume[],
  name: string,
  report: Report,
): Promise<boolean> {
  try {
    await deleteSnapshots({ node, id }, volumes, name);
    return true;
  } catch (error) {
    report.warn(
      `disks may have kept a part of the snapshot (${(error as Error).message}); remove it: holdfast vm delsnapshot ${id} ${name}`,
    );
    return false;
  }
}

function sectionNow(config: VmConfig, description: string | undefined): ConfigSection {
  const kept = [...config.values].filter(([key]) => !NOT_KEPT.includes(key) && !isUnusedKey(key));
  const values = new Map([...kept, ['snaptime', String(Math.floor(Date.now() / 1000))] as const]);
  return { values, description: description === '' ? undefined : description };
}

/** What stands there if we are killed now: Proxmox's marks of a snapshot that did not become whole; deleting it cleans up. */
function preparing(config: VmConfig, name: string, section: ConfigSection): VmConfig {
  const begun = { ...section, values: new Map([...section.values, ['snapstate', 'prepare'] as const]) };
  return { ...withSettings(config, { lock: 'snapshot' }), snapshots: new Map([...config.snapshots, [name, begun]]) };
}
