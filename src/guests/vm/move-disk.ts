// qm move-disk: a disk of a stopped guest goes to another storage, or to another format.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { isDiskKey, parseDrive, printDrive } from '../config/drive.ts';
import { withSettings } from '../config/vm-config.ts';
import { lockGuest } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import type { ImageFormat } from '../storage/storage.ts';
import { requireUnlocked } from './config-lock.ts';
import { lookAtMachine } from './machine-state.ts';
import { defaultFormat, NewVolumes } from './new-volumes.ts';
import { isOwnVolume, snapshotsWith, withUnused } from './owned-volumes.ts';
import { settle } from './put-away.ts';

export interface MoveDiskRequest {
  /** `scsi0`. */
  readonly disk: string;
  readonly storage: string;
  readonly format?: ImageFormat | undefined;
  /** The old volume is freed; else it becomes an unused one. */
  readonly deletesOld: boolean;
  readonly digest?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws `guest-running`, `guest-locked`, `bad-argument`, `config-changed`, `protected` (a snapshot has the old volume), and what copying throws. */
export async function moveDisk(node: GuestNode, id: GuestId, request: MoveDiskRequest, report: Report): Promise<void> {
  const { disk: key, signal } = request;
  await node.configs.read(id);
  const lock = await lockGuest(node.directory, id, { signal });
  try {
    await settle(node, id, report);
    const { config, digest } = await node.configs.read(id);
    requireUnlocked(id, config);
    if ((await lookAtMachine(node, id, signal)).pid !== undefined)
      throw new HoldfastError(
        'guest-running',
        `VM ${id} is running; its disks are moved while it is stopped: holdfast vm shutdown ${id}`,
        { data: { vmid: id } },
      );
    const value = config.values.get(key);
    const drive = value === undefined || !isDiskKey(key) ? undefined : parseDrive(key, value);
    if (drive === undefined || drive.media !== 'disk' || !isOwnVolume(drive.file, id))
      throw new HoldfastError('bad-argument', `VM ${id} has no disk '${key}' of its own`, { data: { vmid: id, key } });
    const [snapshot] = snapshotsWith(config, drive.file);
    if (request.deletesOld && snapshot !== undefined)
      throw new HoldfastError(
        'protected',
        `VM ${id}: ${drive.file} is part of the snapshot '${snapshot}'; keep it, or delete that first`,
      );
    const volumes = new NewVolumes(node, id, report, signal);
    try {
      const from = await node.storages.volume(drive.file);
      const storage = await node.storages.get(request.storage);
      const format = request.format ?? (from.storage.id === storage.id ? from.format : defaultFormat(storage));
      const volume = await volumes.copy(from, storage, format, `${key}: copy of ${drive.file}`);
      const moved = { ...drive, file: volume.id, size: volume.sizeBytes, format: undefined };
      const changed = withSettings(config, { [key]: printDrive(moved) });
      const values = request.deletesOld ? changed.values : withUnused(changed.values, [drive.file]);
      await node.configs.write(id, { ...changed, values }, { digest: request.digest ?? digest });
    } catch (error) {
      await volumes.discard();
      throw error;
    }
    if (!request.deletesOld) return;
    const { storage, name } = await node.storages.resolve(drive.file);
    await storage.free(name).catch((error: Error) => report.warn(`${drive.file} is left behind: ${error.message}`));
  } finally {
    lock.release();
  }
}
