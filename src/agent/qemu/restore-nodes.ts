// The block nodes of a disk while its guest runs from a backup. The disk keeps the nodes that it always has (f-, d-, t-), so that nothing is different when the
// stream is done: a qcow2 image gets the backup as its backing file; over a raw one lies an overlay, which a mirror takes out. Forms were tried with QEMU 7.2 and 10.0.
import { diskNodes, throttleNode } from '../../guests/qemu/disk-nodes.ts';
import type { PlannedDisk } from '../../guests/qemu/plan-disks.ts';
import type { QmpCommands } from '../../guests/qmp/qmp-types.ts';
import { HoldfastError } from '../../util/errors.ts';

/**
 * How long a read of the guest waits for whoever serves the backup to come back: for ever. Below a block-stream a read that fails does not reach the guest
 * as an error but as zeros (seen with QEMU 7.2).
 */
const RECONNECT_SECONDS = 365 * 24 * 60 * 60;

const streamNodes = (key: string) => ({ backup: `nbd-${key}`, overlay: `ov-${key}` });

export const streamJob = (key: string): string => `restore-${key}`;

/** What connects one disk to the backup. */
export interface StreamedDisk {
  readonly key: string;
  /** The export's name. */
  readonly archive: string;
  /** Path of the overlay of a raw disk. */
  readonly overlayPath: string | undefined;
}

/** Puts the backup below an empty disk of a guest that does not run yet. */
export async function graftBackup(
  monitor: QmpCommands,
  socketPath: string,
  disk: StreamedDisk,
  planned: PlannedDisk,
): Promise<void> {
  const { backup, overlay } = streamNodes(disk.key);
  await monitor.execute('blockdev-add', {
    driver: 'nbd',
    'node-name': backup,
    server: { type: 'unix', path: socketPath },
    export: disk.archive,
    'read-only': true,
    'reconnect-delay': RECONNECT_SECONDS,
  });
  const [file, format] = diskNodes(planned);
  if (disk.overlayPath === undefined) {
    await monitor.execute('blockdev-reopen', { options: [{ ...format, backing: backup }] });
    return;
  }
  await monitor.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': overlay,
    file: { driver: 'file', filename: disk.overlayPath },
    backing: backup,
  });
  // Without it a mirror writes zeros where the backup has holes. The throttle node above lets no more of the guest's through than it did.
  await monitor.execute('blockdev-reopen', {
    options: [file, format].map((node) => ({ ...node, discard: 'unmap' })),
  });
  await monitor.execute('blockdev-reopen', { options: [throttleNode(planned, overlay)] });
}

/** Begins to copy what the guest does not read by itself. `bytesPerSecond` 0 is without a limit. */
export async function startStream(monitor: QmpCommands, disk: StreamedDisk, bytesPerSecond: number): Promise<void> {
  const { overlay } = streamNodes(disk.key);
  const shared = { 'job-id': streamJob(disk.key), speed: bytesPerSecond };
  if (disk.overlayPath === undefined) {
    await monitor.execute('block-stream', { ...shared, device: `d-${disk.key}`, 'on-error': 'stop' });
    return;
  }
  await monitor.execute('blockdev-mirror', {
    ...shared,
    device: `t-${disk.key}`,
    replaces: overlay,
    target: `d-${disk.key}`,
    sync: 'full',
    'copy-mode': 'write-blocking',
    'on-source-error': 'stop',
    'on-target-error': 'stop',
  });
}

/** Takes out the nodes of a disk whose job is gone. Returns false when the disk still needs them: the job came to no good end. */
export async function cutFromBackup(monitor: QmpCommands, disk: StreamedDisk): Promise<boolean> {
  const { backup, overlay } = streamNodes(disk.key);
  try {
    if (disk.overlayPath !== undefined) await removeNode(monitor, overlay);
    await removeNode(monitor, backup);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'guest-failed' && /in use/i.test(error.message)) return false;
    throw error;
  }
  // No job flushes what it wrote.
  const words = await monitor.execute('human-monitor-command', { 'command-line': `qemu-io d-${disk.key} flush` });
  if (typeof words === 'string' && words.trim() !== '')
    throw new HoldfastError('target-failed', `${disk.key} is restored, but cannot be flushed: ${words.trim()}`);
  return true;
}

async function removeNode(monitor: QmpCommands, name: string): Promise<void> {
  try {
    await monitor.execute('blockdev-del', { 'node-name': name });
  } catch (error) {
    // Whoever was killed may have done it already.
    if (!(error instanceof HoldfastError) || !/Failed to find node/.test(error.message)) throw error;
  }
}
