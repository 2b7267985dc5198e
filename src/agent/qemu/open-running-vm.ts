// A running guest, opened for its backup. New bitmaps are added before the point in time and old ones disabled after it, so that both say too much rather
// than too little; whatever fails in between is undone by the same two pieces that clean up after a crash.
import { rm, writeFile } from 'node:fs/promises';
import { BITMAP_GRANULARITY } from '../../guests/bitmaps/bitmap-names.ts';
import { type BitmapRecords, readBitmapRecords } from '../../guests/bitmaps/bitmap-records.ts';
import { listBitmaps, reconcileBitmaps } from '../../guests/bitmaps/qemu-bitmaps.ts';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import { readRunningMachine } from '../../guests/qemu/running-machine.ts';
import { whileFrozen } from '../../guests/qmp/freeze.ts';
import { QmpClient } from '../../guests/qmp/qmp-client.ts';
import { queryBlockNodes, queryStatus } from '../../guests/qmp/qmp-types.ts';
import { thawForgotten } from '../../guests/vm/thaw-forgotten.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Base } from '../backup/session.ts';
import { type BasePlan, chooseBase } from './choose-base.ts';
import { readDirtyRanges } from './dirty-ranges.ts';
import { type Fleece, isServed } from './fleece.ts';
import { addFilters, exportViews, hasLeftovers, removeFilters, swapFiltersIn } from './frozen-disks.ts';
import type { OpenedVm } from './opened-vm.ts';
import { recordBitmaps } from './record-bitmaps.ts';
import type { VmDisk } from './vm-disk.ts';

const MONITOR_TIMEOUT_MS = 10_000;

