// qm delsnapshot: a snapshot goes from all disks, then from the configuration; what stood on it stands on what it stood on.
import type { GuestId } from '../../schema/guest-names.ts';
import { type VmConfig, withSettings } from '../config/vm-config.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { requireSnapshot } from './list-snapshots.ts';
import { settle } from './put-away.ts';
import { deleteSnapshots, snapshotVolumes } from './snapshot-volumes.ts';

export interface DeleteSnapshotOptions {
  readonly signal?: AbortSignal | undefined;
  /** The entry goes also when a disk's snapshot cannot. */
  readonly force?: boolean;
}

/** Words of `lock` that such a snapshot leaves; any other is of somebody who is at work. */
const OF_SNAPSHOTS: readonly (string | undefined)[] = ['snapshot', 'snapshot-delete'];

/** @throws `not-found`, `guest-locked`, and what deleting throws: call it again then. */
export async function deleteSnapshotVm(
  node: GuestNode,
  id: GuestId,
  name: string,
  { signal, force = false }: DeleteSnapshotOptions,
  report: Report,
): Promise<void> {
  await withGuestLock(node, id, { signal }, async () => {
    await settle(node, id, report);
    const { config } = await node.configs.read(id);
    // One that was cut off while it was made or deleted is deleted like another.
    const isCutOff = config.snapshots.get(name)?.values.has('snapstate') === true;
    if (!isCutOff || !OF_SNAPSHOTS.includes(config.values.get('lock'))) requireUnlocked(id, config);
    const section = requireSnapshot(id, config, name);
    const forced = (error: unknown): void => {
      if (!force) throw error;
      report.warn(`${(error as Error).message}; the entry goes nevertheless`);
    };
    const volumes = await snapshotVolumes(node, id, section).catch((error: unknown) => {
      forced(error);
      return [];
    });
    const begun = { ...section, values: new Map([...section.values, ['snapstate', 'delete'] as const]) };
    const marked = { ...config, snapshots: new Map([...config.snapshots, [name, begun]]) };
    await node.configs.write(id, withSettings(marked, { lock: 'snapshot-delete' }));
    try {
      await deleteSnapshots({ node, id, signal }, volumes, name);
    } catch (error) {
      // Some disks may have it no more, so it stays marked.
      if (!force) await node.configs.write(id, withSettings(marked, {}, ['lock']));
      forced(error);
    }
    await node.configs.write(id, without(config, name));
  });
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
