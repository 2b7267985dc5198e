// The tables of jobs (migrations 5 and 8). All their queries are here. What is settled is synced: a power cut must not make a night run twice.
import type { Database, Statement } from 'better-sqlite3';
import { type Static, Type } from 'typebox';
import type { Job, JobKey, JobRecord, JobRun, JobState } from '../jobs/schedule/job.ts';
import type { JobStore, RunEnding, RunFilter, RunRequest } from '../jobs/schedule/job-store.ts';
import { parseStateFile } from '../util/json-file.ts';
import { unsynced } from './unsynced.ts';

/** Rows of one answer. */
const MAX_ROWS = 10_000;
const Options = Type.Record(Type.String(), Type.Unknown());
const Owed = Type.Object({
  slotMs: Type.Integer(),
  dueMs: Type.Integer(),
  attempt: Type.Integer(),
  reason: Type.Union([Type.Literal('retry'), Type.Literal('resume')]),
});

interface StoredJob {
  readonly kind: string;
  readonly id: string;
  readonly schedule: string | null;
  readonly enabled: number;
  readonly comment: string;
  readonly options: string;
  readonly retries: number;
  readonly retry_delay_ms: number;
  readonly timeout_ms: number;
  readonly settled_ms: number;
  readonly owed: string | null;
  readonly since_ms: number;
  readonly good_ms: number | null;
}

const RUN = `number, kind, id, reason, state, slot_ms AS slotMs, attempt, auth_id AS authId, queued_ms AS queuedMs,
  start_ms AS startMs, end_ms AS endMs, upid, message`;
const CONDITIONS: Readonly<Record<string, string>> = {
  kind: 'kind = :kind',
  id: 'id = :id',
  states: 'state IN (SELECT value FROM json_each(:states))',
  sinceMs: 'queued_ms >= :sinceMs',
  untilMs: 'queued_ms <= :untilMs',
};

export class JobTables implements JobStore {
  readonly #db: Database;
  readonly #transactions: { atomically<T>(work: () => T): T };
  readonly #get: Statement;
  readonly #setState: Statement;
  readonly #addRun: Statement;
  readonly #changeRun: Statement;
  readonly #noteGood: Statement;
  readonly #run: Statement;
  readonly #version: Statement;
  readonly #full: Statement;
  readonly #oldest: Statement;
  readonly #pruneJob: Statement;
  readonly #pruneAll: Statement;

