// A running guest, opened for its backup. New bitmaps are added before the point in time and old ones disabled after it, so that both say too much rather
// than too little; whatever fails in between is undone by the same two pieces that clean up after a crash.
import { BITMAP_GRANULARITY } from '../../guests/bitmaps/bitmap-names.ts';
import { readBitmapRecords } from '../../guests/bitmaps/bitmap-records.ts';
import { listBitmaps, reconcileBitmaps } from '../../guests/bitmaps/qemu-bitmaps.ts';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import { readRunningMachine, storesBitmaps } from '../../guests/qemu/running-machine.ts';
import { QmpClient } from '../../guests/qmp/qmp-client.ts';
import { queryBlockNodes, queryStatus } from '../../guests/qmp/qmp-types.ts';
import { whileMarkedFrozen } from '../../guests/vm/held-still.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Base } from '../backup/session.ts';
import { type BasePlan, chooseBase } from './choose-base.ts';
import { readDirtyRanges } from './dirty-ranges.ts';
import { type Fleece, isServed } from './fleece.ts';
import { openFrozenDisk } from './frozen-disk.ts';
import { addFilters, exportViews, hasLeftovers, removeFilters, swapFiltersIn } from './frozen-disks.ts';
import type { OpenedVm } from './opened-vm.ts';
import { limitedTimeoutMs } from './read-limit.ts';
import { ReadingPace } from './reading-pace.ts';
import { hasBitmap, type VmDisk } from './vm-disk.ts';

const MONITOR_TIMEOUT_MS = 10_000;
const EINVAL = 22;
/** The major version of QEMU from which on a read of a snapshot is right across the borders of clusters: frozen-disk.ts. */
const SPANS_CLUSTERS = 8;

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
  /** Threads that read. */
  readonly readers: number;
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
    return await freezeDisks(monitor, plan, all, options);
  } catch (error) {
    monitor.close();
    throw error;
  }
}

async function freezeDisks(
  monitor: QmpClient,
  plan: BasePlan,
  all: readonly VmDisk[],
  options: OpenVmOptions,
): Promise<OpenedVm> {
  const { node, id, report, signal } = options;
  const run = node.directory.run(id);
  const label = `VM ${id}`;
  const disks = plan.disks.map(({ disk }) => disk);
  let fleece: Fleece | undefined;
  const takeApart = async (): Promise<void> => {
    // First of all the fleece: nothing waits for its storage any more, and a filter that breaks breaks without harm.
    if (fleece !== undefined && !(await fleece.end()))
      throw new HoldfastError(
        'timed-out',
        `VM ${id}: the storage of the fleece hangs, so the backup's filter stays in the running guest, which goes on; it is taken out by the next backup once the storage answers`,
      );
    await removeFilters(monitor, all);
  };
  const close = async (): Promise<void> => {
    try {
      await takeApart();
      await reconcileBitmaps(monitor, await readBitmapRecords(node.directory, id));
    } finally {
      monitor.close();
    }
  };
  try {
    fleece = await options.startFleece(disks);
    await addFilters(monitor, disks, fleece, options.copyTimeoutSeconds);
    await addBitmaps(monitor, plan);
    signal.throwIfAborted();
    await pointInTime(monitor, plan, options);
    await exportViews(monitor, plan.disks, { socketPath: run.exports, bytesPerSecond: options.bytesPerSecond });
    const changed = new Map();
    for (const { disk, since } of plan.disks) {
      if (since === undefined) continue;
      const place = { label: `${label}: ${disk.key}`, socketPath: run.exports, exportName: disk.key, bitmap: since };
      changed.set(disk.key, await readDirtyRanges(place, signal));
    }
    const started = fleece;
    const timeoutMs = limitedTimeoutMs(options.bytesPerSecond, options.readers);
    const pace = ReadingPace.start(monitor, {
      // With a limit small ones too, so that all threads get on.
      byCluster: monitor.version.major < SPANS_CLUSTERS || options.bytesPerSecond !== undefined,
    });
    return {
      plan,
      sources: new Map(
        disks.map(({ key }) => {
          const view = { socketPath: run.exports, exportName: key };
          const parts = { label: `${label}: ${key}`, view, fleece: started.export(key), pace: pace.pace, timeoutMs };
          return [key, async (signal) => await openFrozenDisk(parts, signal)];
        }),
      ),
      changed,
      // Ctrl-C on a terminal reaches the fleece's daemon too: its end is not the reason then.
      explain: async (error) => (signal.aborted ? error : ((await started.whyBroken()) ?? sayView(id, error))),
      close: async () => {
        await pace.stop();
        await close();
      },
    };
  } catch (error) {
    await close().catch((problem: Error) => report.warn(`cleaning up failed: ${problem.message}`));
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

/** Removes what a backup that was killed left in QEMU, and settles its bitmaps. */
async function cleanUpRunningVm(
  monitor: QmpClient,
  node: GuestNode,
  id: GuestId,
  disks: readonly VmDisk[],
  report: Report,
): Promise<void> {
  if (await hasLeftovers(monitor)) {
    if (await isServed(node.directory.run(id).path))
      throw new HoldfastError(
        'guest-failed',
        `VM ${id}: the fleece of an earlier backup still hangs, and taking it out would freeze the guest; bring its storage back first`,
      );
    report.warn('an earlier backup was cut off; what it left in the guest is removed');
  }
  // Also without nodes of it: its NBD server and its limit go last.
  await removeFilters(monitor, disks);
  await reconcileBitmaps(monitor, await readBitmapRecords(node.directory, id));
}

async function addBitmaps(monitor: QmpClient, plan: BasePlan): Promise<void> {
  const actions = plan.disks
    .filter(({ disk }) => hasBitmap(disk))
    .map(({ disk, next }) => ({
      type: 'block-dirty-bitmap-add',
      data: { node: `d-${disk.key}`, name: next, granularity: BITMAP_GRANULARITY, persistent: storesBitmaps(disk) },
    }));
  if (actions.length > 0) await monitor.execute('transaction', { actions });
}

async function pointInTime(monitor: QmpClient, plan: BasePlan, options: OpenVmOptions): Promise<void> {
  const { node, id, report, signal } = options;
  const swap = async (): Promise<void> => {
    await swapFiltersIn(
      monitor,
      plan.disks.map(({ disk }) => disk),
    );
    await options.atTheInstant();
    const actions = plan.disks
      .filter(({ since }) => since !== undefined)
      .map(({ disk, since }) => ({ type: 'block-dirty-bitmap-disable', data: { node: `d-${disk.key}`, name: since } }));
    if (actions.length > 0) await monitor.execute('transaction', { actions });
  };
  const isRunning = (await queryStatus(monitor)).status === 'running';
  // A guest that does not run cannot freeze, and changes nothing.
  if (!options.freezes || !isRunning) return await swap();
  await whileMarkedFrozen(node, id, swap, { signal, ...report });
}

/** QEMU answers EINVAL when a filter could not copy to the fleece: it gives the view up, and the guest's write goes on. */
function sayView(id: GuestId, error: unknown): unknown {
  if (!(error instanceof HoldfastError) || error.code !== 'source-failed' || error.data.errno !== EINVAL) return error;
  return new HoldfastError(
    'source-failed',
    `VM ${id}: the fleece could not take what the guest overwrote: its storage is full, fails or is too slow; run the backup again, with another one by --fleecing-storage if it happens again`,
    { cause: error },
  );
}
