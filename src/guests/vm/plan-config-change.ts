// What a change of settings makes of a configuration: drives with their volumes made, disks that were removed put aside or to be freed.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { isDiskKey, isUnusedKey, parseDrive, printDrive } from '../config/drive.ts';
import { type VmConfig, withSettings } from '../config/vm-config.ts';
import type { Settings } from './checked-settings.ts';
import type { NewVolumes } from './new-volumes.ts';
import { isCloudInitDrive, isOwnVolume, snapshotsWith, withUnused } from './owned-volumes.ts';

export interface ConfigChange {
  readonly set: Settings;
  readonly remove: readonly string[];
  /** Volumes of removed disks are freed, and do not become unused ones. */
  readonly force?: boolean;
}

export interface PlannedChange {
  readonly config: VmConfig;
  readonly keys: readonly string[];
  /** Volumes that go when the configuration no longer names them. */
  readonly freed: readonly string[];
}

/** Makes the volumes that are asked for, and changes nothing else. @throws `protected` for a volume that a snapshot has, and what making volumes throws. */
export async function planConfigChange(
  id: GuestId,
  config: VmConfig,
  { set, remove, force = false }: ConfigChange,
  volumes: NewVolumes,
): Promise<PlannedChange> {
  const drives: Record<string, string> = {};
  for (const [key, value] of Object.entries(set))
    if (isDiskKey(key)) drives[key] = printDrive(await volumes.provide(keepSize(parseDrive(key, value), config)));
  const changed = withSettings(config, { ...set, ...drives }, remove);
  const dropped = new Map<string, boolean>();
  for (const key of [...remove, ...Object.keys(drives)]) {
    const value = config.values.get(key);
    if (value === undefined || !(isDiskKey(key) || isUnusedKey(key))) continue;
    const drive = parseDrive(key, value);
    if (!isOwnVolume(drive.file, id)) continue;
    // What is only made from settings, and what was put aside before, is not put aside again.
    const goes = isUnusedKey(key) || isCloudInitDrive(drive) || (force && remove.includes(key));
    if (isUnusedKey(key) || drive.media === 'disk' || isCloudInitDrive(drive)) dropped.set(drive.file, goes);
  }
  const attached = new Set(
    [...changed.values].filter(([key]) => isDiskKey(key)).map(([key, value]) => parseDrive(key, value).file),
  );
  const values = new Map(
    [...changed.values].filter(([key, value]) => !isUnusedKey(key) || !attached.has(parseDrive(key, value).file)),
  );
  const left = [...dropped].filter(([file]) => !attached.has(file));
  const freed = left.filter(([, goes]) => goes).map(([file]) => file);
  for (const file of freed) {
    const [snapshot] = snapshotsWith(config, file);
    if (snapshot !== undefined)
      throw new HoldfastError(
        'protected',
        `VM ${id}: ${file} is part of the snapshot '${snapshot}'; delete that first`,
        { data: { vmid: id } },
      );
  }
  const aside = left.filter(([, goes]) => !goes).map(([file]) => file);
  return { config: { ...changed, values: withUnused(values, aside) }, keys: [...remove, ...Object.keys(set)], freed };
}

/** A drive that is given without its size keeps it. */
function keepSize(drive: ReturnType<typeof parseDrive>, config: VmConfig): ReturnType<typeof parseDrive> {
  const before = config.values.get(drive.key);
  if (drive.size !== undefined || before === undefined) return drive;
  const old = parseDrive(drive.key, before);
  return old.file === drive.file ? { ...drive, size: old.size } : drive;
}
