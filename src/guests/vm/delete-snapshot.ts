// qm delsnapshot: a snapshot goes from all disks, then from the configuration; what stood on it stands on what it stood on.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type ConfigSection, type VmConfig, withSettings } from '../config/vm-config.ts';
import { lockGuest } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { lookAtMachine, withMonitor } from './machine-state.ts';
import { settle } from './put-away.ts';
import { deleteSnapshots, nodesByVolume, snapshotVolumes } from './snapshot-volumes.ts';

export interface DeleteSnapshotOptions {
  readonly signal?: AbortSignal | undefined;
  /** The entry goes also when a disk's snapshot cannot. */
  readonly force?: boolean;
}

/** @throws `not-found`, `guest-locked`, and what deleting throws: call it again then. */
export async function deleteSnapshotVm(
  node: GuestNode,
  id: GuestId,
  name: string,
  { signal, force = false }: DeleteSnapshotOptions,
  report: Report,
): Promise<void> {
  await node.configs.read(id);
  const lock = await lockGuest(node.directory, id, { signal });
  try {
    await settle(node, id, report);
    const { config } = await node.configs.read(id);
    // One that was cut off while it was made or deleted is deleted like another.
    if (config.snapshots.get(name)?.values.get('snapstate') === undefined) requireUnlocked(id, config);
    const section = config.snapshots.get(name);
    if (section === undefined)
      throw new HoldfastError('not-found', `VM ${id} has no snapshot '${name}'`, { data: { vmid: id } });
    const begun = { ...section, values: new Map([...section.values, ['snapstate', 'delete'] as const]) };
    const snapshots = new Map([...config.snapshots, [name, begun]]);
    await node.configs.write(id, { ...withSettings(config, { lock: 'snapshot-delete' }), snapshots });
    try {
      await remove(node, id, section, name, signal);
    } catch (error) {
      if (!force) {
        await node.configs.write(id, withSettings(config, {}, ['lock']));
        throw error;
      }
      report.warn(`${(error as Error).message}; the entry goes nevertheless`);
    }
    await node.configs.write(id, without(config, name));
  } finally {
    lock.release();
  }
}

async function remove(
  node: GuestNode,
  id: GuestId,
  section: ConfigSection,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const volumes = await snapshotVolumes(node, id, section);
  if ((await lookAtMachine(node, id, signal)).pid === undefined)
    return await deleteSnapshots(volumes, name, undefined, new Map());
  const nodes = await nodesByVolume(node, id);
  await withMonitor(node, id, async (monitor) => await deleteSnapshots(volumes, name, monitor, nodes));
}

function without(config: VmConfig, name: string): VmConfig {
  const parent = config.snapshots.get(name)?.values.get('parent');
  const reparented = (values: ReadonlyMap<string, string>): Map<string, string> => {
    const result = new Map(values);
    if (result.get('parent') !== name) return result;
    if (parent === undefined) result.delete('parent');
    else result.set('parent', parent);
    return result;
  };
  const rest = [...config.snapshots].filter(([each]) => each !== name);
  const values = reparented(config.values);
  values.delete('lock');
  return {
    ...config,
    values,
    snapshots: new Map(rest.map(([each, section]) => [each, { ...section, values: reparented(section.values) }])),
  };
}
