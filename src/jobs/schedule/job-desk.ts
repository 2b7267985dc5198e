// Jobs as administrators see and change them: what each is, when it runs next, what became of its last run. The same for a server and for a
// command on its machine.
import type { Zone } from '../calendar/zone.ts';
import type { Job, JobKey, JobOptions, JobRecord, JobRun } from './job.ts';
import { ENDED_STATES, refOf } from './job.ts';
import { type JobActor, type JobBook, type JobChange, type NewJob, noSuchJob } from './job-book.ts';
import type { JobStore, RunFilter } from './job-store.ts';
import { type JobPunctuality, MissedSlots } from './missed-slots.ts';
import { eventOf, nextSlot } from './slots.ts';

/** What is not named stays, also of the options. */
export interface JobAmendment extends Omit<JobChange, 'options'> {
  /** Options that get a new value, */
  readonly set: JobOptions;
  /** and those that go; `schedule` leaves the job to be run by hand. */
  readonly unset: readonly string[];
}

/** Times are Unix milliseconds. */
export interface JobView extends Job {
  /** Undefined for one that only a hand starts; in the past for one that is due. */
  readonly nextMs: number | undefined;
  /** The last run that ended, and the one that waits or runs. */
  readonly last: JobRun | undefined;
  readonly active: JobRun | undefined;
}

export interface JobDeskParts {
  readonly book: JobBook;
  readonly store: JobStore;
  readonly zone: Zone;
  readonly clock: () => number;
  /** Starts a run now. The UPID of its task is undefined where another process starts it. @throws `not-found`, `exists`. */
  readonly run: (key: JobKey, authId: string) => string | undefined;
  /** A job was made, changed or removed. */
  readonly changed: (key: JobKey) => void;
}

export class JobDesk {
  readonly #parts: JobDeskParts;
  readonly #missed: MissedSlots;

  constructor(parts: JobDeskParts) {
    this.#parts = parts;
    this.#missed = new MissedSlots(parts.zone);
  }

  list(kind?: string): JobView[] {
    const { book, store } = this.#parts;
    const last = new Map(store.lastRuns(kind).map((run) => [refOf(run), run]));
    const active = new Map(store.unended().map((run) => [refOf(run), run]));
    return book.list(kind).map((record) => {
      const ref = refOf(record.job);
      return this.#viewOf(record, last.get(ref), active.get(ref));
    });
  }

  /** One of them, without a look at all others. */
  find(key: JobKey): JobView | undefined {
    const { store } = this.#parts;
    const record = store.get(key);
    if (record === undefined) return undefined;
    const { kind, id } = key;
    const [last] = store.runs({ kind, id, states: ENDED_STATES, limit: 1 }).rows;
    return this.#viewOf(
      record,
      last,
      store.unended().find((run) => refOf(run) === refOf(key)),
    );
  }

  /** @throws `not-found`. */
  get(key: JobKey): JobView {
    const found = this.find(key);
    if (found === undefined) throw noSuchJob(key);
    return found;
  }

  /** @throws as `JobBook.create`. */
  create(actor: JobActor, wish: NewJob): JobView {
    const job = this.#parts.book.create(actor, wish);
    this.#parts.changed(job);
    return this.get(job);
  }

  /** @throws as `JobBook.update`. */
  update(actor: JobActor, key: JobKey, change: JobChange | ((before: Job) => JobChange)): JobView {
    this.#parts.book.update(actor, key, change);
    this.#parts.changed(key);
    return this.get(key);
  }

  /** @throws as `JobBook.update`. */
  amend(actor: JobActor, key: JobKey, { set, unset, ...change }: JobAmendment): JobView {
    return this.update(actor, key, (before) => {
      const options = Object.entries({ ...before.options, ...set });
      return {
        ...change,
        ...(unset.includes('schedule') && { schedule: null }),
        options: Object.fromEntries(options.filter(([name]) => !unset.includes(name))),
      };
    });
  }

  /** @throws `not-found`. */
  remove(actor: JobActor, key: JobKey): void {
    this.#parts.book.remove(actor, key);
    this.#parts.changed(key);
  }

  /** Within a transaction of the caller; what it returns is to be called when that is written. @throws `not-found`. */
  removeWithin(actor: JobActor, keys: readonly JobKey[]): () => void {
    for (const key of keys) this.#parts.book.remove(actor, key);
    return () => {
      for (const key of keys) this.#parts.changed(key);
    };
  }

  /** @throws `not-found`, `exists` when it runs or waits already. */
  run(key: JobKey, authId: string): string | undefined {
    return this.#parts.run(key, authId);
  }

  /** Newest first. */
  history(filter: RunFilter): { readonly rows: readonly JobRun[]; readonly total: number } {
    return this.#parts.store.runs(filter);
  }

  /** Of all jobs whether they keep their times. */
  punctuality(): JobPunctuality[] {
    const { book, store } = this.#parts;
    const last = new Map(store.lastRuns().map((run) => [refOf(run), run]));
    const active = new Map(store.unended().map((run) => [refOf(run), run]));
    const records = book.list();
    const missed = this.#missed.ofAll(records);
    return records.map(({ job, goodMs }, place) => {
      const ref = refOf(job);
      const runs = { active: active.get(ref), last: last.get(ref) };
      return { job, goodMs: goodMs ?? undefined, missedMs: missed[place], ...runs };
    });
  }

  #viewOf(record: JobRecord, last: JobRun | undefined, active: JobRun | undefined): JobView {
    return { ...record.job, nextMs: this.#nextOf(record), last, active };
  }

  #nextOf({ job, state }: JobRecord): number | undefined {
    const slot = nextSlot(eventOf(job), state, this.#parts.zone);
    const owed = job.enabled ? state.owed?.dueMs : undefined;
    return slot === undefined || owed === undefined ? (slot ?? owed) : Math.min(slot, owed);
  }
}
