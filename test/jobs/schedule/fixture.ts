// A scheduler over real tables and real tasks, with a clock that stands still until it is moved, and jobs whose work the test ends.
import { setImmediate } from 'node:timers/promises';
import { Zone } from '../../../src/jobs/calendar/zone.ts';
import type { Job, JobKey, JobKind, JobRun, Stage } from '../../../src/jobs/schedule/job.ts';
import { JobBook, type NewJob } from '../../../src/jobs/schedule/job-book.ts';
import { JobKinds } from '../../../src/jobs/schedule/job-kinds.ts';
import { Scheduler, type SchedulerParts } from '../../../src/jobs/schedule/scheduler.ts';
import type { TaskWork } from '../../../src/jobs/tasks/task.ts';
import type { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { JobTables } from '../../../src/state/job-tables.ts';
import { MIGRATIONS } from '../../../src/state/migrations/all.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { TaskFixture } from '../tasks/fixture.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const ACTOR = { authId: 'root@pam', address: '' };

/** Tasks that leave nothing on a disk. */
export const LIGHT_TASKS: SchedulerParts['tasks'] = {
  start: ({ type }, body) => {
    const nothing = (): void => undefined;
    const { signal } = new AbortController();
    const work = { upid: type, signal, log: nothing, warn: nothing, progress: nothing, onProgress: nothing };
    const done = body(work).then(
      () => ({ upid: type, outcome: 'ok' as const, status: 'OK', endtime: 0 }),
      (error: Error) => ({ upid: type, outcome: 'error' as const, status: error.message, endtime: 0, error }),
    );
    return { upid: type, done };
  },
};

/** A run as the kind saw it; the test says how it ends. */
export interface Work {
  readonly job: Job;
  readonly work: TaskWork;
  end(): void;
  fail(message?: string): void;
}

export class ScheduleFixture {
  readonly files = new TaskFixture();
  readonly store: JobTables;
  readonly book: JobBook;
  readonly kinds = new JobKinds();
  /** Every run that a kind was asked for, in order. */
  readonly works: Work[] = [];
  readonly ends: JobRun[] = [];
  readonly reports: string[] = [];
  /** Ends each run at once. */
  isQuick = true;
  tasks: Tasks;
  scheduler: Scheduler;
  readonly #more: Partial<SchedulerParts>;

  constructor(more: Partial<SchedulerParts> = {}) {
    this.#more = more;
    const { db } = this.files;
    for (const { version, up } of MIGRATIONS) if (version > 2) db.exec(up);
    const atomically = <T>(work: () => T): T => (db.inTransaction ? work() : db.transaction(work).immediate());
    this.store = new JobTables({ db, atomically });
    for (const stage of ['backup', 'prune', 'gc', 'verify', 'sync', 'other'] as const)
      this.kinds.register(this.#kind(stage));
    this.book = new JobBook({ store: this.store, kinds: this.kinds, clock: () => this.nowMs, note: () => undefined });
    this.tasks = this.files.tasks();
    this.scheduler = this.#start();
  }

  get nowMs(): number {
    return this.files.nowMs;
  }
  set nowMs(value: number) {
    this.files.nowMs = value;
  }

  at(text: string): void {
    this.nowMs = Date.parse(text);
  }

  add(id: string, more: Partial<NewJob> = {}): Job {
    const job = this.book.create(ACTOR, { kind: 'backup', id, schedule: '02:00', options: { store: 'main' }, ...more });
    this.scheduler.changed(job);
    return job;
  }

  /** Looks at the clock once, and lets what begins begin. */
  async tick(): Promise<void> {
    this.scheduler.tick();
    await this.settle();
  }

  /** Ticks every minute until a time. */
  async until(text: string, stepMs = MINUTE): Promise<void> {
    for (const end = Date.parse(text); this.nowMs < end; ) {
      this.nowMs = Math.min(end, this.nowMs + stepMs);
      await this.tick();
    }
  }

  async settle(): Promise<void> {
    for (let turns = 0; turns < 60; turns++) await setImmediate();
  }

  /** Until so many runs have ended. */
  async ended(count: number): Promise<void> {
    for (const until = performance.now() + 10_000; this.ends.length < count; await setImmediate())
      if (performance.now() > until) throw new Error(`${this.ends.length} of ${count} runs have ended`);
  }

  /** Until nothing waits or runs. */
  async idle(): Promise<void> {
    for (const until = performance.now() + 10_000; this.scheduler.activeCount > 0; await setImmediate())
      if (performance.now() > until) throw new Error(`${this.scheduler.activeCount} runs have not ended`);
  }

  /** As after a SIGKILL: nothing of the process before is left but the tables. */
  async killAndStart(): Promise<void> {
    this.tasks = this.files.tasks();
    await this.tasks.markInterrupted();
    // A second later: names of tasks have the second in them, and this test process is always the same one.
    this.nowMs += 1000;
    this.works.length = 0;
    this.scheduler = this.#start();
  }

  /** Newest first, in words. */
  history(key?: Partial<JobKey>): string[] {
    return this.store.runs({ ...key }).rows.map(({ kind, id, reason, state }) => `${kind}/${id} ${reason} ${state}`);
  }

  ids(): string[] {
    return this.works.map(({ job }) => job.id);
  }

  #start(): Scheduler {
    const scheduler = new Scheduler({
      store: this.store,
      kinds: this.kinds,
      tasks: { start: (request, work) => this.tasks.start(request, work) },
      clock: () => this.nowMs,
      zone: new Zone('Europe/Rome'),
      report: (message) => this.reports.push(message),
      onRunEnd: (run) => this.ends.push(run),
      ...this.#more,
    });
    scheduler.start();
    return scheduler;
  }

  #kind(stage: Stage): JobKind {
    return {
      name: stage,
      stage,
      taskType: `${stage}job`,
      check: (options) => {
        const { store } = options as { store?: unknown };
        if (typeof store !== 'string') throw new HoldfastError('bad-argument', 'store is missing');
        return options as Record<string, unknown>;
      },
      claims: ({ store, node }) => [
        `datastore:${store as string}`,
        ...(node === undefined ? [] : [`node:${node as string}`]),
      ],
      workerId: ({ id, options }) => `${options.store as string}:${id}`,
      run: ({ job }, work) =>
        new Promise((resolve, reject) => {
          const each: Work = {
            job,
            work,
            end: () => resolve(undefined),
            fail: (message = 'it failed') => reject(new HoldfastError('write-failed', message)),
          };
          this.works.push(each);
          if (job.options.hangs !== true)
            work.signal.addEventListener('abort', () => reject(work.signal.reason as Error), { once: true });
          if (job.options.fails === true) each.fail();
          else if (this.isQuick && job.options.hangs !== true) each.end();
        }),
    };
  }

  [Symbol.dispose](): void {
    this.files[Symbol.dispose]();
  }
}

/** The nights, as days in the zone, in which a job of 02:30 ran; looked at twice a day, by a server that is killed now and then. */
export async function nightsIn(zone: string, days: number): Promise<string[]> {
  using jobs = new ScheduleFixture({ tasks: LIGHT_TASKS, zone: new Zone(zone) });
  jobs.at('2026-01-01T12:00:00Z');
  jobs.add('half-past-two', { schedule: '02:30' });
  for (let look = 1; look <= days * 2; look++) {
    jobs.nowMs += 12 * HOUR;
    if (look % 200 === 7) await jobs.killAndStart();
    jobs.scheduler.tick();
    await jobs.idle();
  }
  const inZone = new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short' });
  return jobs.ends.map(({ slotMs }) => inZone.format(slotMs as number));
}
