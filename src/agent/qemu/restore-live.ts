// Live restore: the guest runs at once, reads from the backup what is not copied yet, and the rest streams behind. Until it is done the guest needs the process
// that serves its disks; that may be killed and come back (`resumeLiveRestore`), for what is known is in the journal and QEMU waits. Until it is done the configuration has
// `lock: create`, and the guest that was there before is not touched.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDrive, printDrive } from '../../guests/config/drive.ts';
import { parseVmConfig, printVmConfig, type VmConfig, withSettings } from '../../guests/config/vm-config.ts';
import { lockBackup, lockGuest } from '../../guests/guest-lock.ts';
import type { GuestNode } from '../../guests/guest-node.ts';
import { openControlGroup } from '../../guests/qemu/control-group.ts';
import { planDisks } from '../../guests/qemu/plan-disks.ts';
import { endQemu, findQemu } from '../../guests/qemu/qemu-process.ts';
import { type QmpCallOptions, QmpClient } from '../../guests/qmp/qmp-client.ts';
import type { QmpCommands } from '../../guests/qmp/qmp-types.ts';
import { releaseNetworks } from '../../guests/vm/networks.ts';
import { settle } from '../../guests/vm/put-away.ts';
import { startLocked } from '../../guests/vm/start.ts';
import { HoldfastError } from '../../util/errors.ts';
import {
  dropLiveRestore,
  findLiveRestore,
  type LiveDisk,
  type LiveRestore,
  readLiveRestore,
  writeLiveRestore,
} from './restore-journal.ts';
import { graftBackup, type StreamedDisk, startStream } from './restore-nodes.ts';
import { type Before, freeUnused, leavePlace, oldVolumes, reservePlace, takeOver } from './restore-place.ts';
import { planRestore, type RestorePlan } from './restore-plan.ts';
import type { RestoredVm, VmRestoreRequest } from './restore-request.ts';
import { serveSnapshot, tellOnce } from './restore-serve.ts';
import { letRun, watchStreams } from './restore-streams.ts';
import { undo, withDrives, writeDisk } from './restore-vm.ts';
import { changeConfig, freeVolumes, type NewVolume, RestoreVolumes } from './restore-volumes.ts';

/**
 * QEMU answers nobody while it waits for reads to end, as at a reset of the guest's controller, and reads end when there is a server again. Who went away
 * for that would take the guest's disks away.
 */
const PATIENCE_MS = 24 * 60 * 60_000;

export interface LiveRestoreRequest extends VmRestoreRequest {
  /** Of all streams together; undefined for as fast as it goes. */
  readonly bytesPerSecond: number | undefined;
  /** The guest's processors run from here on. */
  readonly onRunning: () => void;
}

type ResumeRequest = Pick<
  LiveRestoreRequest,
  'node' | 'id' | 'snapshot' | 'report' | 'onProgress' | 'waitMs' | 'signal' | 'onRunning'
>;

/**
 * Starts the snapshot's guest and returns when all of its disks are whole. Who aborts it stops the guest and undoes everything: what the
 * guest wrote is lost then. @throws what `restoreVm` throws, and what starting a guest throws.
 */
export async function liveRestoreVm(request: LiveRestoreRequest): Promise<RestoredVm> {
  const { node, id, waitMs, signal } = request;
  const backupLock = await lockBackup(node.directory, id, { waitMs, signal });
  try {
    const plan = await planRestore(request);
    const before = await reservePlace(request, plan);
    const state = await prepare(request, plan, before);
    await undoingLive(request, state, async () => {
      await serving(request, async (served) => {
        await startPaused(request, state, plan);
        await stream(request, state, served);
      });
    });
    return await finish(request, state);
  } finally {
    backupLock.release();
  }
}

/**
 * Goes on where a process that was killed stopped. A guest that never came to run is undone.
 * @throws `not-found` when there is nothing to go on with, `guest-locked` while another process is at it, `guest-failed` when the guest has ended meanwhile.
 */
export async function resumeLiveRestore(request: ResumeRequest): Promise<RestoredVm> {
  const { node, id, waitMs, signal } = request;
  const backupLock = await lockBackup(node.directory, id, { waitMs, signal });
  try {
    const state = await findLiveRestore(node, id);
    if (state === undefined) throw new HoldfastError('not-found', `VM ${id} has no live restore that is not done`);
    if (state.snapshot !== request.snapshot.name)
      throw new HoldfastError(
        'bad-argument',
        `VM ${id} runs from ${state.snapshot}, not from ${request.snapshot.name}`,
      );
    if (state.stage === 'whole') return await finish(request, state);
    // What keeps us from serving is no reason to throw the guest away.
    await serving(request, async (served) => {
      await undoingLive(request, state, async () => {
        if (state.stage === 'starting' || (await findQemu(node.directory.run(id))) === undefined)
          throw new HoldfastError(
            'guest-failed',
            `VM ${id}: its live restore was cut off and the guest does not run any more; begin anew`,
          );
        await stream(request, state, served);
      });
    });
    return await finish(request, state);
  } finally {
    backupLock.release();
  }
}

