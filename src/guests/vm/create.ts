// qm create: a new guest from settings. The VMID is taken first, so that nobody else makes the same; what fails leaves neither configuration nor volume.
import type { GuestId } from '../../schema/guest-names.ts';
import { isDiskKey, parseDrive, printDrive } from '../config/drive.ts';
import { freshIdentity } from '../config/identity.ts';
import { EMPTY_CONFIG, withSettings } from '../config/vm-config.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { qemuVersion } from '../qemu/qemu-program.ts';
import { checkGivenSettings, type Settings } from './checked-settings.ts';
import { removeGuestFiles } from './guest-files.ts';
import { NewVolumes } from './new-volumes.ts';
import { reserveGuest } from './reserve.ts';
import { startLocked } from './start.ts';

export interface CreateOptions {
  readonly signal?: AbortSignal | undefined;
  /** Starts it when it is made; a start that fails leaves the guest. */
  readonly start?: boolean;
}

/**
 * `settings` are keys of the configuration; `STORAGE:SIZE` makes a volume.
 * @throws `exists`, `bad-argument`, `not-found` (storage, import), and what making volumes throws; nothing is left then.
 */
export async function createVm(
  node: GuestNode,
  id: GuestId,
  settings: Settings,
  { signal, start = false }: CreateOptions,
  report: Report,
): Promise<void> {
  const { lock: _lock, ...given } = await checkGivenSettings(settings, signal);
  const lock = await reserveGuest(node, id, 'create', signal);
  try {
    const volumes = new NewVolumes(node, id, report, signal);
    try {
      const made: Record<string, string> = {};
      for (const [key, value] of Object.entries(given))
        made[key] = isDiskKey(key) ? printDrive(await volumes.provide(parseDrive(key, value))) : value;
      const meta = `creation-qemu=${await qemuVersion(node.qemu)},ctime=${Math.floor(Date.now() / 1000)}`;
      await node.configs.write(id, withSettings(EMPTY_CONFIG, { ...freshIdentity(), meta, ...made }));
    } catch (error) {
      await volumes.discard();
      await node.configs.remove(id);
      await removeGuestFiles(node, id);
      throw error;
    }
    if (start) await startLocked(node, id, { signal }, report);
  } finally {
    lock.release();
  }
}
