// The runs that wait, work or are left behind: each from its row to its end, which it notes with what is then still owed. Of a job one at a time.
import { HoldfastError } from '../../util/errors.ts';
import type { Task, TaskBody, TaskEnd, TaskRequest } from '../tasks/task.ts';
import { ActiveRun, type RunWish, rowOf } from './active-run.ts';
import { isGood, type Job, type JobKey, type JobRun, type OwedRun, refOf, runStateOf } from './job.ts';
import type { JobKinds } from './job-kinds.ts';
import type { JobStore, RunEnding } from './job-store.ts';
import { type QueueLimits, RunQueue, USUAL_LIMITS } from './run-queue.ts';
import { retryDelay } from './slots.ts';

const HOUR_MS = 3_600_000;
const USUAL_TIMES = { stageWaitMs: 12 * HOUR_MS, queueWaitMs: 24 * HOUR_MS, graceMs: 10_000 };

export interface RunsParts {
  readonly store: JobStore;
  readonly kinds: JobKinds;
  readonly tasks: { start(request: TaskRequest, work: TaskBody): Task };
  /** Unix milliseconds. */
  readonly clock: () => number;
  readonly limits?: QueueLimits;
  /** The longest that a run waits for what comes before it in a night, that it waits in all, and that aborted work gets to end. */
  readonly times?: Partial<typeof USUAL_TIMES>;
  readonly report: (message: string, detail: Readonly<Record<string, unknown>>) => void;
  /** Told of the end of each run, those that were skipped or cut off too; `job` is undefined when it is gone. */
  readonly onRunEnd?: (run: JobRun, job: Job | undefined) => void;
}

export class Runs {
  readonly #parts: RunsParts;
  readonly #onOwed: (key: JobKey) => void;
  readonly #times: typeof USUAL_TIMES;
  readonly #queue: RunQueue;
  /** Queued and running, and those whose work has not ended though nobody waits for it any more. */
  readonly #active = new Map<string, ActiveRun>();
  /** Ends that could not be written. */
  readonly #unnoted: (() => void)[] = [];
  #isStopping = false;

  /** `onOwed` is told of a job whose run left another one to be made. */
  constructor(parts: RunsParts, onOwed: (key: JobKey) => void) {
    this.#parts = parts;
    this.#onOwed = onOwed;
    this.#times = { ...USUAL_TIMES, ...parts.times };
    this.#queue = new RunQueue(parts.limits ?? USUAL_LIMITS, this.#times.stageWaitMs);
  }

