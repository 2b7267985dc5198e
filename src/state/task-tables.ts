// The table of tasks (migration 2). All its queries are here. Rows are not synced: what a task did is durable where it did it, and a task whose
// end is lost in a power cut counts as interrupted.
import type { Database, Statement } from 'better-sqlite3';
import type { TaskEnding, TaskFilter, TaskRow, TaskStore } from '../jobs/tasks/task-store.ts';
import { unsynced } from './unsynced.ts';

/** Rows of one answer. */
const MAX_ROWS = 10_000;

interface Stored {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  readonly starttime: number;
  readonly type: string;
  readonly worker_id: string | null;
  readonly auth_id: string;
  readonly endtime: number | null;
  readonly status: string | null;
  readonly log_note: string | null;
  readonly data: string | null;
}

const COLUMNS = 'upid, node, pid, pstart, starttime, type, worker_id, auth_id, endtime, status, log_note, data';

/** Each filter as a condition. A part of a text is searched by its characters: none of them is a wildcard. */
const CONDITIONS: Readonly<Record<string, string>> = {
  running: '(NOT :running OR endtime IS NULL)',
  ended: '(NOT :ended OR endtime IS NOT NULL)',
  errors: "(NOT :errors OR outcome IS NOT 'ok')",
  store: "worker_id = :store OR substr(worker_id, 1, length(:store) + 1) = :store || ':'",
  since: 'starttime >= :since',
  until: 'starttime <= :until',
  typefilter: 'instr(type, :typefilter) > 0',
  userfilter: 'instr(auth_id, :userfilter) > 0',
  statusfilter: 'outcome IN (SELECT value FROM json_each(:statusfilter))',
  ownedBy: "auth_id = :ownedBy OR substr(auth_id, 1, length(:ownedBy) + 1) = :ownedBy || '!'",
};

export class TaskTables implements TaskStore {
  readonly #db: Database;
  readonly #add: Statement;
  readonly #end: Statement;
  readonly #get: Statement;

  /** `db` has migration 2. */
  constructor(db: Database) {
    this.#db = db;
    this.#add = db.prepare(
      `INSERT INTO tasks (upid, node, pid, pstart, starttime, type, worker_id, auth_id)
       VALUES (:upid, :node, :pid, :pstart, :starttime, :type, :id, :user)`,
    );
    this.#end = db.prepare(
      `UPDATE tasks SET endtime = :endtime, status = :status, outcome = :outcome, log_note = :logNote, data = :data
       WHERE upid = :upid AND endtime IS NULL`,
    );
    this.#get = db.prepare(`SELECT ${COLUMNS} FROM tasks WHERE upid = ?`);
  }

  add(row: TaskRow): void {
    const { upid, node, pid, pstart, starttime, type, id, user } = row;
    unsynced(this.#db, () => this.#add.run({ upid, node, pid, pstart, starttime, type, id, user }));
  }

  end(upid: string, ending: TaskEnding): void {
    const data = ending.data === null ? null : JSON.stringify(ending.data);
    unsynced(this.#db, () => this.#end.run({ upid, ...ending, data }));
  }

  get(upid: string): TaskRow | undefined {
    const row = this.#get.get(upid) as Stored | undefined;
    return row === undefined ? undefined : rowOf(row);
  }

  list(filter: TaskFilter): { rows: TaskRow[]; total: number } {
    const values: Record<string, string | number> = {};
    const conditions: string[] = [];
    for (const [name, condition] of Object.entries(CONDITIONS)) {
      const value = filter[name as keyof TaskFilter];
      if (value === undefined) continue;
      values[name] =
        typeof value === 'boolean' ? Number(value) : typeof value === 'object' ? JSON.stringify(value) : value;
      conditions.push(`(${condition})`);
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    const limit = Math.min(filter.limit === undefined || filter.limit === 0 ? MAX_ROWS : filter.limit, MAX_ROWS);
    const rows = this.#db
      .prepare(
        `SELECT ${COLUMNS} FROM tasks ${where}
         ORDER BY endtime IS NULL DESC, starttime DESC, number DESC LIMIT :limit OFFSET :start`,
      )
      .all({ ...values, limit, start: filter.start ?? 0 }) as Stored[];
    const { total } = this.#db.prepare(`SELECT count(*) AS total FROM tasks ${where}`).get(values) as { total: number };
    return { rows: rows.map(rowOf), total };
  }

  unended(): string[] {
    return this.#db.prepare('SELECT upid FROM tasks WHERE endtime IS NULL').pluck().all() as string[];
  }

  outdated(endedBefore: number, keepNewest: number, atMost: number): string[] {
    return this.#db
      .prepare(
        `SELECT upid FROM tasks WHERE endtime < :endedBefore
         UNION
         SELECT upid FROM (SELECT upid FROM tasks WHERE endtime IS NOT NULL
                           ORDER BY endtime DESC, number DESC LIMIT -1 OFFSET :keepNewest)
         LIMIT :atMost`,
      )
      .pluck()
      .all({ endedBefore, keepNewest, atMost }) as string[];
  }

  remove(upids: readonly string[]): void {
    const remove = this.#db.prepare('DELETE FROM tasks WHERE upid = ?');
    this.#db.transaction(() => {
      for (const upid of upids) remove.run(upid);
    })();
  }
}

function rowOf({ worker_id, auth_id, log_note, data, ...rest }: Stored): TaskRow {
  return { ...rest, id: worker_id, user: auth_id, logNote: log_note, data: data === null ? null : JSON.parse(data) };
}
