// A guest that does not run, opened for its backup: its disks in a storage daemon of ours, which knows and stores the same bitmaps as a running QEMU. Nobody starts
// the guest meanwhile, for the backup holds its lock.
import { BITMAP_GRANULARITY } from '../../guests/bitmaps/bitmap-names.ts';
import { readBitmapRecords } from '../../guests/bitmaps/bitmap-records.ts';
import { listBitmaps, reconcileBitmaps } from '../../guests/bitmaps/qemu-bitmaps.ts';
import {
  fileDisks,
  loadSidecars,
  lookAtFiles,
  sealSidecars,
  storeSidecars,
  trustedSidecars,
} from '../../guests/bitmaps/sidecars.ts';
import { diskNodes, nodeNames } from '../../guests/qemu/disk-nodes.ts';
import { type PlannedDisk, planBackedUpDisks } from '../../guests/qemu/plan-disks.ts';
import { runningDisk, storesBitmaps } from '../../guests/qemu/running-machine.ts';
import { queryBlockNodes } from '../../guests/qmp/qmp-types.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { openNbdSource } from '../sources/nbd-source.ts';
import { chooseBase } from './choose-base.ts';
import { readDirtyRanges } from './dirty-ranges.ts';
import type { OpenVmOptions } from './open-running-vm.ts';
import type { OpenedVm } from './opened-vm.ts';
import { addReadLimit, limitedPace, limitedTimeoutMs, limitReads, passWaitingReads } from './read-limit.ts';
import { asReadable } from './readable-disks.ts';
import { requireSoundImages } from './sound-images.ts';
import { againWhenLost, StorageDaemon } from './storage-daemon.ts';
import { backupNames, hasBitmap, type VmDisk } from './vm-disk.ts';

type StoppedOptions = Omit<OpenVmOptions, 'startFleece' | 'freezes' | 'copyTimeoutSeconds'>;

