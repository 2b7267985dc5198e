// qm snapshot: all disks of a guest at one instant, while it runs or while it does not, and its configuration as it was then.
import { type GuestId, requireSnapshotName } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { isUnusedKey } from '../config/drive.ts';
import { type ConfigSection, type VmConfig, withSettings } from '../config/vm-config.ts';
import { lockGuest } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { lookAtMachine, withMonitor } from './machine-state.ts';
import { settle } from './put-away.ts';
import { atQuietInstant } from './quiet-instant.ts';
import { nodesByVolume, type SnapshotVolume, snapshotVolumes, takeSnapshots } from './snapshot-volumes.ts';

export interface SnapshotOptions {
  readonly signal?: AbortSignal | undefined;
  readonly description?: string | undefined;
}

/** Of the guest now, and not of the moment that a snapshot is of. */
const NOT_KEPT = ['lock', 'digest', 'snapstate', 'snaptime', 'vmstate'];

/** @throws `exists`, `bad-name`, `guest-locked`, `target-unfit` when a disk has no snapshots; after a failure none of the disks has it. */
export async function snapshotVm(
  node: GuestNode,
  id: GuestId,
  name: string,
  { signal, description }: SnapshotOptions,
  report: Report,
): Promise<void> {
  requireSnapshotName(name);
  await node.configs.read(id);
  const lock = await lockGuest(node.directory, id, { signal });
  try {
    await settle(node, id, report);
    const { config } = await node.configs.read(id);
    requireUnlocked(id, config);
    if (config.snapshots.has(name))
      throw new HoldfastError('exists', `VM ${id} has a snapshot '${name}' already`, { data: { vmid: id } });
    const volumes = await snapshotVolumes(node, id, config);
    const section = sectionNow(config, description);
    await node.configs.write(id, preparing(config, name, section));
    try {
      await take(node, id, config, volumes, name, report, signal);
    } catch (error) {
      await node.configs.write(id, config);
      throw error;
    }
    const done = withSettings(config, { parent: name });
    await node.configs.write(id, { ...done, snapshots: new Map([...config.snapshots, [name, section]]) });
  } finally {
    lock.release();
  }
}

async function take(
  node: GuestNode,
  id: GuestId,
  config: VmConfig,
  volumes: readonly SnapshotVolume[],
  name: string,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<void> {
  if ((await lookAtMachine(node, id, signal)).pid === undefined)
    return await takeSnapshots(volumes, name, undefined, new Map());
  const nodes = await nodesByVolume(node, id);
  await withMonitor(node, id, async (monitor) => {
    const instant = { node, id, config, monitor, report, signal };
    await atQuietInstant(instant, async () => await takeSnapshots(volumes, name, monitor, nodes));
  });
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
