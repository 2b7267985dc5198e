// qm resize: a disk grows, also while its guest runs, which is told.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { requireDigest } from '../config/config-store.ts';
import { printDrive } from '../config/drive.ts';
import { parseSize } from '../config/size.ts';
import { withSettings } from '../config/vm-config.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { nodeNames } from '../qemu/disk-nodes.ts';
import { readRunningMachine } from '../qemu/running-machine.ts';
import { queryBlockNodes } from '../qmp/qmp-types.ts';
import { requireUnlocked } from './config-lock.ts';
import { lookAtMachine, withMonitor } from './machine-state.ts';
import { requireOwnDisk } from './owned-volumes.ts';
import { settle } from './put-away.ts';
import { noteTakenOver } from './started-config.ts';

export interface ResizeRequest {
  /** `scsi0`. */
  readonly disk: string;
  /** `32G`, or `+1G`. */
  readonly size: string;
  readonly digest?: string | undefined;
  readonly skipLock?: boolean;
  readonly signal?: AbortSignal | undefined;
}

const SECTOR_BYTES = 512;
/** New tables of a large qcow2 image on a slow disk. */
const RESIZE_TIMEOUT_MS = 120_000;

/** The new size in bytes. @throws `bad-argument` (no such disk, not a size, less than it has), `config-changed`, `guest-locked`, `disk-full`. */
export async function resizeVm(node: GuestNode, id: GuestId, request: ResizeRequest, report: Report): Promise<number> {
  const { disk: key, signal } = request;
  return await withGuestLock(node, id, { signal }, async () => {
    await settle(node, id, report);
    const { config, digest } = await node.configs.read(id);
    requireDigest(id, digest, request.digest);
    if (request.skipLock !== true) requireUnlocked(id, config);
    const drive = requireOwnDisk(id, config, key);
    if (drive.bus === 'efidisk' || drive.bus === 'tpmstate')
      throw new HoldfastError('bad-argument', `${key} has the size that its firmware takes, and does not grow`, {
        data: { vmid: id, key },
      });
    const sizeBytes = await grow(node, id, drive.file, request);
    const changed = withSettings(config, { [key]: printDrive({ ...drive, size: sizeBytes }) });
    await node.configs.write(id, changed);
    await noteTakenOver(node, id, changed.values, [key]);
    report.log(`${key} has ${sizeBytes} bytes now`);
    return sizeBytes;
  });
}

async function grow(node: GuestNode, id: GuestId, volume: string, { size, signal }: ResizeRequest): Promise<number> {
  const running = await runningKey(node, id, volume, signal);
  if (running === undefined) {
    const { storage, name } = await node.storages.resolve(volume);
    const found = (await storage.list({ vmid: id, content: 'images' }, signal)).find((each) => each.name === name);
    if (found === undefined) throw new HoldfastError('not-found', `volume '${volume}' does not exist`);
    const wanted = wantedSize(size, found.sizeBytes);
    await storage.resize(name, wanted, signal);
    return wanted;
  }
  const { format, throttle } = nodeNames(running);
  return await withMonitor(
    node,
    id,
    async (monitor) => {
      const present =
        (await queryBlockNodes(monitor)).find(({ nodeName }) => nodeName === format)?.virtualSizeBytes ?? 0;
      const wanted = wantedSize(size, present);
      // On the node that the device sees: below it, the guest would not hear of it.
      await monitor.execute('block_resize', { 'node-name': throttle, size: wanted }, { timeoutMs: RESIZE_TIMEOUT_MS });
      return wanted;
    },
    signal,
  );
}

/** The key under which a running QEMU has the volume. */
async function runningKey(
  node: GuestNode,
  id: GuestId,
  volume: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if ((await lookAtMachine(node, id, signal)).pid === undefined) return undefined;
  const { disks } = await readRunningMachine(node.directory.run(id));
  return disks.find((disk) => disk.volume === volume && !disk.isReadOnly)?.key;
}

/** @throws `bad-argument` for what is no size, or less than the disk has: what is cut off would be lost. */
function wantedSize(size: string, present: number): number {
  const bytes = size.startsWith('+') ? present + parseSize(size.slice(1)) : parseSize(size);
  const wanted = Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
  if (wanted >= present) return wanted;
  throw new HoldfastError(
    'bad-argument',
    `a disk of ${present} bytes does not shrink to ${wanted}: what is cut off would be lost`,
  );
}
