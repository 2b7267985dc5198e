// Runs jobs when they are due, each once, whatever the clock does and whenever the server was away. What is due follows from what is settled,
// which is written before a run begins; the tick only looks.
import { HoldfastError } from '../../util/errors.ts';
import type { CalendarEvent } from '../calendar/calendar-event.ts';
import type { Zone } from '../calendar/zone.ts';
import type { Task, TaskBody, TaskEnd, TaskRequest } from '../tasks/task.ts';
import { ActiveRun, type RunPlan } from './active-run.ts';
import {
  type Job,
  type JobKey,
  type JobKind,
  type JobRun,
  type JobState,
  type OwedRun,
  refOf,
  runStateOf,
} from './job.ts';
import type { JobKinds } from './job-kinds.ts';
import type { JobStore, RunEnding } from './job-store.ts';
import { type QueueLimits, RunQueue, USUAL_LIMITS } from './run-queue.ts';
import { afterClock, eventOf, isLate, nextSlot, retryDelay } from './slots.ts';

const MINUTE_MS = 60_000;
/** How often a tick begins anew when another process changes jobs at the same time. */
const MAX_TRIES = 5;
const HOUR_MS = 60 * MINUTE_MS;
const USUAL_TIMES = { stageWaitMs: 12 * HOUR_MS, queueWaitMs: 24 * HOUR_MS, graceMs: 10_000 };
const USUAL_HISTORY = { perJob: 200, all: 50_000 };
/** Whom runs by schedule run as. */
const SCHEDULE_USER = 'root@pam';

export interface SchedulerParts {
  readonly store: JobStore;
  readonly kinds: JobKinds;
  readonly tasks: { start(request: TaskRequest, work: TaskBody): Task };
  /** Unix milliseconds. */
  readonly clock: () => number;
  /** Of the schedules. */
  readonly zone: Zone;
  readonly limits?: QueueLimits;
  /** The longest that a run waits for what comes before it in a night, that it waits in all, and that aborted work gets to end. */
  readonly times?: Partial<typeof USUAL_TIMES>;
  /** Ended runs that are kept, of each job and of all. */
  readonly history?: typeof USUAL_HISTORY;
  readonly report: (message: string, detail: Readonly<Record<string, unknown>>) => void;
  /** Told of the end of each run, those that were skipped or cut off too; `job` is undefined when it is gone. */
  readonly onRunEnd?: (run: JobRun, job: Job | undefined) => void;
}

/** A job as the tick sees it. */
interface Planned {
  readonly job: Job;
  readonly event: CalendarEvent | undefined;
  readonly state: JobState;
  /** When to look at it; Infinity for never. */
  readonly nextMs: number;
}