/** Makes the volumes, and writes those that the guest's firmware reads before anybody can serve it. */
async function prepare(
  request: LiveRestoreRequest,
  plan: RestorePlan,
  before: Before | undefined,
): Promise<LiveRestore> {
  const { node, id, snapshot, signal, bytesPerSecond } = request;
  const volumes = new RestoreVolumes(node, id);
  try {
    const disks: LiveDisk[] = [];
    const made: NewVolume[] = [];
    for (const disk of plan.disks) {
      const { drive, archive, storage, format } = disk;
      const { key } = drive;
      const isWhole = drive.bus === 'efidisk' || drive.bus === 'tpmstate';
      const size = { sizeBytes: archive.sizeBytes, format };
      const volume = isWhole ? await writeDisk(request, disk, volumes) : await volumes.make(storage, size, signal);
      made.push(volume);
      const overlay =
        isWhole || format === 'qcow2'
          ? undefined
          : await volumes.make(storage, { ...size, format: 'qcow2', name: `vm-${id}-restore-${key}` }, signal);
      const names = { archive: archive.name, volume: volume.id, ...(overlay && { overlay: overlay.id }) };
      disks.push({ key, ...names, sizeBytes: archive.sizeBytes, format, isWhole });
    }
    const old = await oldVolumes(node, id, before, plan);
    const drives = withDrives(
      plan.config,
      plan.disks.map((disk, place) => [disk, made[place] as NewVolume] as const),
    );
    const share =
      bytesPerSecond && Math.ceil(bytesPerSecond / Math.max(1, disks.filter((disk) => !disk.isWhole).length));
    const state: LiveRestore = {
      format: 1,
      snapshot: snapshot.name,
      stage: 'starting',
      ...(share && { bytesPerSecond: share }),
      disks,
      config: printVmConfig(drives),
      ...(before && {
        before: { config: before.config, ...(before.firewall !== undefined && { firewall: before.firewall }) },
      }),
      replaced: [...old.replaced],
    };
    await writeLiveRestore(node.directory, id, state);
    const overlays = disks.flatMap(({ overlay }) => overlay ?? []);
    await takeOver(node, id, whileStreaming(drives, disks), [...old.kept, ...old.replaced, ...overlays], plan.firewall);
    return state;
  } catch (error) {
    await undo(request, volumes, before);
    await dropLiveRestore(node.directory, id);
    throw error;
  }
}

/** Nobody else starts or stops it, and an error of a disk stops it instead of reaching its file systems. */
function whileStreaming(config: VmConfig, disks: readonly LiveDisk[]): VmConfig {
  const drives = disks.flatMap(({ key, isWhole }) => {
    if (isWhole) return [];
    const drive = parseDrive(key, config.values.get(key) as string);
    return [[key, printDrive({ ...drive, rerror: 'stop', werror: 'stop' })] as const];
  });
  return withSettings(config, { ...Object.fromEntries(drives), lock: 'create' });
}

async function startPaused(request: LiveRestoreRequest, state: LiveRestore, plan: RestorePlan): Promise<void> {
  const { node, id, report, signal } = request;
  const lock = await lockGuest(node.directory, id, { signal });
  try {
    await startLocked(node, id, { signal, skipLock: true, paused: 'unmarked' }, report);
  } finally {
    lock.release();
  }
  report.log(`the guest starts from ${state.snapshot}; ${plan.disks.length} disks stream behind`);
}

interface Served {
  readonly socketPath: string;
  /** Why a read of the backup was refused, the last time. */
  readonly refused: () => Error | undefined;
}

async function serving(request: ResumeRequest, use: (served: Served) => Promise<void>): Promise<void> {
  const { node, id, snapshot, report, signal } = request;
  await node.directory.prepare(id);
  // Not a name that the start of a guest clears away.
  const socketPath = join(node.directory.run(id).path, 'restore-disks');
  let refused: Error | undefined;
  const tell = tellOnce((message) => {
    if (!signal.aborted) report.warn(message);
  });
  const server = await serveSnapshot(snapshot, socketPath, {
    waits: tell,
    refused: (error) => {
      tell(error);
      refused = error;
    },
  });
  try {
    await use({ socketPath, refused: () => refused });
  } finally {
    await server.close();
    await rm(socketPath, { force: true });
  }
}

