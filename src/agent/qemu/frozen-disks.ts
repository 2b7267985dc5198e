// The disks of a running guest as they are at one instant, for as long as a backup reads them. A copy-before-write filter is swapped in below each throttle node by
// one `blockdev-reopen` for all disks; what the guest overwrites is copied to the fleece first, and a filter that cannot copy breaks the view and
// never the guest (`break-snapshot`). Order of building and of taking apart is QEMU's (docs/operations.md, "Backups of running guests").
import { throttleNode } from '../../guests/qemu/disk-nodes.ts';
import type { QmpClient } from '../../guests/qmp/qmp-client.ts';
import { ignoreRefusal, queryBlockExports, queryBlockNodes } from '../../guests/qmp/qmp-types.ts';
import type { DiskPlan } from './choose-base.ts';
import type { Fleece } from './fleece.ts';
import { addReadLimit, limitReads, passWaitingReads, removeReadLimit } from './read-limit.ts';
import { backupNames, isBackupExport, isBackupNode, type VmDisk } from './vm-disk.ts';

/** A drain waits for what the guest has under way. */
const SWAP_TIMEOUT_MS = 120_000;
/** How long a write of the guest may wait for the fleece before the view is given up: what Proxmox takes. */
export const COPY_TIMEOUT_SECONDS = 45;
const EXPORT_GONE_TIMEOUT_MS = 60_000;

/** Puts fleece and filter beside each disk; the guest does not see them yet. */
export async function addFilters(
  monitor: QmpClient,
  disks: readonly VmDisk[],
  fleece: Fleece,
  copyTimeoutSeconds: number,
): Promise<void> {
  for (const { key } of disks) {
    const names = backupNames(key);
    await monitor.execute('blockdev-add', fleece.node(key, names.fleece));
    await monitor.execute('blockdev-add', {
      driver: 'copy-before-write',
      'node-name': names.filter,
      file: `d-${key}`,
      target: names.fleece,
      'on-cbw-error': 'break-snapshot',
      'cbw-timeout': copyTimeoutSeconds,
    });
  }
}

/** The instant: all disks at once. */
export async function swapFiltersIn(monitor: QmpClient, disks: readonly VmDisk[]): Promise<void> {
  await reopen(monitor, disks, (key) => backupNames(key).filter);
}

export interface ExportOptions {
  readonly socketPath: string;
  /** Bytes a second of all disks together; undefined for no limit. */
  readonly bytesPerSecond: number | undefined;
}

/** Exports each disk's view under its key, with the bitmap that says what changed. Call after the swap. */
export async function exportViews(
  monitor: QmpClient,
  disks: readonly DiskPlan[],
  options: ExportOptions,
): Promise<void> {
  await monitor.execute('nbd-server-start', {
    addr: { type: 'unix', data: { path: options.socketPath } },
    'max-connections': 0,
  });
  await addReadLimit(monitor, options.bytesPerSecond);
  for (const { disk, since } of disks) {
    const names = backupNames(disk.key);
    await monitor.execute('blockdev-add', { driver: 'snapshot-access', 'node-name': names.view, file: names.filter });
    const top = await limitReads(monitor, disk.key, names.view, options.bytesPerSecond);
    await monitor.execute('block-export-add', {
      type: 'nbd',
      id: names.exportId,
      'node-name': top,
      name: disk.key,
      ...(since !== undefined && { bitmaps: [{ node: `d-${disk.key}`, name: since }] }),
    });
  }
}

/**
 * Takes apart whatever of a backup is in this QEMU, of this backup or of one that was killed. The fleece's daemon must be gone: a drain waits for what it has under
 * way. `disks` are all disks of the machine.
 */
export async function removeFilters(monitor: QmpClient, disks: readonly VmDisk[]): Promise<void> {
  const left = new Set((await queryBlockNodes(monitor)).map((node) => node.nodeName).filter(isBackupNode));
  const limited = disks.filter(({ key }) => left.has(backupNames(key).limit));
  await passWaitingReads(
    monitor,
    limited.map(({ key }) => ({ key, below: backupNames(key).view })),
  );
  for (const { id } of await queryBlockExports(monitor)) {
    if (!isBackupExport(id)) continue;
    const gone = monitor.waitForEvent('BLOCK_EXPORT_DELETED', ({ data }) => data.id === id, {
      timeoutMs: EXPORT_GONE_TIMEOUT_MS,
    });
    // The wait may end before the command that fails does: nobody listens to it then.
    gone.catch(() => undefined);
    await monitor.execute('block-export-del', { id, mode: 'hard' });
    await gone;
  }
  const drop = async (pick: (key: string) => string): Promise<void> => {
    for (const { key } of disks) {
      const name = pick(key);
      if (left.has(name)) await monitor.execute('blockdev-del', { 'node-name': name });
    }
  };
  await drop((key) => backupNames(key).limit);
  await drop((key) => backupNames(key).view);
  const swapped = disks.filter(({ key }) => left.has(backupNames(key).filter));
  await reopen(monitor, swapped, (key) => `d-${key}`);
  await drop((key) => backupNames(key).filter);
  await drop((key) => backupNames(key).fleece);
  await monitor.execute('nbd-server-stop').catch(ignoreRefusal);
  await removeReadLimit(monitor);
}

/** Whether anything of a backup is in this QEMU. */
export async function hasLeftovers(monitor: QmpClient): Promise<boolean> {
  const [nodes, exports] = [await queryBlockNodes(monitor), await queryBlockExports(monitor)];
  return nodes.some((node) => isBackupNode(node.nodeName)) || exports.some(({ id }) => isBackupExport(id));
}

async function reopen(monitor: QmpClient, disks: readonly VmDisk[], below: (key: string) => string): Promise<void> {
  // QEMU, of whatever version, aborts on an empty list, and the guest with it.
  if (disks.length === 0) return;
  const options = disks.map((disk) => throttleNode(disk, below(disk.key)));
  await monitor.execute('blockdev-reopen', { options }, { timeoutMs: SWAP_TIMEOUT_MS });
}
