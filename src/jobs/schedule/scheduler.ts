// Runs jobs when they are due, each once, whatever the clock does and whenever the server was away. What is due follows from what is settled,
// which is written before a run begins; the tick only looks.
import type { CalendarEvent } from '../calendar/calendar-event.ts';
import type { Zone } from '../calendar/zone.ts';
import { type ActiveRun, rowOf } from './active-run.ts';
import { type Job, type JobKey, type JobRun, type JobState, refOf } from './job.ts';
import { noSuchJob } from './job-book.ts';
import { Runs, type RunsParts } from './runs.ts';
import { afterClock, eventOf, isLate, nextSlot } from './slots.ts';

const MINUTE_MS = 60_000;
/** How often a tick begins anew when another process changes jobs at the same time. */
const MAX_TRIES = 5;
const HOUR_MS = 60 * MINUTE_MS;
const USUAL_HISTORY = { perJob: 200, all: 50_000 };
/** Whom runs by schedule run as. */
const SCHEDULE_USER = 'root@pam';

export interface SchedulerParts extends RunsParts {
  /** Of the schedules. */
  readonly zone: Zone;
  /** Ended runs that are kept, of each job and of all. */
  readonly history?: typeof USUAL_HISTORY;
}

/** A job as the tick sees it. */
interface Planned {
  readonly job: Job;
  readonly event: CalendarEvent | undefined;
  readonly state: JobState;
  /** When to look at it; Infinity for never. */
  readonly nextMs: number;
}

