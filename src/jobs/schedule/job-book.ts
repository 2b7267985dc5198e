// What may stand in the list of jobs, for the server and for commands on its machine. Each look is at the store itself, which several processes
// change.

import { durationText } from '../../util/duration.ts';
import { HoldfastError } from '../../util/errors.ts';
import { parseCalendarEvent } from '../calendar/calendar-event.ts';
import { type Job, type JobKey, type JobRecord, LIMITS, refOf, USUAL } from './job.ts';
import type { JobKinds } from './job-kinds.ts';
import type { JobStore } from './job-store.ts';

const ID = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const LINE = /^[^\p{Cc}]*$/u;

export interface NewJob extends JobKey {
  readonly schedule?: string | null | undefined;
  readonly enabled?: boolean | undefined;
  readonly comment?: string | undefined;
  readonly options: unknown;
  readonly retries?: number | undefined;
  readonly retryDelayMs?: number | undefined;
  readonly timeoutMs?: number | undefined;
}

/** What is not named stays; `options` are all of them. */
export type JobChange = Partial<Omit<NewJob, 'kind' | 'id'>>;

export interface JobBookParts {
  readonly store: JobStore;
  readonly kinds: JobKinds;
  readonly clock: () => number;
  /** Told of each change in the transaction that makes it, for the audit log. */
  readonly note: (action: 'job-create' | 'job-update' | 'job-remove', key: JobKey, actor: JobActor) => void;
}

export interface JobActor {
  readonly authId: string;
  /** From where; empty for the command line. */
  readonly address: string;
}

export class JobBook {
  readonly kinds: JobKinds;
  readonly #parts: JobBookParts;

  constructor(parts: JobBookParts) {
    this.#parts = parts;
    this.kinds = parts.kinds;
  }

  /** By kind and id. */
  list(kind?: string): JobRecord[] {
    return this.#parts.store.list(kind);
  }

  /** @throws `not-found`. */
  get(key: JobKey): JobRecord {
    const record = this.#parts.store.get(key);
    if (record === undefined) throw noSuchJob(key);
    return record;
  }

  /** A job as it would be kept. @throws `bad-name`, `bad-argument`, `too-large`. */
  checked(wish: NewJob): Job {
    const { kind, id, schedule = null, enabled = true, comment = '' } = wish;
    if (!ID.test(id) || id.length > LIMITS.idChars)
      throw new HoldfastError(
        'bad-name',
        `${JSON.stringify(id.slice(0, 80))} is no id of a job: up to ${LIMITS.idChars} letters, digits, "_", "-" and ".", not beginning with "-" or "."`,
      );
    if (schedule !== null) parseCalendarEvent(schedule);
    if (comment.length > LIMITS.commentChars || !LINE.test(comment))
      throw new HoldfastError('bad-argument', `a comment is one line of at most ${LIMITS.commentChars} characters`);
    const options = this.kinds.get(kind).check(wish.options);
    if (Buffer.byteLength(JSON.stringify(options)) > LIMITS.optionsBytes)
      throw new HoldfastError('too-large', `the options of a job take ${LIMITS.optionsBytes} bytes at most`);
    return {
      kind,
      id,
      schedule,
      enabled,
      comment,
      options,
      retries: within('retries', wish.retries ?? USUAL.retries, 0, LIMITS.retries),
      retryDelayMs: lasting('retry-delay', wish.retryDelayMs ?? USUAL.retryDelayMs, 1000, LIMITS.maxRetryDelayMs),
      timeoutMs: lasting('timeout', wish.timeoutMs ?? USUAL.timeoutMs, LIMITS.minTimeoutMs, LIMITS.maxTimeoutMs),
    };
  }

  /** It runs at its next slot: what is past is settled. @throws `exists`, `too-many`, as `checked`. */
  create(actor: JobActor, wish: NewJob): Job {
    const { store, clock, note } = this.#parts;
    const job = this.checked(wish);
    store.atomically(() => {
      if (store.get(job) !== undefined) throw new HoldfastError('exists', `there is a job ${refOf(job)} already`);
      if (store.count() >= LIMITS.jobs)
        throw new HoldfastError('too-many', `${LIMITS.jobs} jobs are there, which is the limit; remove some`);
      store.add(job, { settledMs: clock(), owed: null });
      note('job-create', job, actor);
    });
    return job;
  }

  /**
   * A run that is under way ends with what it began with. A job with another schedule, or that is enabled again, makes up for nothing. A change
   * that follows from what the job is now is a function: no other process changes it in between.
   * @throws `not-found`, as `checked`; what the function throws.
   */
  update(actor: JobActor, key: JobKey, change: JobChange | ((before: Job) => JobChange)): Job {
    const { store, clock, note } = this.#parts;
    return store.atomically(() => {
      const { job: before, state } = this.get(key);
      const wanted = typeof change === 'function' ? change(before) : change;
      const job = this.checked({ ...before, ...defined(wanted), kind: before.kind, id: before.id });
      const isNewPlan = job.schedule !== before.schedule || (job.enabled && !before.enabled);
      const settled = isNewPlan ? { settledMs: clock(), owed: null } : state;
      store.update(job, job.enabled ? settled : { ...settled, owed: null }, isNewPlan);
      note('job-update', job, actor);
      return job;
    });
  }

  /** Its runs stay in the history. @throws `not-found`. */
  remove(actor: JobActor, key: JobKey): void {
    const { store, note } = this.#parts;
    store.atomically(() => {
      this.get(key);
      store.remove(key);
      note('job-remove', key, actor);
    });
  }
}

export function noSuchJob(key: JobKey): HoldfastError {
  return new HoldfastError('not-found', `there is no job ${refOf(key)}`);
}

function defined(change: JobChange): JobChange {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

function within(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new HoldfastError('bad-argument', `${name} is a whole number from ${least} to ${most}, not ${value}`);
}

function lasting(name: string, valueMs: number, leastMs: number, mostMs: number): number {
  if (Number.isSafeInteger(valueMs) && valueMs >= leastMs && valueMs <= mostMs) return valueMs;
  const given = Number.isSafeInteger(valueMs) ? `, not ${durationText(valueMs)}` : '';
  throw new HoldfastError(
    'bad-argument',
    `${name} is from ${durationText(leastMs)} to ${durationText(mostMs)}${given}`,
  );
}
