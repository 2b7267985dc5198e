// Disks of a running QEMU: given to it, taken away, changed. A failed attachment leaves nothing in QEMU.
import { HoldfastError } from '../../util/errors.ts';
import { dropBitmaps } from '../bitmaps/qemu-bitmaps.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import {
  type Controllers,
  controllerDevices,
  type DiskPlan,
  diskDevice,
  diskNodes,
  nodeNames,
  type ThrottleLimits,
  throttleGroup,
} from './disk-nodes.ts';

/** A guest's system lets go of a disk in well under a second when it takes part at all; Proxmox waits as long. */
const DETACH_TIMEOUT_MS = 20_000;
const DIRECTIONS = ['total', 'read', 'write'] as const;

/** Names of the devices that have one: `scsi0`, `scsihw0`, ... */
export async function namedDevices(monitor: QmpClient): Promise<ReadonlySet<string>> {
  const entries = await monitor.execute<{ name: string }[]>('qom-list', { path: '/machine/peripheral' });
  return new Set(entries.map(({ name }) => name));
}

/** Whether this kind of disk can be attached and detached while a guest runs: scsi behind virtio, and virtio. */
export function isHotPluggable(disk: Pick<DiskPlan, 'bus' | 'media'>, { scsi }: Controllers): boolean {
  return disk.bus === 'virtio' || (disk.bus === 'scsi' && scsi.startsWith('virtio-scsi'));
}

/** @throws `guest-failed` with QEMU's words; nothing of the disk is in QEMU then. */
export async function attachDisk(monitor: QmpClient, disk: DiskPlan, controllers: Controllers): Promise<void> {
  const present = await namedDevices(monitor);
  for (const device of controllerDevices([disk], controllers))
    if (!present.has(String(device.id))) await monitor.execute('device_add', device);
  try {
    await addNodes(monitor, disk);
    await dropBitmaps(monitor, disk.key);
    await monitor.execute('device_add', diskDevice(disk, controllers));
  } catch (error) {
    await removeNodes(monitor, disk.key);
    throw error;
  }
}

/** @throws `timed-out` when the guest does not let go of it: it stays attached then. */
export async function detachDisk(monitor: QmpClient, key: string, signal?: AbortSignal): Promise<void> {
  const gone = monitor.waitForEvent('DEVICE_DELETED', ({ data }) => data.device === key, {
    timeoutMs: DETACH_TIMEOUT_MS,
    signal,
  });
  gone.catch(() => undefined);
  await monitor.execute('device_del', { id: key });
  try {
    await gone;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'timed-out') throw error;
    throw new HoldfastError(
      'timed-out',
      `${monitor.label}: the guest does not let go of ${key}; stop using it there, or shut the guest down`,
      {
        cause: error,
      },
    );
  }
  await removeNodes(monitor, key);
}

/** Puts another medium, or none, into a CD drive. */
export async function changeMedium(monitor: QmpClient, disk: DiskPlan): Promise<void> {
  const { key } = disk;
  await monitor.execute('blockdev-open-tray', { id: key, force: true });
  await monitor.execute('blockdev-remove-medium', { id: key });
  await removeNodes(monitor, key);
  if (disk.path !== undefined) {
    try {
      await addNodes(monitor, disk);
      await monitor.execute('blockdev-insert-medium', { id: key, 'node-name': nodeNames(key).throttle });
    } catch (error) {
      await removeNodes(monitor, key);
      throw error;
    }
  }
  await monitor.execute('blockdev-close-tray', { id: key });
}

/** I/O limits from now on; what is not among them has none. */
export async function setLimits(monitor: QmpClient, key: string, limits: ThrottleLimits): Promise<void> {
  const value: Record<string, number> = {};
  // QEMU keeps what is not named.
  for (const unit of ['bps', 'iops'])
    for (const direction of DIRECTIONS) {
      value[`${unit}-${direction}`] = 0;
      value[`${unit}-${direction}-max`] = 0;
      value[`${unit}-${direction}-max-length`] = 1;
    }
  const path = `/objects/${nodeNames(key).group}`;
  await monitor.execute('qom-set', { path, property: 'limits', value: { ...value, ...limits } });
}

async function addNodes(monitor: QmpClient, disk: DiskPlan): Promise<void> {
  await monitor.execute('object-add', throttleGroup(disk));
  for (const node of diskNodes(disk)) await monitor.execute('blockdev-add', node);
}

/** From the top; what is not there is left out. */
async function removeNodes(monitor: QmpClient, key: string): Promise<void> {
  const { throttle, format, file, group } = nodeNames(key);
  for (const name of [throttle, format, file])
    await monitor.execute('blockdev-del', { 'node-name': name }).catch(ignoreAbsent);
  await monitor.execute('object-del', { id: group }).catch(ignoreAbsent);
}

function ignoreAbsent(error: unknown): void {
  const words = error instanceof HoldfastError ? String(error.data.desc) : '';
  if (!/not found|Failed to find|Cannot find/i.test(words)) throw error;
}