/** Copies the disks until none needs the backup. A guest that was only just started gets its disks connected, and runs. */
async function stream(request: ResumeRequest, state: LiveRestore, { socketPath, refused }: Served): Promise<void> {
  const { node, id, report, onProgress, signal } = request;
  let client: QmpClient | undefined;
  try {
    const patience = { timeoutMs: PATIENCE_MS, signal };
    client = await QmpClient.connect(node.directory.run(id).backupMonitor, { label: `VM ${id}`, ...patience });
    const monitor = patientCommands(client, patience);
    const disks = await streamedDisks(node, state);
    const bytesPerSecond = state.bytesPerSecond ?? 0;
    if (state.stage === 'starting') {
      await connectDisks(monitor, request, socketPath, disks);
      for (const disk of disks) await startStream(monitor, disk, bytesPerSecond);
      await writeLiveRestore(node.directory, id, { ...state, stage: 'streaming' });
    }
    await letRun(monitor);
    request.onRunning();
    await watchStreams(monitor, { disks, bytesPerSecond, onProgress, report, signal, refused });
  } finally {
    client?.close();
  }
}

function patientCommands(client: QmpClient, patience: QmpCallOptions): QmpCommands {
  return { execute: (command, args) => client.execute(command, args, patience) };
}

async function connectDisks(
  monitor: QmpCommands,
  { node, id }: ResumeRequest,
  socket: string,
  disks: readonly StreamedDisk[],
): Promise<void> {
  const { config } = await node.configs.read(id);
  const planned = await planDisks(config, node.storages);
  for (const disk of disks) {
    const plan = planned.find(({ key }) => key === disk.key);
    if (plan !== undefined) await graftBackup(monitor, socket, disk, plan);
  }
}

async function streamedDisks(node: GuestNode, state: LiveRestore): Promise<(StreamedDisk & { sizeBytes: number })[]> {
  const disks = [];
  for (const { key, archive, overlay, sizeBytes, isWhole } of state.disks) {
    if (isWhole) continue;
    const overlayPath = overlay === undefined ? undefined : (await node.storages.volume(overlay)).path;
    disks.push({ key, archive, overlayPath, sizeBytes });
  }
  return disks;
}

/** The disks stand alone: the configuration is unlocked, and what is not needed any more goes. */
async function finish({ node, id, report }: ResumeRequest, state: LiveRestore): Promise<RestoredVm> {
  // From here on the guest needs neither the backup nor to run.
  await writeLiveRestore(node.directory, id, { ...state, stage: 'whole' });
  const final = parseVmConfig(state.config, `qemu-server/${id}.conf`);
  await freeUnused(node, id, [...state.disks.flatMap(({ overlay }) => overlay ?? []), ...state.replaced], report);
  const keys = state.disks.map(({ key }) => key);
  const drives = Object.fromEntries(keys.map((key) => [key, final.values.get(key) as string]));
  await changeConfig(node, id, (config) => withSettings(config, drives, ['lock']));
  await dropLiveRestore(node.directory, id);
  const lock = await lockGuest(node.directory, id);
  try {
    await settle(node, id, report);
  } finally {
    lock.release();
  }
  return { disks: state.disks.map(({ key, volume, format, sizeBytes }) => ({ key, volume, format, sizeBytes })) };
}

async function undoingLive(request: ResumeRequest, state: LiveRestore, work: () => Promise<void>): Promise<void> {
  const { node, id, report } = request;
  try {
    await work();
  } catch (error) {
    if (await runsOn(request, error)) {
      report.warn(`VM ${id} runs on and waits for its disks; go on with: holdfast vm restore --resume ${id}`);
      throw error;
    }
    try {
      await endGuest(request);
      const made = state.disks.flatMap(({ volume, overlay }) => [volume, ...(overlay === undefined ? [] : [overlay])]);
      await freeVolumes(node, made, report);
      const { before } = state;
      // Beside the next guest of this number it would be believed; of one that was there it has the configuration.
      if (before === undefined) await dropLiveRestore(node.directory, id);
      await leavePlace(node, id, before && { config: before.config, firewall: before.firewall });
      await dropLiveRestore(node.directory, id);
      report.warn(
        `the live restore of VM ${id} did not come to its end: the guest was stopped and what was restored is removed, with what it wrote${before === undefined ? '' : '; the guest that was there before is there again'}`,
      );
    } catch (problem) {
      report.warn(`cleaning up failed, look at VM ${id}: ${(problem as Error).message}`);
    }
    throw error;
  }
}

/** A guest that runs is given up when somebody wants it, or its backup is damaged; whatever else went wrong may be mended, and what it wrote is worth that. */
async function runsOn({ node, id, signal }: ResumeRequest, error: unknown): Promise<boolean> {
  const isDamaged = error instanceof HoldfastError && ['object-missing', 'object-damaged'].includes(error.code);
  if (signal.aborted || isDamaged) return false;
  if ((await findQemu(node.directory.run(id))) === undefined) return false;
  return (await readLiveRestore(node.directory, id))?.stage === 'streaming';
}

/** At once: nothing of it is kept. */
async function endGuest({ node, id, report }: Pick<ResumeRequest, 'node' | 'id' | 'report'>): Promise<void> {
  await endQemu(node.directory.run(id), undefined, 0);
  await releaseNetworks(id);
  const group = await openControlGroup(id, {}, { node: node.directory.name });
  await group.kill();
  await group.remove().catch((problem: Error) => report.warn(problem.message));
}