export interface OpenVmOptions {
  readonly node: GuestNode;
  readonly id: GuestId;
  /** Of the bitmaps. */
  readonly target: string;
  readonly bases: readonly Base[];
  /** Makes room for what the guest overwrites; called with the disks that are backed up. */
  readonly startFleece: (disks: readonly VmDisk[]) => Promise<Fleece>;
  /** Whether the agent in the guest is asked to freeze its file systems. */
  readonly freezes: boolean;
  /** How long a write of the guest may wait for the fleece. */
  readonly copyTimeoutSeconds: number;
  /** Reading, all disks together; undefined for no limit. */
  readonly bytesPerSecond: number | undefined;
  /** What else is to be of the same instant; the guest's file systems are frozen meanwhile. */
  readonly atTheInstant: () => Promise<void>;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** Call with the backup's lock. @throws `guest-stopped`, `guest-failed`, `aborted`; the guest is as it was then. */
export async function openRunningVm(options: OpenVmOptions): Promise<OpenedVm> {
  const { node, id, report } = options;
  const run = node.directory.run(id);
  const label = `VM ${id}`;
  const monitor = await QmpClient.connect(run.backupMonitor, { label, timeoutMs: MONITOR_TIMEOUT_MS });
  try {
    const all = await machineDisks(node, id, monitor);
    await cleanUpRunningVm(monitor, node, id, all, report);
    const disks = all.filter((disk) => disk.isBackedUp);
    const records = await readBitmapRecords(node.directory, id);
    const bitmaps = await listBitmaps(monitor);
    const plan = chooseBase(options.target, disks, bitmaps, records[options.target], options.bases);
    return await freezeDisks(monitor, plan, all, records, options);
  } catch (error) {
    monitor.close();
    throw error;
  }
}

async function freezeDisks(
  monitor: QmpClient,
  plan: BasePlan,
  all: readonly VmDisk[],
  records: BitmapRecords,
  options: OpenVmOptions,
): Promise<OpenedVm> {
  const { node, id, report, signal } = options;
  const run = node.directory.run(id);
  const disks = plan.disks.map(({ disk }) => disk);
  let fleece: Fleece | undefined;
  const takeApart = async (): Promise<void> => {
    // First of all the fleece: nothing waits for its storage any more, and a filter that breaks breaks without harm.
    if (fleece !== undefined && !(await fleece.end()))
      throw new HoldfastError(
        'timed-out',
        `VM ${id}: the storage of the fleece hangs, so the backup's filter stays in the running guest, which goes on; it is taken out by the next backup once the storage answers`,
      );
    await removeFilters(
      monitor,
      all.map((disk) => ({ disk })),
    );
  };
  const abandon = async (): Promise<void> => {
    try {
      await takeApart();
      await reconcileBitmaps(monitor, records);
    } finally {
      monitor.close();
    }
  };
  try {
    fleece = await options.startFleece(disks);
    await addFilters(monitor, plan.disks, fleece, options.copyTimeoutSeconds);
    await addBitmaps(monitor, plan);
    signal.throwIfAborted();
    await pointInTime(monitor, plan, options);
    await exportViews(monitor, plan.disks, { socketPath: run.exports, bytesPerSecond: options.bytesPerSecond });
    const changed = new Map();
    for (const { disk, since } of plan.disks) {
      if (since === undefined) continue;
      const place = { socketPath: run.exports, exportName: disk.key, bitmap: since };
      changed.set(disk.key, await readDirtyRanges(place, signal));
    }
    const started = fleece;
    return {
      plan,
      sources: new Map(disks.map(({ key }) => [key, `nbd+unix:///${key}?socket=${encodeURIComponent(run.exports)}`])),
      changed,
      broken: () => started.broken,
      finish: async (manifest) => {
        await recordBitmaps(node, id, options.target, plan, manifest);
        try {
          await takeApart();
          await reconcileBitmaps(monitor, await readBitmapRecords(node.directory, id));
        } finally {
          monitor.close();
        }
      },
      abandon,
    };
  } catch (error) {
    await abandon().catch((problem: Error) => report.warn(`cleaning up failed: ${problem.message}`));
    throw error;
  }
}

async function machineDisks(node: GuestNode, id: GuestId, monitor: QmpClient): Promise<VmDisk[]> {
  const machine = await readRunningMachine(node.directory.run(id));
  const sizes = new Map((await queryBlockNodes(monitor)).map((each) => [each.nodeName, each.virtualSizeBytes]));
  return machine.disks.map((disk) => {
    const sizeBytes = sizes.get(`d-${disk.key}`);
    if (sizeBytes === undefined)
      throw new HoldfastError('guest-failed', `VM ${id}: QEMU has no disk ${disk.key} although it was started with it`);
    return { ...disk, sizeBytes };
  });
}

/** Thaws what a backup that was killed left frozen, removes what it left in QEMU, and settles its bitmaps. */
async function cleanUpRunningVm(
  monitor: QmpClient,
  node: GuestNode,
  id: GuestId,
  disks: readonly VmDisk[],
  report: Report,
): Promise<void> {
  await thawForgotten(node, id, report);
  if (await hasLeftovers(monitor)) {
    if (await isServed(node.directory.run(id).path))
      throw new HoldfastError(
        'guest-failed',
        `VM ${id}: the fleece of an earlier backup still hangs, and taking it out would freeze the guest; bring its storage back first`,
      );
    report.warn('an earlier backup was cut off; what it left in the guest is removed');
  }
  // Also without nodes of it: its NBD server and its limit go last.
  await removeFilters(
    monitor,
    disks.map((disk) => ({ disk })),
  );
  await reconcileBitmaps(monitor, await readBitmapRecords(node.directory, id));
}

async function addBitmaps(monitor: QmpClient, plan: BasePlan): Promise<void> {
  const actions = plan.disks
    .filter(({ disk }) => !disk.isReadOnly)
    .map(({ disk, next }) => ({
      type: 'block-dirty-bitmap-add',
      data: { node: `d-${disk.key}`, name: next, granularity: BITMAP_GRANULARITY, persistent: disk.format === 'qcow2' },
    }));
  if (actions.length > 0) await monitor.execute('transaction', { actions });
}

async function pointInTime(monitor: QmpClient, plan: BasePlan, options: OpenVmOptions): Promise<void> {
  const { node, id, report, signal } = options;
  const run = node.directory.run(id);
  const swap = async (): Promise<void> => {
    await swapFiltersIn(monitor, plan.disks);
    await options.atTheInstant();
    const actions = plan.disks
      .filter(({ since }) => since !== undefined)
      .map(({ disk, since }) => ({ type: 'block-dirty-bitmap-disable', data: { node: `d-${disk.key}`, name: since } }));
    if (actions.length > 0) await monitor.execute('transaction', { actions });
  };
  const isRunning = (await queryStatus(monitor)).status === 'running';
  // A guest that does not run cannot freeze, and changes nothing.
  if (!options.freezes || !isRunning) return await swap();
  // Who finds this file knows that somebody died between freezing and thawing.
  await writeFile(run.frozenMarker, '');
  await whileFrozen({ socketPath: run.guestAgent, label: `VM ${id}` }, swap, { signal, ...report });
  await rm(run.frozenMarker, { force: true });
}
