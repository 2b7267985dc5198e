// Watches the disks of a guest stream out of the backup, until each stands alone. What goes wrong on the way is waited out where waiting helps: a full storage, a
// server that is away. Asks QEMU again and again instead of listening for events, so that it may begin at any moment, also after a process was killed.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from '../../guests/guest-node.ts';
import { type BlockJob, type QmpCommands, queryBlockJobs, queryStatus } from '../../guests/qmp/qmp-types.ts';
import { HoldfastError } from '../../util/errors.ts';
import { cutFromBackup, type StreamedDisk, startStream, streamJob } from './restore-nodes.ts';

const POLL_MS = 200;
/** Between two tries after an error. */
const RETRY_MS = 5_000;
/** Jobs that end with an error at once do so for a reason that no waiting changes. */
const MAX_STARTS = 5;

export interface StreamWatch {
  readonly disks: readonly (StreamedDisk & { readonly sizeBytes: number })[];
  /** Of each disk; 0 without a limit. */
  readonly bytesPerSecond: number;
  readonly onProgress: (what: string, bytesDone: number, bytesTotal: number) => void;
  readonly report: Report;
  readonly signal: AbortSignal;
  /** Why the backup could not be read, when it could not. */
  readonly refused: () => Error | undefined;
}

/** Returns when no disk needs the backup any more. @throws `object-missing`, `object-damaged`, `target-failed`, `guest-stopped`, the signal's reason. */
export async function watchStreams(monitor: QmpCommands, watch: StreamWatch): Promise<void> {
  const pending = new Set(watch.disks);
  const starts = new Map<string, number>();
  let retryAt = 0;
  while (pending.size > 0) {
    watch.signal.throwIfAborted();
    const jobs = new Map((await queryBlockJobs(monitor)).map((job) => [job.id, job]));
    let troubled = false;
    for (const disk of pending) {
      const job = jobs.get(streamJob(disk.key));
      if (job !== undefined) {
        watch.onProgress(disk.key, Math.min(job.offsetBytes, disk.sizeBytes), disk.sizeBytes);
        if (job.ready && job.status === 'ready') await monitor.execute('job-complete', { id: job.id });
        troubled ||= job.ioStatus !== 'ok';
      } else if (await cutFromBackup(monitor, disk)) {
        watch.onProgress(disk.key, disk.sizeBytes, disk.sizeBytes);
        watch.report.log(`${disk.key} is restored`);
        pending.delete(disk);
      } else await startAgain(monitor, watch, disk, starts);
    }
    if (troubled && performance.now() >= retryAt) {
      retryAt = performance.now() + RETRY_MS;
      await goOn(monitor, watch, [...jobs.values()]);
    }
    if (pending.size > 0) await sleep(POLL_MS, undefined, { signal: watch.signal }).catch(() => undefined);
  }
  // A guest that ran into the same error goes on too.
  if ((await queryStatus(monitor)).status === 'io-error') await monitor.execute('cont');
}

async function startAgain(
  monitor: QmpCommands,
  { bytesPerSecond, refused }: StreamWatch,
  disk: StreamedDisk,
  starts: Map<string, number>,
): Promise<void> {
  const before = starts.get(disk.key) ?? 0;
  if (before >= MAX_STARTS)
    throw (
      refused() ?? new HoldfastError('target-failed', `${disk.key} does not get whole: its job ends again and again`)
    );
  starts.set(disk.key, before + 1);
  await startStream(monitor, disk, bytesPerSecond);
}

/** What is lost in the backup stays lost; anything else is tried again. */
async function goOn(monitor: QmpCommands, { report, refused }: StreamWatch, jobs: readonly BlockJob[]): Promise<void> {
  const why = refused();
  if (why instanceof HoldfastError && ['object-missing', 'object-damaged'].includes(why.code)) throw why;
  for (const { id, ioStatus } of jobs) {
    if (ioStatus === 'ok') continue;
    const reason = ioStatus === 'nospace' ? 'its storage is full' : (why?.message ?? 'an input/output error');
    report.warn(`${id.replace(/^restore-/, '')}: ${reason}; it is tried again`);
    await resumeJob(monitor, id);
  }
  if ((await queryStatus(monitor)).status !== 'io-error') return;
  await monitor.execute('cont');
  await resumeCleared(monitor);
}

/** Lets the guest run that has only just been started. Call it before anybody hears of the guest: who pauses a job later means it. */
export async function letRun(monitor: QmpCommands): Promise<void> {
  if ((await queryStatus(monitor)).status === 'prelaunch') await monitor.execute('cont');
  // Also where a process that was killed has let it run.
  await resumeCleared(monitor);
}

/** `cont` clears the reasons of all jobs: one that an error has stopped by then stays paused with an `ok`. */
async function resumeCleared(monitor: QmpCommands): Promise<void> {
  for (const { id, paused, ioStatus } of await queryBlockJobs(monitor))
    if (paused && ioStatus === 'ok') await resumeJob(monitor, id);
}

/** A job that QEMU itself holds for a moment cannot be resumed, and need not be; nor need one that has ended meanwhile. */
async function resumeJob(monitor: QmpCommands, id: string): Promise<void> {
  try {
    await monitor.execute('block-job-resume', { device: id });
  } catch (error) {
    if (!(error instanceof HoldfastError) || !/not paused|not found/.test(error.message)) throw error;
  }
}