  /** `state.db` has migrations 5 and 8. */
  constructor(state: { readonly db: Database; atomically<T>(work: () => T): T }) {
    const { db } = state;
    this.#db = db;
    this.#transactions = state;
    this.#get = db.prepare('SELECT * FROM jobs WHERE kind = :kind AND id = :id');
    this.#run = db.prepare(`SELECT ${RUN} FROM job_runs WHERE number = ?`);
    this.#setState = db.prepare(
      'UPDATE jobs SET settled_ms = :settledMs, owed = :owed WHERE kind = :kind AND id = :id',
    );
    this.#addRun = db.prepare(
      `INSERT INTO job_runs (kind, id, reason, state, slot_ms, attempt, auth_id, queued_ms, start_ms, end_ms, upid, message)
       VALUES (:kind, :id, :reason, :state, :slotMs, :attempt, :authId, :queuedMs, :startMs, :endMs, :upid, :message)`,
    );
    this.#changeRun = db.prepare(
      `UPDATE job_runs SET state = :state, start_ms = :startMs, end_ms = :endMs, upid = :upid, message = :message
       WHERE number = :number`,
    );
    this.#noteGood = db.prepare('UPDATE jobs SET good_ms = :startMs WHERE kind = :kind AND id = :id');
    this.#version = db.prepare('PRAGMA data_version').pluck();
    this.#full = db.prepare('SELECT kind, id FROM job_runs GROUP BY kind, id HAVING count(*) > :keepPerJob');
    this.#oldest = db.prepare('SELECT number FROM job_runs ORDER BY number DESC LIMIT 1 OFFSET ?');
    const prune = (ofJob: string): Statement =>
      db.prepare(
        `DELETE FROM job_runs WHERE ${ofJob} end_ms IS NOT NULL
         AND number < (SELECT number FROM job_runs WHERE ${ofJob} TRUE ORDER BY number DESC LIMIT 1 OFFSET :keep)`,
      );
    this.#pruneJob = prune('kind = :kind AND id = :id AND');
    this.#pruneAll = prune('');
  }

  list(kind?: string): JobRecord[] {
    const rows = this.#db.prepare('SELECT * FROM jobs WHERE :kind IS NULL OR kind = :kind ORDER BY kind, id');
    return (rows.all({ kind: kind ?? null }) as StoredJob[]).map(recordOf);
  }

  count(): number {
    return this.#db.prepare('SELECT count(*) FROM jobs').pluck().get() as number;
  }

  get({ kind, id }: JobKey): JobRecord | undefined {
    const row = this.#get.get({ kind, id }) as StoredJob | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  add(job: Job, state: JobState): void {
    this.#db
      .prepare(
        `INSERT INTO jobs VALUES (:kind, :id, :schedule, :enabled, :comment, :options, :retries, :retryDelayMs, :timeoutMs,
         :settledMs, :owed, :settledMs, NULL)`,
      )
      .run(rowOf(job, state));
  }

  update(job: Job, state: JobState, isNewPlan: boolean): void {
    this.#db
      .prepare(
        `UPDATE jobs SET schedule = :schedule, enabled = :enabled, comment = :comment, options = :options, retries = :retries,
         retry_delay_ms = :retryDelayMs, timeout_ms = :timeoutMs, settled_ms = :settledMs, owed = :owed,
         since_ms = CASE WHEN :isNewPlan THEN :settledMs ELSE since_ms END
         WHERE kind = :kind AND id = :id`,
      )
      .run({ ...rowOf(job, state), isNewPlan: Number(isNewPlan) });
  }

  setState({ kind, id }: JobKey, { settledMs, owed }: JobState): void {
    this.#setState.run({ kind, id, settledMs, owed: owed === null ? null : JSON.stringify(owed) });
  }

  remove({ kind, id }: JobKey): void {
    this.#db.prepare('DELETE FROM jobs WHERE kind = ? AND id = ?').run(kind, id);
    this.#db.prepare('DELETE FROM job_requests WHERE kind = ? AND id = ?').run(kind, id);
  }

  addRun(run: Omit<JobRun, 'number'>): number {
    return Number(this.#addRun.run({ ...run }).lastInsertRowid);
  }

  changeRun(number: number, ending: RunEnding, isGood = false): void {
    const before = this.run(number);
    if (before === undefined) return;
    const { kind, id, state, startMs, endMs, upid, message } = { ...before, ...ending };
    const write = this.#db.transaction((): void => {
      this.#changeRun.run({ number, state, startMs, endMs, upid, message });
      if (isGood && startMs !== null) this.#noteGood.run({ kind, id, startMs });
    });
    // A run whose begin or end is lost in a power cut counts as interrupted: no disk is waited for.
    if (this.#db.inTransaction) write();
    else unsynced(this.#db, write);
  }

  clockWasSetBack(nowMs: number): void {
    this.#db.prepare('UPDATE jobs SET since_ms = min(since_ms, :nowMs), good_ms = min(good_ms, :nowMs)').run({ nowMs });
  }

  run(number: number): JobRun | undefined {
    return this.#run.get(number) as JobRun | undefined;
  }

  runs(filter: RunFilter): { rows: JobRun[]; total: number } {
    const values: Record<string, string | number> = {};
    const conditions: string[] = [];
    for (const [name, condition] of Object.entries(CONDITIONS)) {
      const value = filter[name as keyof RunFilter];
      if (value === undefined) continue;
      values[name] = typeof value === 'object' ? JSON.stringify(value) : value;
      conditions.push(condition);
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    const limit = Math.min(filter.limit === undefined || filter.limit === 0 ? MAX_ROWS : filter.limit, MAX_ROWS);
    const rows = this.#db
      .prepare(`SELECT ${RUN} FROM job_runs ${where} ORDER BY number DESC LIMIT :limit OFFSET :start`)
      .all({ ...values, limit, start: filter.start ?? 0 }) as JobRun[];
    const { total } = this.#db.prepare(`SELECT count(*) AS total FROM job_runs ${where}`).get(values) as {
      total: number;
    };
    return { rows, total };
  }

  lastRuns(kind?: string): JobRun[] {
    return this.#db
      .prepare(
        `SELECT ${RUN} FROM job_runs WHERE number IN (
           SELECT max(number) FROM job_runs
           WHERE end_ms IS NOT NULL AND state <> 'skipped' AND (:kind IS NULL OR kind = :kind) GROUP BY kind, id)`,
      )
      .all({ kind: kind ?? null }) as JobRun[];
  }

  unended(): JobRun[] {
    return this.#db.prepare(`SELECT ${RUN} FROM job_runs WHERE end_ms IS NULL ORDER BY number`).all() as JobRun[];
  }

  pruneRuns(keepPerJob: number, keepAll: number): number {
    // Mostly there is nothing to do: that is only read. The index of jobs alone tells who has too many.
    const full = this.#full.all({ keepPerJob }) as JobKey[];
    if (full.length === 0 && this.#oldest.get(keepAll) === undefined) return 0;
    return this.atomically(() => {
      let pruned = 0;
      for (const { kind, id } of full) pruned += this.#pruneJob.run({ kind, id, keep: keepPerJob - 1 }).changes;
      return pruned + this.#pruneAll.run({ keep: keepAll - 1 }).changes;
    });
  }

  request({ kind, id, authId }: RunRequest): void {
    this.#db.prepare('INSERT OR REPLACE INTO job_requests VALUES (:kind, :id, :authId)').run({ kind, id, authId });
  }

  takeRequests(): RunRequest[] {
    return this.#db.prepare('DELETE FROM job_requests RETURNING kind, id, auth_id AS authId').all() as RunRequest[];
  }

  version(): number {
    return this.#version.get() as number;
  }

  atomically<T>(work: () => T): T {
    return this.#transactions.atomically(work);
  }
}

function rowOf(job: Job, { settledMs, owed }: JobState): Record<string, string | number | null> {
  const { kind, id, schedule, comment, retries, retryDelayMs, timeoutMs } = job;
  return {
    ...{ kind, id, schedule, comment, retries, retryDelayMs, timeoutMs, settledMs },
    enabled: Number(job.enabled),
    options: JSON.stringify(job.options),
    owed: owed === null ? null : JSON.stringify(owed),
  };
}

function recordOf(row: StoredJob): JobRecord {
  const { kind, id, schedule, comment, retries } = row;
  const what = `job ${kind}/${id}`;
  const options: Static<typeof Options> = parseStateFile(`the options of ${what}`, row.options, Options);
  const owed = row.owed === null ? null : parseStateFile(`the state of ${what}`, row.owed, Owed);
  const times = { retryDelayMs: row.retry_delay_ms, timeoutMs: row.timeout_ms };
  return {
    job: { kind, id, schedule, enabled: row.enabled === 1, comment, options, retries, ...times },
    state: { settledMs: row.settled_ms, owed },
    sinceMs: row.since_ms,
    goodMs: row.good_ms,
  };
}
