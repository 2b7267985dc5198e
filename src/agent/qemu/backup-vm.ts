// The backup of a virtual machine, as a list of steps: lock it, open a session, take the point in time, store the disks and the configuration, commit, and take
// everything apart again. The guest is never worse off for it: what fails is the backup.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAgentOption } from '../../guests/config/agent-option.ts';
import { lockBackup, lockGuest } from '../../guests/guest-lock.ts';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import { TPM_KEY } from '../../guests/qemu/tpm.ts';
import { clearConfigLock, setConfigLock } from '../../guests/vm/config-lock.ts';
import { lookAtMachine, withMonitor } from '../../guests/vm/machine-state.ts';
import { settle, whilePaused } from '../../guests/vm/put-away.ts';
import { shutdownLocked } from '../../guests/vm/shutdown.ts';
import { startLocked } from '../../guests/vm/start.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { HeldLock } from '../../util/process-lock.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { ChangeMap } from '../backup/change-map.ts';
import { type ArchiveSpec, type BackupRequest, type BackupResult, runBackup } from '../backup/run-backup.ts';
import type { Session } from '../backup/session.ts';
import { BackupHooks } from './backup-hooks.ts';
import { type ConfigBlobs, configBlobs } from './config-blobs.ts';
import { Fleece } from './fleece.ts';
import { type FleeceImages, makeFleeceImages } from './fleece-images.ts';
import { COPY_TIMEOUT_SECONDS } from './frozen-disks.ts';
import { openRunningVm } from './open-running-vm.ts';
import { openStoppedVm } from './open-stopped-vm.ts';
import type { OpenedVm } from './opened-vm.ts';
import { copyTpmState, type TpmCopy } from './tpm-state.ts';
import { archiveOf } from './vm-disk.ts';

const EINVAL = 22;

/** Proxmox's: with the guest running, paused for the instant, or shut down for it. */
export type BackupMode = 'snapshot' | 'suspend' | 'stop';

export interface VmBackupRequest {
  readonly node: GuestNode;
  readonly id: GuestId;
  readonly mode: BackupMode;
  /** Of the bitmaps: `targetOf`. */
  readonly target: string;
  /** Where what the guest overwrites goes; undefined for each disk's own storage. */
  readonly fleeceStorage: string | undefined;
  readonly fleeceLimitBytes: number | undefined;
  /** How long a write of the guest may wait for the fleece before the backup is given up; default 45. */
  readonly copyTimeoutSeconds?: number;
  /** Reading, all disks together. */
  readonly bytesPerSecond: number | undefined;
  /** How long to wait for another operation of the guest. */
  readonly waitMs?: number | undefined;
  readonly hook?: {
    /** Absolute path of the script. */
    readonly script: string;
    /** Variables of ours beside vzdump's: `STOREID` and the like. */
    readonly environment: Readonly<Record<string, string>>;
    /** How long each call may take; default 10 minutes. */
    readonly timeoutMs?: number;
  };
  readonly report: Report;
  /** What is the same for every backup. */
  readonly backup: Omit<BackupRequest, 'archives' | 'changeMap' | 'warn' | 'signal'>;
  readonly signal: AbortSignal;
}

/** Longer than any operation holds a guest's lock for a look. */
const LEAVE_WAIT_MS = 60_000;

/** @throws `guest-locked`, `not-found`, and whatever opening the guest or storing its disks throws; no snapshot is made then. */
export async function backupVm(
  request: VmBackupRequest,
  pool: WorkerPool,
  openSession: () => Promise<Session>,
): Promise<BackupResult> {
  const { node, id, mode, hook, report, signal } = request;
  const hooks = await BackupHooks.open({ environment: {}, script: undefined, ...hook, node, id, mode, report, signal });
  return await hooks.aroundJob(async () => {
    const backupLock = await lockBackup(node.directory, id, { waitMs: request.waitMs, signal });
    try {
      return await hooks.aroundBackup(
        async () => await backupLocked({ ...request, hooks, report: hooks.report }, pool, openSession),
        ({ committed }) => `${committed.manifest.client.backup}/${formatTime(committed.name.time)}`,
      );
    } finally {
      backupLock.release();
    }
  });
}

interface HookedRequest extends VmBackupRequest {
  readonly hooks: BackupHooks;
}

