// One run of a job from its place in the queue to its end, with what the job is when it begins.
import { HoldfastError } from '../../util/errors.ts';
import type { TaskResult, TaskWork } from '../tasks/task.ts';
import { type Job, type JobKind, type JobRun, type RunReason, refOf } from './job.ts';
import type { Waiting } from './run-queue.ts';

/** Which run of which job is wanted, and by whom. */
export interface RunWish {
  readonly job: Job;
  readonly reason: RunReason;
  readonly slotMs: number | null;
  readonly attempt: number;
  readonly authId: string;
  readonly queuedMs: number;
}

export interface RunPlan extends RunWish {
  readonly kind: JobKind;
  readonly claims: readonly string[];
}

export class ActiveRun implements Waiting {
  readonly stage: JobKind['stage'];
  readonly queuedMs: number;
  /** Of its row. */
  number = 0;
  upid: string | null = null;
  hasBegun = false;
  /** The row that counts slots that came meanwhile, and how many. */
  skipped: { readonly number: number; readonly count: number } | undefined;
  #plan: RunPlan;
  readonly #onTurn: (run: ActiveRun) => boolean;
  readonly #turn: Promise<void>;
  #open!: () => void;
  #refuse!: (reason: Error) => void;

  /** `onTurn` says whether it begins: a job that was changed may have to wait for something else. */
  constructor(plan: RunPlan, onTurn: (run: ActiveRun) => boolean) {
    this.#plan = plan;
    this.stage = plan.kind.stage;
    this.queuedMs = plan.queuedMs;
    this.#onTurn = onTurn;
    this.#turn = new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#refuse = reject;
    });
    this.#turn.catch(() => undefined);
  }

  get plan(): RunPlan {
    return this.#plan;
  }

  get claims(): readonly string[] {
    return this.#plan.claims;
  }

  /** The job was changed before the run began. */
  renew(job: Job, claims: readonly string[]): void {
    this.#plan = { ...this.#plan, job, claims };
  }

  get ref(): string {
    return refOf(this.plan.job);
  }

  begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    if (this.#onTurn(this)) this.#open();
  }

  /** It will have no turn. */
  cancel(reason: Error): void {
    this.#refuse(reason);
  }

  /**
   * The work of its task: waits for its turn, and runs for as long as the job may. A work that does not end by itself soon after it was
   * aborted is waited for no longer; `onLeft` is told when it does end.
   */
  async work(
    task: TaskWork,
    times: { readonly clock: () => number; readonly graceMs: number },
    { onTimeout, onLeft }: { readonly onTimeout: () => void; readonly onLeft: (ended: Promise<void>) => void },
  ): Promise<TaskResult | undefined> {
    const asked = this.plan.job;
    if (!this.hasBegun) task.log('waits for its turn: other runs are there, or come before it in the order of a night');
    await orAborted(this.#turn, task.signal);
    task.signal.throwIfAborted();
    const { job, kind, authId } = this.plan;
    if (job !== asked) task.log('the job was changed while this run waited: it runs as the job is now');
    const limit = new AbortController();
    const timer = setTimeout(() => {
      task.log(`it takes longer than its time-out of ${job.timeoutMs / 1000} s: aborted`);
      limit.abort(
        new HoldfastError('timed-out', `job ${this.ref} took longer than its time-out of ${job.timeoutMs / 1000} s`),
      );
      onTimeout();
    }, job.timeoutMs);
    // Nothing that hangs keeps a process from its end.
    timer.unref();
    const signal = AbortSignal.any([task.signal, limit.signal]);
    const ended = startWork(() => kind.run({ job, authId, nowMs: times.clock() }, { ...task, signal }));
    try {
      const data = await orGivenUp(ended, signal, times.graceMs, () =>
        onLeft(
          ended.then(
            () => undefined,
            () => undefined,
          ),
        ),
      );
      // What ended well in spite of all has ended well.
      return data === undefined ? undefined : { data };
    } catch (error) {
      if (!limit.signal.aborted || error === limit.signal.reason) throw error;
      task.log(`while it was being aborted: ${(error as Error).message}`);
      throw limit.signal.reason;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What throws at once rejects as well. */
async function startWork<T>(run: () => Promise<T>): Promise<T> {
  return await run();
}

async function orAborted(turn: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    signal.throwIfAborted();
    await Promise.race([turn, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
  }
}

/** Waits for work, `graceMs` at most after it was aborted. */
async function orGivenUp<T>(work: Promise<T>, signal: AbortSignal, graceMs: number, onGivenUp: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const givenUp = new Promise<never>((_, reject) => {
    onAbort = () => {
      timer = setTimeout(() => {
        onGivenUp();
        reject(signal.reason);
      }, graceMs);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, givenUp]);
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

/** Its row, as long as nothing else is said of it: it waits. */
export function rowOf(wish: RunWish, more: Partial<Omit<JobRun, 'number'>> = {}): Omit<JobRun, 'number'> {
  const { job, reason, slotMs, attempt, authId, queuedMs } = wish;
  const base = { kind: job.kind, id: job.id, reason, slotMs, attempt, authId, queuedMs };
  return { ...base, state: 'queued', startMs: null, endMs: null, upid: null, message: '', ...more };
}
