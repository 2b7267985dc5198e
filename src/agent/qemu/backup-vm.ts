// The backup of a virtual machine, as a list of steps: lock it, open a session, take the point in time, store the disks and the configuration, commit, and take
// everything apart again. The guest is never worse off for it: what fails is the backup.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAgentOption } from '../../guests/config/agent-option.ts';
import { lockBackup, lockGuest } from '../../guests/guest-lock.ts';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import { TPM_KEY } from '../../guests/qemu/tpm.ts';
import { clearConfigLock, setConfigLock } from '../../guests/vm/config-lock.ts';
import { pause, runOn, undoForgotten } from '../../guests/vm/held-still.ts';
import { lookAtMachine, withMonitor } from '../../guests/vm/machine-state.ts';
import { settle } from '../../guests/vm/put-away.ts';
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
import { recordBitmaps } from './record-bitmaps.ts';
import { copyTpmState, type TpmCopy } from './tpm-state.ts';
import { archiveOf } from './vm-disk.ts';

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

interface Entered {
  /** Kept for as long as nobody else may start the guest. */
  guestLock: HeldLock | undefined;
  /** How it is backed up. */
  readonly isRunning: boolean;
}

async function enter({ node, id, mode, report, signal, waitMs }: HookedRequest): Promise<Entered> {
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
    if (isRunning) await undoForgotten(node, id, report);
    const held: Entered = { guestLock, isRunning };
    if (isRunning && mode !== 'stop') giveBack(held);
    return held;
  } catch (error) {
    await clearConfigLock(node, id, 'backup').catch(() => undefined);
    guestLock.release();
    throw error;
  }
}

function giveBack(held: Entered): void {
  held.guestLock?.release();
  held.guestLock = undefined;
}

/** What came of the backup is known by then: what fails here is a warning, and the next backup sees to it. */
async function leave({ node, id, report }: VmBackupRequest, held: Entered): Promise<void> {
  try {
    held.guestLock ??= await lockGuest(node.directory, id, { waitMs: LEAVE_WAIT_MS });
    await clearConfigLock(node, id, 'backup');
    // It may have powered itself off meanwhile.
    await settle(node, id, report);
  } catch (error) {
    report.warn(`VM ${id} keeps its 'lock: backup' until the next backup: ${(error as Error).message}`);
  } finally {
    giveBack(held);
  }
}

/** What is made for a backup, and goes with its end, whatever that is. */
interface Parts {
  images?: FleeceImages;
  tpm?: TpmCopy | undefined;
  opened?: OpenedVm;
}

async function backupEntered(
  request: HookedRequest,
  held: Entered,
  pool: WorkerPool,
  openSession: () => Promise<Session>,
): Promise<BackupResult> {
  const { node, id, report, signal } = request;
  const session = await openSession();
  const parts: Parts = {};
  let isHandedOver = false;
  try {
    const blobs = await configBlobs(node, id);
    const opened = await aroundTheInstant(request, held, async () => {
      const made = await open({ ...request, readers: pool.size }, held, session, parts);
      parts.opened = made;
      return made;
    });
    sayPlan(opened, report);
    const { archives, remove } = await writeBlobs(node, id, opened, blobs, parts.tpm);
    try {
      isHandedOver = true;
      const work = { ...request.backup, archives, changeMap: changeMapOf(opened), warn: report.warn, signal };
      const result = await runBackup(work, pool, async () => session);
      await recordBitmaps(node, id, request.target, opened.plan, result.committed.manifest).catch((problem: Error) =>
        report.warn(`the snapshot is made, but not what its bitmaps are good for: ${problem.message}`),
      );
      return result;
    } finally {
      await remove();
    }
  } catch (error) {
    // A backup that was handed over has suspended the session itself.
    if (!isHandedOver) await session.suspend().catch(() => undefined);
    throw parts.opened === undefined ? error : await parts.opened.explain(error);
  } finally {
    await parts.opened?.close().catch((problem: Error) => report.warn(`cleaning up failed: ${problem.message}`));
    await parts.tpm?.remove();
    await parts.images
      ?.free()
      .catch((problem: Error) => report.warn(`the fleece's images are left: ${problem.message}`));
  }
}

/** In the modes that say so the guest's processors stand still at the instant; they run on whatever comes of it. */
async function aroundTheInstant<Result>(
  request: HookedRequest,
  held: Entered,
  take: () => Promise<Result>,
): Promise<Result> {
  const { node, id, mode, hooks, report, signal } = request;
  if (!held.isRunning || mode === 'snapshot') return await take();
  await hooks.before('pre-stop');
  try {
    if (mode === 'stop') {
      await shutdownLocked(node, id, { signal, skipLock: true }, report);
      await startLocked(node, id, { signal, skipLock: true, paused: 'marked' }, report);
      giveBack(held);
    } else await withMonitor(node, id, async (monitor) => await pause(monitor, node.directory.run(id)));
    return await take();
  } finally {
    await hooks.after('pre-restart');
    await letRun(request);
    await hooks.after('post-restart');
  }
}

/** What fails here is a warning: the backup is none the worse, and the mark that stays is for whoever comes next. */
async function letRun({ node, id, report }: VmBackupRequest): Promise<void> {
  try {
    const runs = await withMonitor(node, id, async (monitor) => await runOn(monitor, node.directory.run(id)));
    if (runs) report.log('the guest runs again');
  } catch (error) {
    report.warn(`the guest could not be let run again: ${(error as Error).message}`);
  }
}

async function open(
  request: HookedRequest & { readonly readers: number },
  held: Entered,
  session: Session,
  parts: Parts,
): Promise<OpenedVm> {
  const { node, id, mode, signal } = request;
  const options = {
    ...request,
    bases: session.bases,
    atTheInstant: async () => {
      parts.tpm = await copyTpmState(node, id);
    },
  };
  if (!held.isRunning) return await openStoppedVm(options);
  const { config } = await node.configs.read(id);
  const agent = parseAgentOption(config.values.get('agent'));
  return await openRunningVm({
    ...options,
    copyTimeoutSeconds: request.copyTimeoutSeconds ?? COPY_TIMEOUT_SECONDS,
    freezes: agent.enabled && agent.freezeFs && mode === 'snapshot',
    startFleece: async (disks) => {
      const room = makeFleeceImages(node, id, disks, request.fleeceStorage, signal).then((made) => {
        parts.images = made;
        const { images, roomBytes } = made;
        return { images, limitBytes: Math.min(request.fleeceLimitBytes ?? Number.MAX_SAFE_INTEGER, roomBytes) };
      });
      const settled = room.catch(() => undefined);
      try {
        const directory = node.directory.run(id).path;
        return await Fleece.start(node.qemu, { label: `VM ${id}`, directory, room, signal });
      } finally {
        // What was made has to be known to whoever cleans up, also when the daemon did not start.
        await settled;
      }
    },
  });
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
  for (const [key, open] of opened.sources) archives.push({ name: archiveOf(key), kind: 'image', path: key, open });
  if (tpm !== undefined) archives.push({ name: archiveOf(TPM_KEY), kind: 'image', path: tpm.path });
  return {
    archives,
    remove: async () => {
      for (const path of files) await rm(path, { force: true });
    },
  };
}