async function backupLocked(
  request: HookedRequest,
  pool: WorkerPool,
  openSession: () => Promise<Session>,
): Promise<BackupResult> {
  const held = await enter(request);
  try {
    return await backupEntered(request, held, pool, openSession);
  } finally {
    await leave(request, held);
  }
}

/** The guest's lock is kept for as long as it must not be started; `isRunning` is how it is backed up. */
interface Entered {
  guestLock: HeldLock | undefined;
  readonly isRunning: boolean;
  /** Started for the backup with its processors paused: they run from the point in time on. */
  readonly mustContinue: boolean;
}

async function enter(request: HookedRequest): Promise<Entered> {
  const { node, id, mode, hooks, report, signal, waitMs } = request;
  const guestLock = await lockGuest(node.directory, id, { waitMs, signal });
  try {
    // The backup's lock is ours, so a `lock: backup` that stands there is of one that was killed.
    await clearConfigLock(node, id, 'backup');
    await settle(node, id, report);
    await setConfigLock(node, id, 'backup');
    const { pid, status } = await lookAtMachine(node, id, signal);
    if (status === 'silent')
      throw new HoldfastError(
        'guest-failed',
        `VM ${id}: QEMU does not answer; its storage hangs. Nothing was done to it`,
      );
    const isRunning = pid !== undefined;
    const restarts = isRunning && mode === 'stop';
    if (restarts) {
      await hooks.before('pre-stop');
      await shutdownLocked(node, id, { signal, skipLock: true }, report);
      await startLocked(node, id, { signal, skipLock: true, paused: true }, report);
    }
    if (isRunning) guestLock.release();
    return { guestLock: isRunning ? undefined : guestLock, isRunning, mustContinue: restarts };
  } catch (error) {
    await clearConfigLock(node, id, 'backup').catch(() => undefined);
    guestLock.release();
    throw error;
  }
}

/** What came of the backup is known by then: what fails here is a warning, and the next backup sees to it. */
async function leave({ node, id, report }: VmBackupRequest, held: Entered): Promise<void> {
  try {
    const lock = held.guestLock ?? (await lockGuest(node.directory, id, { waitMs: LEAVE_WAIT_MS }));
    try {
      await clearConfigLock(node, id, 'backup');
      // It may have powered itself off meanwhile.
      await settle(node, id, report);
    } finally {
      lock.release();
    }
  } catch (error) {
    held.guestLock?.release();
    report.warn(`VM ${id} keeps its 'lock: backup' until the next backup: ${(error as Error).message}`);
  }
}

async function backupEntered(
  request: HookedRequest,
  held: Entered,
  pool: WorkerPool,
  openSession: () => Promise<Session>,
): Promise<BackupResult> {
  const { node, id, report, signal } = request;
  const session = await openSession();
  let isHandedOver = false;
  let images: FleeceImages | undefined;
  let tpm: TpmCopy | undefined;
  let opened: OpenedVm | undefined;
  try {
    const blobs = await configBlobs(node, id);
    const keep: Keep = {
      images: (made) => {
        images = made;
      },
      tpm: (copy) => {
        tpm = copy;
      },
    };
    opened = await open(request, held, session, keep);
    sayPlan(opened, report);
    const { archives, remove } = await writeBlobs(node, id, opened, blobs, tpm);
    let result: BackupResult;
    try {
      isHandedOver = true;
      const work = { ...request.backup, archives, changeMap: changeMapOf(opened), warn: report.warn, signal };
      result = await runBackup(work, pool, async () => session);
    } finally {
      await remove();
    }
    const done = opened;
    opened = undefined;
    await finish(done, result, report);
    return result;
  } catch (error) {
    const why = opened?.broken();
    await opened?.abandon().catch((problem: Error) => report.warn(`cleaning up failed: ${problem.message}`));
    // A backup that was handed over has suspended the session itself.
    if (!isHandedOver) await session.suspend().catch(() => undefined);
    if (why !== undefined && !signal.aborted) throw why;
    if (held.isRunning && isBrokenView(error)) throw brokenView(request, error);
    throw error;
  } finally {
    await tpm?.remove();
    await images?.free().catch((problem: Error) => report.warn(`the fleece's images are left: ${problem.message}`));
  }
}

/** QEMU answers so when a filter could not copy to the fleece: it gives the view up, and the guest's write goes on. */
function isBrokenView(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'source-failed' && error.data.errno === EINVAL;
}

