// qm move-disk: a disk of a stopped guest goes to another storage, or to another format.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { requireDigest } from '../config/config-store.ts';
import { printDrive } from '../config/drive.ts';
import { withSettings } from '../config/vm-config.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import type { ImageFormat } from '../storage/storage.ts';
import { requireUnlocked } from './config-lock.ts';
import { requireStopped } from './machine-state.ts';
import { formatOfCopy, NewVolumes } from './new-volumes.ts';
import { requireOwnDisk, snapshotsWith, withUnused } from './owned-volumes.ts';
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
  await withGuestLock(node, id, { signal }, async () => {
    await settle(node, id, report);
    const { config, digest } = await node.configs.read(id);
    requireUnlocked(id, config);
    requireDigest(id, digest, request.digest);
    await requireStopped(node, id, `its disks are moved while it is stopped: holdfast vm shutdown ${id}`, signal);
    const drive = requireOwnDisk(id, config, key);
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
      const format = formatOfCopy(drive, from, storage, request.format);
      const volume = await volumes.copy(from, storage, format, `${key}: copy of ${drive.file}`);
      const moved = { ...drive, file: volume.id, size: volume.sizeBytes, format: undefined };
      const changed = withSettings(config, { [key]: printDrive(moved) });
      const values = request.deletesOld ? changed.values : withUnused(changed.values, [drive.file]);
      await node.configs.write(id, { ...changed, values }, { digest });
    } catch (error) {
      await volumes.discard();
      throw error;
    }
    if (!request.deletesOld) return;
    const { storage, name } = await node.storages.resolve(drive.file);
    await storage.free(name).catch((error: Error) => report.warn(`${drive.file} is left behind: ${error.message}`));
  });
}