  get count(): number {
    return this.#active.size;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** The one of a job. */
  of(key: JobKey): ActiveRun | undefined {
    return this.#active.get(refOf(key));
  }

  /** Notes a run; it is nothing more than its row until it enters. @throws what the kind says of its options. */
  note(wish: RunWish): ActiveRun {
    const run = this.#planned(wish);
    run.number = this.#parts.store.addRun(rowOf(wish));
    return run;
  }

  enter(run: ActiveRun): void {
    this.#active.set(run.ref, run);
    this.#queue.add(run);
  }

  /**
   * Starts a run with a task that waits for its turn.
   * @throws `exists` when the job runs or waits already, what the start of a task throws.
   */
  startNow(job: Job, authId: string): { readonly upid: string } {
    const active = this.of(job);
    if (active !== undefined)
      throw new HoldfastError(
        'exists',
        `job ${refOf(job)} ${active.hasBegun ? 'runs' : 'waits for its turn'} already: wait for its end, or stop it first`,
        { data: { upid: active.upid } },
      );
    const { store, clock } = this.#parts;
    const run = this.#planned({ job, reason: 'hand', slotMs: null, attempt: 0, authId, queuedMs: clock() });
    const upid = this.#startTask(run);
    try {
      run.number = store.addRun(rowOf(run.plan, { upid }));
    } catch (error) {
      run.cancel(error as Error);
      throw error;
    }
    this.enter(run);
    this.#queue.pump(clock());
    return { upid };
  }

  /** Ends those that have waited for too long, and begins what can begin. */
  pump(nowMs: number): void {
    for (const note of this.#unnoted.splice(0)) this.#noteEnd(note);
    const expired = this.#queue.waitingSince(nowMs - this.#times.queueWaitMs) as ActiveRun[];
    // All of them first: the end of one lets others begin.
    for (const run of expired) this.#queue.remove(run);
    for (const run of expired) this.#expire(run);
    this.#queue.pump(nowMs);
  }

  /** A job was removed: a run of it that waits has no turn. What runs ends with what it began with. */
  jobRemoved(key: JobKey): void {
    const run = this.of(key);
    if (run !== undefined && !run.hasBegun && !this.#isStopping) this.#skip(run, removed());
  }

  /** A job was changed: a run of it that waits has its turn as the job is now, or none. What runs ends with what it began with. */
  jobChanged(job: Job): void {
    const run = this.of(job);
    if (run === undefined || run.hasBegun || this.#isStopping) return;
    const claims = run.claims;
    if (this.#renewed(run, job) && run.claims !== claims) this.#queue.pump(this.#parts.clock());
  }

  /** Begins nothing any more. What waits is made up for at the next start; what runs ends with its task. */
  stop(): void {
    this.#isStopping = true;
    const reason = new HoldfastError('aborted', 'the server is stopping');
    for (const run of this.#active.values()) if (!run.hasBegun) run.cancel(reason);
  }

  /** Tells of the end of a run. Whoever hears it keeps no other run from its turn. */
  tell(ended: JobRun | undefined, job: Job | undefined): void {
    if (ended === undefined) return;
    try {
      this.#parts.onRunEnd?.(ended, job);
    } catch (error) {
      this.#parts.report(`the end of a run is not told: ${(error as Error).message}`, { job: refOf(ended) });
    }
  }

  #planned(wish: RunWish): ActiveRun {
    const kind = this.#parts.kinds.get(wish.job.kind);
    return new ActiveRun({ ...wish, kind, claims: kind.claims(wish.job.options) }, (run) => this.#begin(run));
  }

  #expire(run: ActiveRun): void {
    const hours = this.#times.queueWaitMs / HOUR_MS;
    this.#skip(run, new HoldfastError('timed-out', `skipped: its turn did not come within ${hours} h`));
  }

  #skip(run: ActiveRun, reason: HoldfastError): void {
    this.#queue.remove(run);
    run.cancel(reason);
    // One by hand ends with its task.
    if (run.upid === null) this.#end(run, { state: 'skipped', message: reason.message });
  }

  /** False for one that has no turn any more. @throws nothing: what is wrong with the job as it is now ends the run. */
  #renewed(run: ActiveRun, job: Job): boolean {
    const { plan } = run;
    if (!job.enabled && plan.job.enabled && plan.reason !== 'hand') {
      this.#skip(run, new HoldfastError('aborted', 'skipped: the job was disabled'));
      return false;
    }
    if (JSON.stringify(job) === JSON.stringify(plan.job)) return true;
    try {
      run.renew(job, plan.kind.claims(job.options));
      return true;
    } catch (error) {
      const why = (error as Error).message;
      this.#skip(
        run,
        new HoldfastError('bad-argument', `skipped: the job was changed, and cannot run as it is: ${why}`),
      );
      return false;
    }
  }

  /** Its turn has come. False when it has none after all, or waits for another place: the job was changed. */
  #begin(run: ActiveRun): boolean {
    const { store, clock } = this.#parts;
    try {
      // Another process may have removed it, and what it was for: a datastore of that name may be another one by now.
      const record = store.get(run.plan.job);
      if (record === undefined) {
        this.#skip(run, removed());
        return false;
      }
      const before = run.claims.join();
      if (!this.#renewed(run, record.job)) return false;
      if (run.claims.join() !== before) {
        this.#waitAgain(run);
        return false;
      }
      if (run.upid === null) this.#startTask(run);
      store.changeRun(run.number, { state: 'running', startMs: clock(), upid: run.upid });
    } catch (error) {
      if (run.upid === null) this.#end(run, { state: 'error', message: (error as Error).message });
      else this.#parts.report(`a run is not noted: ${(error as Error).message}`, { job: run.ref });
    }
    return true;
  }

  /** The place that it was given is not where its work is any more. */
  #waitAgain(run: ActiveRun): void {
    run.hasBegun = false;
    this.#queue.remove(run);
    this.#queue.add(run);
    this.#queue.pump(this.#parts.clock());
  }

  #startTask(run: ActiveRun): string {
    const { tasks, clock } = this.#parts;
    const { kind, job, authId } = run.plan;
    let left: Promise<void> | undefined;
    const task = tasks.start({ type: kind.taskType, id: kind.workerId(job), authId }, (work) =>
      run.work(
        work,
        { clock, graceMs: this.#times.graceMs },
        {
          // From now on it keeps nobody from their turn.
          onTimeout: () => this.#freePlace(run),
          onLeft: (ended) => {
            left = ended;
          },
        },
      ),
    );
    run.upid = task.upid;
    task.done
      .then((end) => this.#taskEnded(run, end, left))
      .catch((error: Error) => this.#parts.report(`the end of a run is not noted: ${error.message}`, { job: run.ref }));
    return task.upid;
  }

  #freePlace(run: ActiveRun): void {
    this.#queue.remove(run);
    if (!this.#isStopping) this.#queue.pump(this.#parts.clock());
  }

  #taskEnded(run: ActiveRun, { outcome, status, error }: TaskEnd, left: Promise<void> | undefined): void {
    const isAborted = error instanceof HoldfastError && error.code === 'aborted';
    const state = runStateOf(outcome);
    const isCut = this.#isStopping && isAborted;
    this.#end(run, { state: isCut ? 'interrupted' : state, message: status }, isAborted, left);
  }

  #end(run: ActiveRun, ending: RunEnding, isAborted = false, left?: Promise<void>): void {
    const { store, clock } = this.#parts;
    const nowMs = clock();
    // A job whose work goes on though it was aborted is not started beside it.
    if (left === undefined) this.#forget(run);
    else left.then(() => this.#forget(run)).catch(() => undefined);
    this.#queue.remove(run);
    this.#noteEnd(() => {
      const owed = owedAfter(run, ending, isAborted, nowMs);
      const isDone = ending.state !== undefined && isGood(ending.state);
      const note = (): void => store.changeRun(run.number, { ...ending, endMs: nowMs, upid: run.upid }, isDone);
      if (owed === undefined) note();
      else
        store.atomically(() => {
          note();
          const record = store.get(run.plan.job);
          if (record?.job.enabled) store.setState(record.job, { ...record.state, owed });
        });
      if (owed !== undefined) this.#onOwed(run.plan.job);
      this.tell(store.run(run.number), run.plan.job);
    });
    if (!this.#isStopping) this.#queue.pump(clock());
  }

  /** What cannot be written, as on a full disk, is tried again at the next look: nobody may be kept from their turn by it. */
  #noteEnd(note: () => void): void {
    try {
      note();
    } catch (error) {
      this.#parts.report(`the end of a run is not noted yet: ${(error as Error).message}`, {});
      this.#unnoted.push(note);
    }
  }

  #forget(run: ActiveRun): void {
    if (this.#active.get(run.ref) === run) this.#active.delete(run.ref);
  }
}

function removed(): HoldfastError {
  return new HoldfastError('not-found', 'skipped: the job was removed');
}

/** What a run that ended leaves to be made again. */
function owedAfter({ plan }: ActiveRun, { state }: RunEnding, isAborted: boolean, nowMs: number): OwedRun | undefined {
  const { job, reason, attempt } = plan;
  const slotMs = plan.slotMs ?? nowMs;
  if (reason === 'hand') return undefined;
  if (state === 'interrupted')
    return reason === 'resume' ? undefined : { slotMs, dueMs: nowMs, attempt, reason: 'resume' };
  // Somebody stopped it, and means it.
  if (state !== 'error' || isAborted || attempt >= job.retries) return undefined;
  return { slotMs, dueMs: nowMs + retryDelay(job, attempt), attempt: attempt + 1, reason: 'retry' };
}