/** What a transaction settled; memory follows when it is written. */
interface Settled {
  readonly planned: Planned;
  readonly run?: ActiveRun;
  readonly skip?: { readonly of: ActiveRun; readonly now: NonNullable<ActiveRun['skipped']> };
  readonly ended?: JobRun | undefined;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #runs: Runs;
  readonly #planned = new Map<string, Planned>();
  #version = -1;
  #lastTickMs = 0;
  #housekeptMs = 0;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#runs = new Runs(parts, (key) => this.#plan(key));
  }

  /** Runs that wait or work. */
  get activeCount(): number {
    return this.#runs.count;
  }

  /** Ends what a server before this one left, which is made up for once, reads the jobs, and runs what commands asked for meanwhile. Before the first tick. */
  start(): void {
    const { store, clock } = this.#parts;
    const cut = store.atomically(() => {
      store.clockWasSetBack(clock());
      return store.unended().map((run) => this.#interrupted(run, clock()));
    });
    this.#load();
    for (const run of cut) this.#runs.tell(run, this.#planned.get(refOf(run))?.job);
    this.#lastTickMs = clock();
    this.#takeRequests();
  }

  /** Looks at what another process changed, and what it wishes to be run. Cheap when it did nothing. */
  follow(): void {
    if (this.#runs.isStopping || this.#parts.store.version() === this.#version) return;
    this.#load();
    this.#takeRequests();
  }

  /** A job was made, changed or removed in this process. */
  changed(key: JobKey): void {
    this.#plan(key);
  }

  /** Queues what is due, and begins what can begin. Called every minute; it may be called at any time. */
  tick(): void {
    if (this.#runs.isStopping) return;
    const nowMs = this.#parts.clock();
    this.follow();
    if (nowMs < this.#lastTickMs) this.#clockWasSetBack(nowMs);
    this.#lastTickMs = nowMs;
    for (let tries = 0; tries < MAX_TRIES && !this.#queueDue(nowMs); tries++) this.follow();
    this.#runs.pump(nowMs);
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
    const record = this.#parts.store.get(key);
    if (record === undefined) throw noSuchJob(key);
    return this.#runs.startNow(record.job, authId);
  }

  /** Queues and begins nothing any more. What waits is made up for at the next start; what runs ends with its task. */
  stop(): void {
    this.#runs.stop();
  }

  /** What other processes wish to be run, also while no server ran. */
  #takeRequests(): void {
    const { store, report } = this.#parts;
    for (const { authId, ...key } of store.takeRequests()) {
      try {
        this.runNow(key, authId);
      } catch (error) {
        report(`a job is not run: ${(error as Error).message}`, { job: refOf(key) });
      }
    }
  }

  #load(): void {
    const { store } = this.#parts;
    // Before the look: a change beside it is seen at the next one.
    this.#version = store.version();
    const records = store.list();
    const known = new Set(records.map(({ job }) => refOf(job)));
    const gone = [...this.#planned].filter(([ref]) => !known.has(ref));
    for (const [ref, { job }] of gone) {
      this.#planned.delete(ref);
      this.#runs.jobRemoved(job);
    }
    const changed: Job[] = [];
    store.atomically(() => {
      for (const { job, state } of records) {
        const before = this.#planned.get(refOf(job));
        if (before !== undefined && isSame(before, job, state)) continue;
        this.#planned.set(refOf(job), this.#planOf(job, state));
        changed.push(job);
      }
    });
    for (const job of changed) this.#runs.jobChanged(job);
  }

  #plan(key: JobKey): void {
    const record = this.#parts.store.get(key);
    if (record === undefined) {
      this.#planned.delete(refOf(key));
      this.#runs.jobRemoved(key);
    } else {
      this.#planned.set(refOf(key), this.#planOf(record.job, record.state));
      this.#runs.jobChanged(record.job);
    }
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
      this.#parts.store.clockWasSetBack(nowMs);
      for (const [ref, { job, state }] of this.#planned) this.#planned.set(ref, this.#planOf(job, state));
    });
  }

  /** Settles the slots of all that are due in one transaction, before anything runs. False when another process changed something meanwhile. */
  #queueDue(nowMs: number): boolean {
    const { store } = this.#parts;
    const due = [...this.#planned.values()].filter(({ nextMs }) => nextMs <= nowMs);
    if (due.length === 0) return true;
    const settled = store.atomically(() =>
      store.version() === this.#version ? due.map((planned) => this.#settle(planned, nowMs)) : undefined,
    );
    if (settled === undefined) return false;
    for (const { planned, run, skip, ended } of settled) {
      this.#planned.set(refOf(planned.job), planned);
      if (run !== undefined) this.#runs.enter(run);
      if (skip !== undefined) skip.of.skipped = skip.now;
      this.#runs.tell(ended, planned.job);
    }
    return true;
  }

  #settle({ job, event, state }: Planned, nowMs: number): Settled {
    const { store, zone } = this.#parts;
    const slotMs = nextSlot(event, state, zone);
    const isSlot = slotMs !== undefined && slotMs <= nowMs;
    const active = this.#runs.of(job);
    if (active !== undefined && !isSlot) return { planned: { ...this.#planOf(job, state), nextMs: nowMs + MINUTE_MS } };
    const settledMs = isSlot ? nowMs : state.settledMs;
    const after: JobState = { settledMs, owed: active === undefined ? null : state.owed };
    store.setState(job, after);
    const planned = this.#planOf(job, after);
    if (active !== undefined) return { planned, ...this.#skip(active, job, slotMs as number, nowMs) };
    const { owed } = state;
    const of = isSlot
      ? { reason: isLate(slotMs, nowMs) ? ('late' as const) : ('schedule' as const), slotMs, attempt: 0 }
      : { reason: owed?.reason ?? 'retry', slotMs: owed?.slotMs ?? nowMs, attempt: owed?.attempt ?? 0 };
    const wish = { job, ...of, authId: SCHEDULE_USER, queuedMs: nowMs };
    try {
      return { planned, run: this.#runs.note(wish) };
    } catch (error) {
      const ending = { state: 'error', endMs: nowMs, message: (error as Error).message } as const;
      return { planned, ended: store.run(store.addRun(rowOf(wish, ending))) as JobRun };
    }
  }

  /** Notes a slot that came while the job runs; the first of a run has a row, the others are counted there. */
  #skip(active: ActiveRun, job: Job, slotMs: number, nowMs: number): Omit<Settled, 'planned'> {
    const { store } = this.#parts;
    const what = `skipped: run ${active.number} of before ${active.hasBegun ? 'still runs' : 'still waits for its turn'}`;
    if (active.skipped !== undefined) {
      const { number, count } = active.skipped;
      store.changeRun(number, { message: `${what}; ${count + 1} slots until ${new Date(slotMs).toISOString()}` });
      return { skip: { of: active, now: { number, count: count + 1 } } };
    }
    const wish = { job, reason: 'schedule', slotMs, attempt: 0, authId: SCHEDULE_USER, queuedMs: nowMs } as const;
    const number = store.addRun(rowOf(wish, { state: 'skipped', endMs: nowMs, message: what }));
    return { skip: { of: active, now: { number, count: 1 } }, ended: store.run(number) };
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

function isSame({ job, state }: Planned, other: Job, otherState: JobState): boolean {
  return JSON.stringify([job, state]) === JSON.stringify([other, otherState]);
}