/** Call with the guest's lock and the backup's. @throws `guest-failed` with QEMU's words, e.g. when a disk is in use; `aborted`. */
export async function openStoppedVm(options: StoppedOptions): Promise<OpenedVm> {
  const { node, id, target, bases, bytesPerSecond, readers, report, signal } = options;
  const run = node.directory.run(id);
  const { config } = await node.configs.read(id);
  const planned = await asReadable(await planBackedUpDisks(config, node.storages), report.log);
  const files = fileDisks(planned);
  await options.atTheInstant();
  const seen = await lookAtFiles(files);
  const trusted = await trustedSidecars(node.directory, id, files);
  const isKnown = ({ key, isReadOnly, storesBitmaps }: PlannedDisk) =>
    !isReadOnly && (storesBitmaps ? !trusted.doubted.includes(key) : trusted.sidecars.has(key));
  await requireSoundImages(
    id,
    planned.filter((disk) => !isKnown(disk)),
    signal,
  );
  const parts = { label: `VM ${id}`, directory: run.path, name: 'stopped', atOurEnd: 'TERM', signal } as const;
  const daemon = await againWhenLost(async () => await StorageDaemon.start(node.qemu, parts));
  const { monitor } = daemon;
  let { doubted } = trusted;
  /** Bitmaps go back where they are kept while the guest does not run. */
  const close = async (): Promise<void> => {
    try {
      await reconcileBitmaps(monitor, await readBitmapRecords(node.directory, id), doubted);
      const unsealed = await storeSidecars(monitor, node.directory, id, files);
      await daemon.quit();
      for (const key of await sealSidecars(node.directory, id, unsealed, seen))
        report.warn(
          `${key}: something else wrote to it while it was read; back it up once more, it is read in full then`,
        );
    } catch (error) {
      await daemon.kill();
      throw error;
    }
  };
  try {
    for (const disk of planned) await addDisk(monitor, id, disk);
    await loadSidecars(monitor, node.directory, id, trusted);
    const records = await readBitmapRecords(node.directory, id);
    await reconcileBitmaps(monitor, records, doubted);
    doubted = [];
    const disks = await vmDisks(planned, monitor);
    const plan = chooseBase(target, disks, await listBitmaps(monitor), records[target], bases);
    const actions = plan.disks.flatMap(({ disk, next, since }) => {
      const data = { node: nodeNames(disk.key).format, granularity: BITMAP_GRANULARITY };
      const persistent = storesBitmaps(disk);
      const add = { type: 'block-dirty-bitmap-add', data: { ...data, name: next, persistent } };
      const disable = { type: 'block-dirty-bitmap-disable', data: { node: data.node, name: since } };
      return [...(hasBitmap(disk) ? [add] : []), ...(since === undefined ? [] : [disable])];
    });
    if (actions.length > 0) await monitor.execute('transaction', { actions });
    const changed = new Map();
    await addReadLimit(monitor, bytesPerSecond);
    for (const { disk, since } of plan.disks) {
      const top = await limitReads(monitor, disk.key, nodeNames(disk.key).format, bytesPerSecond);
      await monitor.execute('block-export-add', {
        type: 'nbd',
        id: backupNames(disk.key).exportId,
        'node-name': top,
        name: disk.key,
        ...(since !== undefined && { bitmaps: [{ node: nodeNames(disk.key).format, name: since }] }),
      });
      if (since === undefined) continue;
      const place = {
        label: `VM ${id}: ${disk.key}`,
        socketPath: daemon.nbdSocket,
        exportName: disk.key,
        bitmap: since,
      };
      changed.set(disk.key, await readDirtyRanges(place, signal));
    }
    const removeExports = async (): Promise<void> => {
      const limited = plan.disks.map(({ disk: { key } }) => ({ key, below: nodeNames(key).format }));
      if (bytesPerSecond !== undefined) await passWaitingReads(monitor, limited);
      for (const { disk } of plan.disks) {
        const id = backupNames(disk.key).exportId;
        const gone = monitor.waitForEvent('BLOCK_EXPORT_DELETED', ({ data }) => data.id === id);
        gone.catch(() => undefined);
        await monitor.execute('block-export-del', { id, mode: 'hard' });
        await gone;
      }
    };
    const pace = bytesPerSecond === undefined ? undefined : limitedPace();
    const timeoutMs = limitedTimeoutMs(bytesPerSecond, readers);
    return {
      plan,
      sources: new Map(
        disks.map(({ key }) => [
          key,
          async (signal) =>
            await openNbdSource({ socketPath: daemon.nbdSocket }, key, {
              label: `VM ${id}: ${key}`,
              signal,
              pace,
              timeoutMs,
            }),
        ]),
      ),
      changed,
      explain: async (error) => error,
      close: async () => {
        await removeExports();
        await close();
      },
    };
  } catch (error) {
    await close().catch((problem: Error) => report.warn(`bitmaps are not kept: ${problem.message}`));
    throw error;
  }
}

/** @throws `guest-failed` that names the volume. */
async function addDisk(monitor: StorageDaemon['monitor'], id: GuestId, disk: PlannedDisk): Promise<void> {
  try {
    for (const each of diskNodes(disk).slice(0, 2)) await monitor.execute('blockdev-add', each);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.data.qmpClass === undefined) throw error;
    const { key, volume, path, format } = disk;
    const advice = format === 'qcow2' ? `; look at it with 'qemu-img check', and repair or restore it` : '';
    throw new HoldfastError(
      error.code,
      `VM ${id}: ${key}: volume '${volume}' cannot be opened (${path}): ${error.data.desc}${advice}`,
      { cause: error, data: { ...error.data, key, volume } },
    );
  }
}

async function vmDisks(planned: readonly PlannedDisk[], monitor: StorageDaemon['monitor']): Promise<VmDisk[]> {
  const sizes = new Map((await queryBlockNodes(monitor)).map((each) => [each.nodeName, each.virtualSizeBytes]));
  return planned.flatMap((disk) => {
    const [known, sizeBytes] = [runningDisk(disk), sizes.get(nodeNames(disk.key).format)];
    return known === undefined || sizeBytes === undefined ? [] : [{ ...known, sizeBytes }];
  });
}