interface Settled {
  readonly planned: Planned;
  readonly run?: ActiveRun;
  readonly ended?: JobRun | undefined;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #times: typeof USUAL_TIMES;
  readonly #queue: RunQueue;
  readonly #planned = new Map<string, Planned>();
  /** Queued and running, and those whose work has not ended though nobody waits for it any more. */
  readonly #active = new Map<string, ActiveRun>();
  #version = -1;
  #lastTickMs = 0;
  #housekeptMs = 0;
  #isStopping = false;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#times = { ...USUAL_TIMES, ...parts.times };
    this.#queue = new RunQueue(parts.limits ?? USUAL_LIMITS, this.#times.stageWaitMs);
  }

  /** Runs that wait or work. */
  get activeCount(): number {
    return this.#active.size;
  }

  /** Ends what a server before this one left, which is made up for once, and reads the jobs. Before the first tick. */
  start(): void {
    const { store, clock, onRunEnd } = this.#parts;
    const cut = store.atomically(() => store.unended().map((run) => this.#interrupted(run, clock())));
    this.#load();
    for (const run of cut) onRunEnd?.(run, this.#planned.get(refOf(run))?.job);
    this.#lastTickMs = clock();
  }

  /** Looks at what another process changed, and what it wishes to be run. Cheap when it did nothing. */
  follow(): void {
    const { store, report } = this.#parts;
    if (this.#isStopping || store.version() === this.#version) return;
    this.#load();
    for (const { authId, ...key } of store.takeRequests()) {
      try {
        this.runNow(key, authId);
      } catch (error) {
        report(`a job is not run: ${(error as Error).message}`, { job: refOf(key) });
      }
    }
  }

  /** A job was made, changed or removed in this process. */
  changed(key: JobKey): void {
    this.#plan(key);
  }

  /** Queues what is due, and begins what can begin. Called every minute; it may be called at any time. */
  tick(): void {
    if (this.#isStopping) return;
    const nowMs = this.#parts.clock();
    this.follow();
    if (nowMs < this.#lastTickMs) this.#clockWasSetBack(nowMs);
    this.#lastTickMs = nowMs;
    for (let tries = 0; tries < MAX_TRIES && !this.#queueDue(nowMs); tries++) this.follow();
    for (const run of this.#queue.waitingSince(nowMs - this.#times.queueWaitMs)) this.#expire(run as ActiveRun);
    this.#queue.pump(nowMs);
    if (Math.abs(nowMs - this.#housekeptMs) >= HOUR_MS) {
      const { perJob, all } = this.#parts.history ?? USUAL_HISTORY;
      this.#parts.store.pruneRuns(perJob, all);
      this.#housekeptMs = nowMs;
    }
  }

  /**
   * Starts a job that is due or not, enabled or not; its task waits for its turn like every run.
   * @throws `not-found`, `exists` when it runs or waits already, what the start of a task throws.
   */
  runNow(key: JobKey, authId: string): { readonly upid: string } {
    const { store, clock } = this.#parts;
    const record = store.get(key);
    if (record === undefined) throw new HoldfastError('not-found', `there is no job ${refOf(key)}`);
    const active = this.#active.get(refOf(key));
    if (active !== undefined)
      throw new HoldfastError(
        'exists',
        `job ${refOf(key)} ${active.hasBegun ? 'runs' : 'waits for its turn'} already: wait for its end, or stop it first`,
        { data: { upid: active.upid } },
      );
    const kind = this.#parts.kinds.get(key.kind);
    const { job } = record;
    const claims = kind.claims(job.options);
    const common = { reason: 'hand', slotMs: null, attempt: 0, authId, queuedMs: clock() } as const;
    const run = new ActiveRun({ job, kind, claims, ...common }, (each) => this.#begin(each));
    const upid = this.#startTask(run);
    try {
      run.number = store.addRun(rowOf(run.plan, { upid }));
    } catch (error) {
      run.cancel(error as Error);
      throw error;
    }
    this.#active.set(run.ref, run);
    this.#queue.add(run);
    this.#queue.pump(clock());
    return { upid };
  }

  /** Queues and begins nothing any more. What waits is made up for at the next start; what runs ends with its task. */
  stop(): void {
    this.#isStopping = true;
    const reason = new HoldfastError('aborted', 'the server is stopping');
    for (const run of this.#active.values()) if (!run.hasBegun) run.cancel(reason);
  }

  #load(): void {
    const { store } = this.#parts;
    const records = store.list();
    this.#version = store.version();
    const known = new Set(records.map(({ job }) => refOf(job)));
    for (const ref of this.#planned.keys()) if (!known.has(ref)) this.#planned.delete(ref);
    store.atomically(() => {
      for (const { job, state } of records) {
        const before = this.#planned.get(refOf(job));
        if (before !== undefined && isSame(before, job, state)) continue;
        this.#planned.set(refOf(job), this.#planOf(job, state));
      }
    });
  }

  #plan(key: JobKey): void {
    const record = this.#parts.store.get(key);
    if (record === undefined) this.#planned.delete(refOf(key));
    else this.#planned.set(refOf(key), this.#planOf(record.job, record.state));
  }

  #planOf(job: Job, stored: JobState): Planned {
    const { store, clock, zone, report } = this.#parts;
    try {
      const event = eventOf(job);
      const state = afterClock(stored, event, clock(), zone);
      if (state !== stored) store.setState(job, state);
      const owedMs = job.enabled ? (state.owed?.dueMs ?? Infinity) : Infinity;
      return { job, event, state, nextMs: Math.min(nextSlot(event, state, zone) ?? Infinity, owedMs) };
    } catch (error) {
      report(`a job never runs: ${(error as Error).message}`, { job: refOf(job) });
      return { job, event: undefined, state: stored, nextMs: Infinity };
    }
  }

  #clockWasSetBack(nowMs: number): void {
    this.#parts.report('the clock was set back', { by: this.#lastTickMs - nowMs });
    this.#parts.store.atomically(() => {
      for (const [ref, { job, state }] of this.#planned) this.#planned.set(ref, this.#planOf(job, state));
    });
  }

  /** Settles the slots of all that are due in one transaction, before anything runs. False when another process changed something meanwhile. */
  #queueDue(nowMs: number): boolean {
    const { store, onRunEnd } = this.#parts;
    const due = [...this.#planned.values()].filter(({ nextMs }) => nextMs <= nowMs);
    if (due.length === 0) return true;
    const settled = store.atomically(() =>
      store.version() === this.#version ? due.map((planned) => this.#settle(planned, nowMs)) : undefined,
    );
    if (settled === undefined) return false;
    for (const { planned, run, ended } of settled) {
      this.#planned.set(refOf(planned.job), planned);
      if (run !== undefined) {
        this.#active.set(run.ref, run);
        this.#queue.add(run);
      }
      if (ended !== undefined) onRunEnd?.(ended, planned.job);
    }
    return true;
  }

  #settle({ job, event, state }: Planned, nowMs: number): Settled {
    const { store, zone } = this.#parts;
    const slotMs = nextSlot(event, state, zone);
    const isSlot = slotMs !== undefined && slotMs <= nowMs;
    const active = this.#active.get(refOf(job));
    if (active !== undefined && !isSlot) return { planned: { ...this.#planOf(job, state), nextMs: nowMs + MINUTE_MS } };
    const settledMs = isSlot ? nowMs : state.settledMs;
    const after: JobState = { settledMs, owed: active === undefined ? null : state.owed };
    store.setState(job, after);
    const planned = this.#planOf(job, after);
    if (active !== undefined) return { planned, ended: this.#skip(active, job, slotMs as number, nowMs) };
    const { owed } = state;
    const of = isSlot
      ? { reason: isLate(slotMs, nowMs) ? ('late' as const) : ('schedule' as const), slotMs, attempt: 0 }
      : { reason: owed?.reason ?? 'retry', slotMs: owed?.slotMs ?? nowMs, attempt: owed?.attempt ?? 0 };
    const common = { job, ...of, authId: SCHEDULE_USER, queuedMs: nowMs };
    try {
      const kind: JobKind = this.#parts.kinds.get(job.kind);
      const run = new ActiveRun({ ...common, kind, claims: kind.claims(job.options) }, (each) => this.#begin(each));
      run.number = store.addRun(rowOf(run.plan));
      return { planned, run };
    } catch (error) {
      const ending = { state: 'error', endMs: nowMs, message: (error as Error).message } as const;
      return { planned, ended: store.run(store.addRun(rowOf(common, ending))) as JobRun };
    }
  }

  /** Notes a slot that came while the job runs; the first of a run has a row, the others are counted there. */
  #skip(active: ActiveRun, job: Job, slotMs: number, nowMs: number): JobRun | undefined {
    const { store } = this.#parts;
    const what = `skipped: run ${active.number} of before ${active.hasBegun ? 'still runs' : 'still waits for its turn'}`;
    if (active.skipped !== undefined) {
      const { number, count } = active.skipped;
      active.skipped = { number, count: count + 1 };
      store.changeRun(number, { message: `${what}; ${count + 1} slots until ${new Date(slotMs).toISOString()}` });
      return undefined;
    }
    const plan = { job, reason: 'schedule', slotMs, attempt: 0, authId: SCHEDULE_USER, queuedMs: nowMs } as const;
    const number = store.addRun(rowOf(plan, { state: 'skipped', endMs: nowMs, message: what }));
    active.skipped = { number, count: 1 };
    return store.run(number);
  }

  #expire(run: ActiveRun): void {
    this.#queue.remove(run);
    const hours = this.#times.queueWaitMs / HOUR_MS;
    const error = new HoldfastError('timed-out', `skipped: its turn did not come within ${hours} h`);
    run.cancel(error);
    // One by hand ends with its task.
    if (run.upid === null) this.#end(run, { state: 'skipped', message: error.message });
  }

  /** Its turn has come. */
  #begin(run: ActiveRun): void {
    try {
      if (run.upid === null) this.#startTask(run);
      const { store, clock } = this.#parts;
      store.changeRun(run.number, { state: 'running', startMs: clock(), upid: run.upid });
    } catch (error) {
      if (run.upid === null) this.#end(run, { state: 'error', message: (error as Error).message });
      else this.#parts.report(`a run is not noted: ${(error as Error).message}`, { job: run.ref });
    }
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
    const { store, clock, onRunEnd } = this.#parts;
    const nowMs = clock();
    // A job whose work goes on though it was aborted is not started beside it.
    if (left === undefined) this.#forget(run);
    else left.then(() => this.#forget(run)).catch(() => undefined);
    this.#queue.remove(run);
    try {
      const owed = owedAfter(run, ending, isAborted, nowMs);
      const note = (): void => store.changeRun(run.number, { ...ending, endMs: nowMs, upid: run.upid });
      if (owed === undefined) note();
      else
        store.atomically(() => {
          note();
          const record = store.get(run.plan.job);
          if (record?.job.enabled) store.setState(record.job, { ...record.state, owed });
        });
      if (owed !== undefined) this.#plan(run.plan.job);
      const ended = store.run(run.number);
      if (ended !== undefined) onRunEnd?.(ended, run.plan.job);
    } finally {
      if (!this.#isStopping) this.#queue.pump(clock());
    }
  }

  #forget(run: ActiveRun): void {
    if (this.#active.get(run.ref) === run) this.#active.delete(run.ref);
  }

  /** Ends a run that a server before this one left; what it was for is owed, once. */
  #interrupted(run: JobRun, nowMs: number): JobRun {
    const { store } = this.#parts;
    // What had begun anew and was cut off again may be what cuts the server off: it waits for its next slot.
    const isOwed = run.reason !== 'hand' && (run.reason !== 'resume' || run.state === 'queued');
    const then = isOwed ? 'it is made again' : run.reason === 'hand' ? 'start it again' : 'the next slot is waited for';
    const message = `cut off when the server stopped; ${then}`;
    store.changeRun(run.number, { state: 'interrupted', endMs: nowMs, message });
    const record = store.get(run);
    if (isOwed && record?.job.enabled) {
      const { slotMs, attempt } = run;
      store.setState(run, {
        ...record.state,
        owed: { slotMs: slotMs ?? nowMs, dueMs: nowMs, attempt, reason: 'resume' },
      });
    }
    return { ...run, state: 'interrupted', endMs: nowMs, message };
  }
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

function rowOf(
  plan: Omit<RunPlan, 'kind' | 'claims'>,
  more: Partial<Omit<JobRun, 'number'>> = {},
): Omit<JobRun, 'number'> {
  const { job, reason, slotMs, attempt, authId, queuedMs } = plan;
  const base = { kind: job.kind, id: job.id, reason, slotMs, attempt, authId, queuedMs };
  return { ...base, state: 'queued', startMs: null, endMs: null, upid: null, message: '', ...more };
}

function isSame({ job, state }: Planned, other: Job, otherState: JobState): boolean {
  return JSON.stringify([job, state]) === JSON.stringify([other, otherState]);
}
