// Reads packs on all threads of the pool, each thread a pack at a time, and hands over what was found as each pack ends.
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Pace } from './pace.ts';
import type { BadCopy, PackProgress } from './pack-check.ts';
import type { PackStart } from './verify-thread.ts';

/** A step: some 30 ms of a thread, so that a backup in it hardly waits. */
const STEP_BYTES = 16 * 1024 * 1024;

/** A pack to read, and how far its file goes. */
export interface PackTarget {
  readonly pack: number;
  readonly packId: string;
  readonly fileBytes: number;
}

/** What was found in a pack from its start to its end. */
export interface PackOutcome {
  /** Garbage collection dropped it meanwhile. */
  readonly isGone: boolean;
  readonly startedMs: number;
  readonly recordsRead: number;
  readonly recordsEncrypted: number;
  readonly bytesRead: number;
  readonly bad: readonly BadCopy[];
  readonly problems: readonly string[];
}

export interface ReadOptions {
  readonly only: SharedArrayBuffer | undefined;
  readonly pace: Pace;
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
  readonly onPack: (target: PackTarget, outcome: PackOutcome) => Promise<void>;
}

/** Reads the packs in this order. What `onPack` was told before an error or an abort stays true. */
export async function readPacks(pool: WorkerPool, targets: readonly PackTarget[], options: ReadOptions): Promise<void> {
  const { signal, onProgress, onPack } = options;
  const bytesTotal = targets.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  let bytesDone = 0;
  let next = 0;
  let failure: { error: unknown } | undefined;
  const advance = (bytes: number): void => {
    bytesDone += bytes;
    onProgress(bytesDone, bytesTotal);
  };
  const readOn = async (thread: number): Promise<void> => {
    try {
      for (let target = targets[next++]; target !== undefined; target = targets[next++]) {
        if (failure !== undefined) return;
        signal.throwIfAborted();
        await onPack(target, await readPack(pool, thread, target, options, advance));
      }
    } catch (error) {
      failure ??= { error };
    }
  };
  await Promise.all(Array.from({ length: pool.size }, (_, thread) => readOn(thread)));
  if (failure !== undefined) throw (failure as { error: unknown }).error;
}

async function readPack(
  pool: WorkerPool,
  thread: number,
  target: PackTarget,
  { only, pace, signal }: ReadOptions,
  advance: (bytes: number) => void,
): Promise<PackOutcome> {
  const outcome = { startedMs: Date.now(), isGone: false, recordsRead: 0, recordsEncrypted: 0, bytesRead: 0 };
  const bad: BadCopy[] = [];
  const problems: string[] = [];
  await pool.call(thread, 'verify.startPack', { pack: target.pack, only } satisfies PackStart);
  for (let position = 0; ; ) {
    const step = await pool.call<PackProgress>(thread, 'verify.step', pace.stepBytes(STEP_BYTES));
    outcome.recordsRead += step.recordsRead;
    outcome.recordsEncrypted += step.recordsEncrypted;
    outcome.bytesRead += step.bytesRead;
    bad.push(...step.bad);
    problems.push(...step.problems);
    advance((step.isDone ? target.fileBytes : Math.min(target.fileBytes, step.position)) - position);
    position = Math.min(target.fileBytes, step.position);
    await pace.took(step.bytesRead, signal);
    signal.throwIfAborted();
    if (step.isDone) return { ...outcome, isGone: step.isGone, bad, problems };
  }
}