function brokenView({ id }: VmBackupRequest, cause: unknown): HoldfastError {
  return new HoldfastError(
    'source-failed',
    `VM ${id}: the fleece could not take what the guest overwrote: its storage is full, fails or is too slow; run the backup again, with another one by --fleecing-storage if it happens again`,
    { cause },
  );
}

/** The snapshot is made by then: what fails here costs a full read, and is a warning. */
async function finish(opened: OpenedVm, { committed }: BackupResult, report: Report): Promise<void> {
  try {
    await opened.finish(committed.manifest);
  } catch (error) {
    report.warn(`the snapshot is made, but cleaning up failed: ${(error as Error).message}`);
  }
}

/** Told of what is made, so that it goes whatever fails. */
interface Keep {
  images(made: FleeceImages): void;
  tpm(copy: TpmCopy | undefined): void;
}

async function open(request: HookedRequest, held: Entered, session: Session, keep: Keep): Promise<OpenedVm> {
  const { node, id, mode, hooks, report, signal } = request;
  const options = {
    ...request,
    bases: session.bases,
    atTheInstant: async () => keep.tpm(await copyTpmState(node, id)),
  };
  if (!held.isRunning) return await openStoppedVm(options);
  const { config } = await node.configs.read(id);
  const agent = parseAgentOption(config.values.get('agent'));
  const openIt = async (): Promise<OpenedVm> =>
    await openRunningVm({
      ...options,
      copyTimeoutSeconds: request.copyTimeoutSeconds ?? COPY_TIMEOUT_SECONDS,
      freezes: agent.enabled && agent.freezeFs && mode === 'snapshot',
      startFleece: async (disks) => {
        const images = await makeFleeceImages(node, id, disks, request.fleeceStorage, signal);
        keep.images(images);
        return await Fleece.start(node.qemu, {
          label: `VM ${id}`,
          directory: node.directory.run(id).path,
          images: images.images,
          limitBytes: Math.min(request.fleeceLimitBytes ?? Number.MAX_SAFE_INTEGER, images.roomBytes),
          signal,
        });
      },
    });
  if (held.mustContinue) {
    try {
      return await openIt();
    } finally {
      await hooks.after('pre-restart');
      await withMonitor(node, id, async (monitor) => await monitor.execute('cont'));
      report.log('the guest runs again');
      await hooks.after('post-restart');
    }
  }
  if (mode !== 'suspend') return await openIt();
  await hooks.before('pre-stop');
  const opened = await whilePaused(node, id, async () => {
    const done = await openIt();
    await hooks.after('pre-restart');
    return done;
  });
  await hooks.after('post-restart');
  return opened;
}

function sayPlan({ plan, changed }: OpenedVm, report: Report): void {
  for (const { disk, why } of plan.disks) {
    if (why !== undefined) report.log(`${disk.key}: read in full, for ${why}`);
    else {
      const bytes = (changed.get(disk.key) ?? []).reduce((sum, { length }) => sum + length, 0);
      report.log(`${disk.key}: incremental since ${plan.base}, ${bytes} of ${disk.sizeBytes} bytes were written to`);
    }
  }
}

/** Disks without an entry are read in full; why was told when the plan was. */
function changeMapOf({ plan, changed }: OpenedVm): ChangeMap | undefined {
  if (plan.base === undefined) return undefined;
  const disks = new Map(
    plan.disks.flatMap(({ disk }) => {
      const ranges = changed.get(disk.key);
      return ranges === undefined ? [] : [[archiveOf(disk.key), ranges] as const];
    }),
  );
  return { base: plan.base, disks, isExplained: true };
}

async function writeBlobs(
  node: GuestNode,
  id: GuestId,
  opened: OpenedVm,
  blobs: ConfigBlobs,
  tpm: TpmCopy | undefined,
): Promise<{ archives: ArchiveSpec[]; remove: () => Promise<void> }> {
  const directory = node.directory.run(id).path;
  const archives: ArchiveSpec[] = [];
  for (const [name, content] of Object.entries(blobs)) {
    const path = join(directory, `backup-${name}`);
    await writeFile(path, content, { mode: 0o600 });
    archives.push({ name, kind: 'blob', path });
  }
  const files = archives.map(({ path }) => path);
  for (const [key, path] of opened.sources) archives.push({ name: archiveOf(key), kind: 'image', path });
  if (tpm !== undefined) archives.push({ name: archiveOf(TPM_KEY), kind: 'image', path: tpm.path });
  return {
    archives,
    remove: async () => {
      for (const path of files) await rm(path, { force: true });
    },
  };
}
