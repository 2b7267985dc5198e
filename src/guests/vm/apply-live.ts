// Changes of a configuration that a running guest takes over at once: disks that come and go, I/O limits, the medium of a CD drive, the link of a network card.
// Everything else waits for its next start.
import type { GuestId } from '../../schema/guest-names.ts';
import { bootOrder } from '../config/boot-order.ts';
import { type Drive, isDiskKey, parseDrive, printDrive } from '../config/drive.ts';
import { isNetKey, parseNetDevice, printNetDevice } from '../config/net-device.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { setTapLink } from '../network/connect-network.ts';
import type { Controllers } from '../qemu/disk-nodes.ts';
import { attachDisk, changeMedium, detachDisk, isHotPluggable, namedDevices, setLimits } from '../qemu/live-disks.ts';
import { planDisk, throttleLimits } from '../qemu/plan-disks.ts';
import { readRunningMachine, runningDisk, writeRunningMachine } from '../qemu/running-machine.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { setLink } from './set-link.ts';

/** Drives of these do not come and go while a guest runs. */
const FIXED = /^(efidisk|tpmstate)/;

export interface LiveChange {
  readonly node: GuestNode;
  readonly id: GuestId;
  readonly monitor: QmpClient;
  /** What runs. */
  readonly before: VmConfig;
  readonly after: VmConfig;
  readonly report: Report;
  readonly signal?: AbortSignal | undefined;
}

/** The keys that the guest has taken over; after a failure it is as it was, as far as it lets itself. @throws `timed-out`, `guest-failed`. */
export async function applyLive(change: LiveChange, keys: readonly string[]): Promise<string[]> {
  const taken: string[] = [];
  try {
    for (const key of keys) if (await applyKey(change, key)) taken.push(key);
    return taken;
  } catch (error) {
    await undoLive(change, taken);
    throw error;
  }
}

/** Takes back what `applyLive` did. What the guest does not give back is told. */
export async function undoLive(change: LiveChange, taken: readonly string[]): Promise<void> {
  const back = { ...change, before: change.after, after: change.before, signal: undefined };
  for (const key of [...taken].reverse())
    await applyKey(back, key).catch((error: Error) =>
      change.report.warn(`${key} of the running guest is not as it is configured: ${error.message}`),
    );
}

async function applyKey(change: LiveChange, key: string): Promise<boolean> {
  const [old, now] = [change.before.values.get(key), change.after.values.get(key)];
  if (old === now) return true;
  if (isNetKey(key)) return old !== undefined && now !== undefined && (await applyNet(change, key, old, now));
  if (!isDiskKey(key) || FIXED.test(key)) return false;
  const [oldDrive, drive] = [old, now].map((value) => (value === undefined ? undefined : parseDrive(key, value)));
  if (oldDrive?.file === drive?.file && oldDrive !== undefined && drive !== undefined)
    return await applyOptions(change, oldDrive, drive);
  if (oldDrive?.media === 'cdrom' && drive?.media === 'cdrom') return await applyMedium(change, drive);
  if (oldDrive?.media === 'cdrom' || drive?.media === 'cdrom') return false;
  return await applyDisk(change, oldDrive, drive);
}

async function applyNet({ id, monitor }: LiveChange, key: string, old: string, now: string): Promise<boolean> {
  const [before, after] = [parseNetDevice(key, old), parseNetDevice(key, now)];
  if (printNetDevice({ ...before, linkDown: undefined }) !== printNetDevice({ ...after, linkDown: undefined }))
    return false;
  await setLink(monitor, key, after.linkDown !== true);
  await setTapLink(id, after.index, after.linkDown !== true);
  return true;
}

/** I/O limits alone, or what a backup takes; other options are of the device. */
async function applyOptions({ node, id, monitor }: LiveChange, old: Drive, drive: Drive): Promise<boolean> {
  const plain = ({ limits: _limits, ...rest }: Drive): string =>
    printDrive({ ...rest, limits: {}, backup: true, size: undefined, given: new Set() });
  if (plain(old) !== plain(drive)) return false;
  if (drive.file !== 'none') await setLimits(monitor, drive.key, throttleLimits(drive));
  const run = node.directory.run(id);
  const machine = await readRunningMachine(run);
  const disks = machine.disks.map((disk) =>
    disk.key === drive.key ? { ...disk, isBackedUp: drive.backup && drive.media === 'disk' } : disk,
  );
  await writeRunningMachine(run, { ...machine, disks });
  return true;
}

async function applyMedium({ node, id, monitor }: LiveChange, drive: Drive): Promise<boolean> {
  const disk = await planDisk(drive, node.storages, []);
  await changeMedium(monitor, disk);
  await replaceRunningDisk(node, id, drive.key, runningDisk(disk));
  return true;
}

async function applyDisk(change: LiveChange, old: Drive | undefined, drive: Drive | undefined): Promise<boolean> {
  const { node, id, monitor, after, signal } = change;
  const { disks, machineType } = await readRunningMachine(node.directory.run(id));
  const family = machineType.includes('q35') ? 'q35' : 'i440fx';
  const controllers: Controllers = { family, scsi: after.values.get('scsihw') ?? 'lsi' };
  const pluggable = (each: Drive | undefined): boolean =>
    each === undefined || isHotPluggable({ bus: each.bus as 'scsi', media: each.media }, controllers);
  if (!pluggable(old) || !pluggable(drive) || !(await mayPlug(change, controllers))) return false;
  const key = (drive ?? old)?.key ?? '';
  if (disks.some((disk) => disk.key === key)) {
    await detachDisk(monitor, key, signal);
    await replaceRunningDisk(node, id, key, undefined);
  }
  if (drive === undefined) return true;
  const plan = { ...(await planDisk(drive, node.storages, bootOrder(after.values))), bootIndex: undefined };
  await attachDisk(monitor, plan, controllers);
  await replaceRunningDisk(node, id, key, runningDisk(plan));
  return true;
}

/** `hotplug` says whether disks may; a machine with another controller than the configuration has now has to be started anew. */
async function mayPlug({ after, before, monitor }: LiveChange, { scsi }: Controllers): Promise<boolean> {
  const hotplug = after.values.get('hotplug') ?? '1';
  if (hotplug !== '1' && !hotplug.split(/[,;\s]+/).includes('disk')) return false;
  if ((before.values.get('scsihw') ?? 'lsi') !== scsi) return false;
  // A bridge cannot come while it runs, and the disks of these are behind one.
  return scsi !== 'virtio-scsi-single' || (await namedDevices(monitor)).has('pci.3');
}

async function replaceRunningDisk(
  node: GuestNode,
  id: GuestId,
  key: string,
  disk: ReturnType<typeof runningDisk>,
): Promise<void> {
  const run = node.directory.run(id);
  const machine = await readRunningMachine(run);
  const others = machine.disks.filter((each) => each.key !== key);
  await writeRunningMachine(run, { ...machine, disks: disk === undefined ? others : [...others, disk] });
}
