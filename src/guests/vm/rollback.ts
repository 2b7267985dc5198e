// qm rollback: the disks and the configuration are as they were. A running guest is stopped for it. What is checked is checked before anything changes.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { dropBitmapRecords } from '../bitmaps/bitmap-records.ts';
import { dropSidecars } from '../bitmaps/sidecars.ts';
import { isUnusedKey } from '../config/drive.ts';
import { freshIdentity } from '../config/identity.ts';
import { type ConfigSection, type VmConfig, withSettings } from '../config/vm-config.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { requireUnlocked } from './config-lock.ts';
import { requireSnapshot } from './list-snapshots.ts';
import { lookAtMachine } from './machine-state.ts';
import { disksOf, isOwnVolume, withUnused } from './owned-volumes.ts';
import { putAway } from './put-away.ts';
import { type SnapshotVolume, snapshotVolumes } from './snapshot-volumes.ts';
import { startLocked } from './start.ts';

export interface RollbackOptions {
  readonly signal?: AbortSignal | undefined;
  readonly start?: boolean;
}

/** Keys of a snapshot that are about the snapshot. */
const OF_SNAPSHOT = [
  'snaptime',
  'snapstate',
  'vmstate',
  'parent',
  'runningmachine',
  'runningcpu',
  'running-nets-host-mtu',
];

/**
 * Disks that are newer than the snapshot become unused ones. Not broken off by a signal once it has begun.
 * @throws `not-found`, `guest-locked`, `target-unfit`; what a storage throws leaves `lock: rollback`: some disks are of then and some of now, so do it again.
 */
export async function rollbackVm(
  node: GuestNode,
  id: GuestId,
  name: string,
  { signal, start = false }: RollbackOptions,
  report: Report,
): Promise<void> {
  await withGuestLock(node, id, { signal }, async () => {
    const { config } = await node.configs.read(id);
    if (config.values.get('lock') !== 'rollback') requireUnlocked(id, config);
    const section = requireSnapshot(id, config, name);
    if (section.values.has('snapstate'))
      throw new HoldfastError(
        'target-unfit',
        `VM ${id}: snapshot '${name}' did not become whole; delete it: holdfast vm delsnapshot ${id} ${name}`,
      );
    const volumes = await snapshotVolumes(node, id, section);
    await requireSnapshots(id, volumes, name);
    await node.configs.write(id, withSettings(config, { lock: 'rollback' }));
    if ((await lookAtMachine(node, id)).pid !== undefined) await putAway(node, id, report);
    // Before the first byte changes: nothing that was recorded is true from here on.
    await dropBitmapRecords(node.directory, id);
    await dropSidecars(
      node.directory,
      id,
      disksOf(config).map(({ key }) => key),
    );
    for (const each of volumes) {
      await each.storage.rollback(each.name, name);
      report.log(`${each.key}: back at '${name}'`);
    }
    await node.configs.write(id, asOf(config, section, name, id));
    if (start) await startLocked(node, id, { signal }, report);
  });
}

async function requireSnapshots(id: GuestId, volumes: readonly SnapshotVolume[], name: string): Promise<void> {
  for (const each of volumes)
    if (!(await each.storage.snapshots(each.name)).includes(name))
      throw new HoldfastError(
        'not-found',
        `VM ${id}: ${each.key} (${each.volume}) has no snapshot '${name}'; nothing was changed`,
        {
          data: { vmid: id },
        },
      );
}

function asOf(config: VmConfig, section: ConfigSection, name: string, id: GuestId): VmConfig {
  const then = [...section.values].filter(([key]) => !OF_SNAPSHOT.includes(key));
  const unused = [...config.values].filter(([key]) => isUnusedKey(key));
  const values = new Map([...then, ...unused, ['parent', name] as const]);
  if ((values.get('vmgenid') ?? '0') !== '0') values.set('vmgenid', freshIdentity().vmgenid);
  const here = disksOf(section).map(({ file }) => file);
  for (const [key, value] of unused) if (here.includes(value)) values.delete(key);
  const newer = disksOf(config).map(({ file }) => file);
  return {
    ...config,
    values: withUnused(
      values,
      newer.filter((file) => isOwnVolume(file, id)),
    ),
  };
}
