// Tasks in memory, behind the interface that the API asks for.
import type { TaskCalls } from '../../src/api/services.ts';
import { outcomeOf, type Task, type TaskBody, type TaskRequest, type TaskWork } from '../../src/jobs/tasks/task.ts';
import type { TaskFilter, TaskRow } from '../../src/jobs/tasks/task-store.ts';
import type { TaskLogPage, TaskStatus } from '../../src/jobs/tasks/tasks.ts';
import { HoldfastError } from '../../src/util/errors.ts';

interface Entry {
  row: TaskRow;
  readonly lines: string[];
  readonly stop: AbortController;
  readonly done: Promise<void>;
  error?: unknown;
}

export class FakeTasks implements TaskCalls {
  readonly entries = new Map<string, Entry>();
  #count = 0;

  start({ type, id, authId }: TaskRequest, work: TaskBody): Task {
    const escaped = (id ?? '').replaceAll(':', '\\x3a').replaceAll('/', '-');
    const number = (++this.#count).toString(16).toUpperCase().padStart(8, '0');
    const upid = `UPID:node1:00004400:0006D549:${number}:6B00F22F:${type}:${escaped}:${authId}:`;
    const starttime = 0x6b00f22f + this.#count;
    const row: TaskRow = {
      upid,
      node: 'node1',
      pid: 0x4400,
      pstart: 0x6d549,
      starttime,
      type,
      id,
      user: authId,
      endtime: null,
      status: null,
      logNote: null,
      data: null,
    };
    const lines: string[] = [];
    const stop = new AbortController();
    let warnings = 0;
    const task: TaskWork = {
      upid,
      signal: stop.signal,
      log: (text) => lines.push(text),
      warn: (text) => {
        lines.push(`WARN: ${text}`);
        warnings++;
      },
      progress: () => undefined,
      onProgress: () => undefined,
    };
    const end = (status: string, data: TaskRow['data'] = null): void => {
      lines.push(status === 'OK' ? 'TASK OK' : `TASK ERROR: ${status}`);
      entry.row = {
        ...entry.row,
        endtime: starttime + 1,
        status: warnings > 0 && status === 'OK' ? `WARNINGS: ${warnings}` : status,
        data,
      };
    };
    const entry: Entry = {
      row,
      lines,
      stop,
      done: Promise.resolve()
        .then(() => work(task))
        .then(
          (result) => end('OK', result?.data),
          (error: unknown) => {
            entry.error = error;
            end((error as Error).message);
          },
        ),
    };
    this.entries.set(upid, entry);
    const endOf = () => {
      const { status, endtime } = entry.row as { status: string; endtime: number };
      return { upid, outcome: outcomeOf(status), status, endtime, error: entry.error };
    };
    return { upid, done: entry.done.then(endOf) };
  }

  /** Waits for the end of every task. */
  async settle(): Promise<void> {
    await Promise.all([...this.entries.values()].map(({ done }) => done));
  }

  list(filter: TaskFilter): { rows: TaskRow[]; total: number } {
    const rows = [...this.entries.values()]
      .map(({ row }) => row)
      .reverse()
      .filter((row) => filter.running !== true || row.endtime === null)
      .filter((row) => filter.ended !== true || row.endtime !== null)
      .filter((row) => filter.since === undefined || row.starttime >= filter.since)
      .filter((row) => filter.until === undefined || row.starttime <= filter.until)
      .filter((row) => filter.errors !== true || (row.status !== null && row.status !== 'OK'))
      .filter((row) => filter.store === undefined || row.id === filter.store || row.id?.startsWith(`${filter.store}:`))
      .filter((row) => filter.typefilter === undefined || row.type.includes(filter.typefilter))
      .filter(
        (row) =>
          filter.ownedBy === undefined || row.user === filter.ownedBy || row.user.startsWith(`${filter.ownedBy}!`),
      );
    const start = filter.start ?? 0;
    return { rows: rows.slice(start, filter.limit ? start + filter.limit : undefined), total: rows.length };
  }

  status(upid: string): TaskStatus {
    const parts = upid.split(':');
    if (parts.length !== 10 || parts[9] !== '')
      throw new HoldfastError('bad-name', `${JSON.stringify(upid)} is no UPID`);
    const row = this.entries.get(upid)?.row;
    const fields = {
      upid,
      node: parts[1] as string,
      pid: 1,
      pstart: 1,
      taskId: 1,
      starttime: 1,
      type: parts[6] as string,
      id: null,
      user: parts[8] as string,
    };
    if (row === undefined) return { ...fields, status: 'stopped', exitstatus: 'unknown' };
    const { pid, pstart, starttime, id } = row;
    const known = { ...fields, pid, pstart, starttime, id };
    if (row.endtime === null) return { ...known, status: 'running' };
    return { ...known, status: 'stopped', exitstatus: row.status as string, endtime: row.endtime };
  }

  get(upid: string): TaskRow | undefined {
    return this.entries.get(upid)?.row;
  }

  async data(upid: string): Promise<Readonly<Record<string, unknown>>> {
    return this.#known(upid).row.data ?? {};
  }

  async log(upid: string, start: number, limit: number): Promise<TaskLogPage> {
    const entry = this.#known(upid);
    const first = Math.max(1, start);
    const lines = entry.lines
      .map((t, place) => ({ n: place + 1, t }))
      .slice(first - 1, limit === 0 ? undefined : first - 1 + limit);
    return { lines, total: entry.lines.length, active: entry.row.endtime === null };
  }

  abort(upid: string, reason: string): boolean {
    const entry = this.#known(upid);
    entry.stop.abort(new HoldfastError('aborted', reason));
    return entry.row.endtime === null;
  }

  #known(upid: string): Entry {
    const entry = this.entries.get(upid);
    if (entry === undefined) throw new HoldfastError('not-found', `there is no task ${upid}`);
    return entry;
  }
}
