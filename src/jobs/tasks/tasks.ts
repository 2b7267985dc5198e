// Every long operation is a task: it has a UPID that can be asked about from the moment it is given out, a log, an end that survives a
// restart, and can be aborted. Tasks of this process are in memory, all of them in the store.

import { formatUpid, parseUpid, type Upid } from '../../schema/upid.ts';
import { HoldfastError } from '../../util/errors.ts';
import { readData, type TaskData } from './kept-data.ts';
import { LogFiles } from './log-files.ts';
import { bounded } from './log-line.ts';
import { processStart } from './process-start.ts';
import { readLines } from './read-log.ts';
import { RunningTask } from './running-task.ts';
import type { LogLine, Task, TaskBody, TaskEnd, TaskProgress, TaskRequest } from './task.ts';
import type { TaskEnding, TaskFilter, TaskRow, TaskStore } from './task-store.ts';

/** Tasks that run at once. Each has an open file and its own memory. */
const MAX_RUNNING = 256;
/** What tasks that were aborted get to end by themselves when the server ends. */
const ABORT_GRACE_MS = 5000;
const INTERRUPTED = 'interrupted: the server stopped';
const MAX_REASON_BYTES = 512;
const PRUNE_BATCH = 500;

export interface TaskStatus extends Upid {
  readonly upid: string;
  readonly status: 'running' | 'stopped';
  /** Only of a task that has stopped: `OK`, `WARNINGS: 3`, or what went wrong. */
  readonly exitstatus?: string;
  readonly endtime?: number;
  readonly progress?: TaskProgress;
}

export interface TaskLogPage {
  readonly lines: readonly LogLine[];
  /** Lines of the whole log. */
  readonly total: number;
  readonly active: boolean;
}

/** How long ended tasks are kept: those that are too old go, and those beyond the count. */
export interface TaskRetention {
  readonly maxAgeDays: number;
  readonly maxCount: number;
}

export interface TasksOptions {
  readonly store: TaskStore;
  /** Of the logs. */
  readonly directory: string;
  /** The name of this machine, as UPIDs have it. */
  readonly node: string;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Told of each end, for figures. */
  readonly onEnd?: (type: string, end: TaskEnd) => void;
}

export class Tasks {
  readonly #options: TasksOptions;
  readonly #files: LogFiles;
  readonly #running = new Map<string, { readonly task: RunningTask; readonly done: Promise<TaskEnd> }>();
  /** Ends that the store did not take yet: a full disk. */
  readonly #unsaved = new Map<string, TaskEnding>();
  readonly #pstart = processStart();
  #count = 0;
  #isDraining = false;

  constructor(options: TasksOptions) {
    this.#options = options;
    this.#files = new LogFiles(options.directory);
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /**
   * Starts a task and returns at once; status and log can be asked for with its UPID.
   * @throws `too-many` beside 256 others, `task-failed` when the server is stopping or the task cannot be noted, `bad-name`, `too-large`.
   */
  start(request: TaskRequest, work: TaskBody): Task {
    if (this.#isDraining)
      throw new HoldfastError(
        'task-failed',
        `no ${request.type} is started: the server is stopping; try again when it runs`,
      );
    if (this.#running.size >= MAX_RUNNING)
      throw new HoldfastError('too-many', `${MAX_RUNNING} tasks are running, which is the limit; wait until one ends`);
    const row = this.#newRow(request);
    this.#note(() => this.#options.store.add(row), request.type);
    const paths = { log: this.#files.pathOf(row.upid), data: this.#files.dataPathOf(row.upid) };
    const task = new RunningTask(row.upid, paths, this.#options.clock);
    const done = task
      .run(work, (ending) => this.#save(row.upid, ending))
      .then((end) => {
        this.#running.delete(row.upid);
        this.#options.onEnd?.(row.type, end);
        return end;
      });
    this.#running.set(row.upid, { task, done });
    return { upid: row.upid, done };
  }

  /** Undefined for a task that is not known. @throws `bad-name` for what is no UPID. */
  get(upid: string): TaskRow | undefined {
    const name = formatUpid(parseUpid(upid));
    const row = this.#options.store.get(name);
    return row === undefined ? undefined : this.#withEnding(row);
  }

  /** What a task has left behind, however long; nothing while it runs. @throws `not-found`, `too-large` when it could not be kept, `bad-name`. */
  async data(upid: string): Promise<TaskData> {
    const row = this.#known(upid);
    return await readData(this.#files.dataPathOf(row.upid), row.data);
  }

  /** As Proxmox has it, a task that nobody knows is stopped with the status `unknown`. @throws `bad-name`. */
  status(upid: string): TaskStatus {
    const fields = parseUpid(upid);
    const name = formatUpid(fields);
    const progress = this.#running.get(name)?.task.progress;
    const row = this.get(name);
    if (row !== undefined && row.status === null)
      return { upid: name, ...fields, status: 'running', ...(progress !== undefined && { progress }) };
    const ended = row?.endtime == null ? {} : { endtime: row.endtime };
    return { upid: name, ...fields, status: 'stopped', exitstatus: row?.status ?? 'unknown', ...ended };
  }

  list(filter: TaskFilter): { rows: TaskRow[]; total: number } {
    this.#saveLate();
    const { rows, total } = this.#options.store.list(filter);
    return { rows: rows.map((row) => this.#withEnding(row)), total };
  }

  /**
   * A page of a log from line `start`, counted from 1 (0 is 1 too); `limit` 0 for as many lines as a page takes (8 MiB).
   * @throws `not-found` for a task that is not known.
   */
  async log(upid: string, start: number, limit: number): Promise<TaskLogPage> {
    const row = this.#known(upid);
    const running = this.#running.get(row.upid)?.task;
    if (running !== undefined) return await this.#liveLog(running, start, limit);
    const page = await this.#files.page(row.upid, start, limit);
    return withNotes(page ?? { lines: [], total: 0 }, notesOf(row, page !== undefined), start, limit);
  }

  /** Asks a task to stop; false when it has ended. `by` is who asks. @throws `not-found`. */
  abort(upid: string, reason: string, by?: string): boolean {
    const row = this.#known(upid);
    const running = this.#running.get(row.upid);
    running?.task.abort(bounded(by === undefined ? reason : `${reason} (${by})`, MAX_REASON_BYTES));
    return running !== undefined;
  }

  /** The end of a task that was started in this process, when it comes. @throws `not-found` for one that does not run. */
  async ended(upid: string): Promise<TaskEnd> {
    const running = this.#running.get(upid);
    if (running === undefined) throw new HoldfastError('not-found', `task ${upid} does not run`);
    return await running.done;
  }

  /** Asks all tasks on a datastore to stop, and gives them 5 s. Returns whether they have ended. */
  async abortAll(store: string, reason: string): Promise<boolean> {
    const { rows } = this.#options.store.list({ store, running: true });
    const running = rows.flatMap(({ upid }) => this.#running.get(upid) ?? []);
    for (const { task } of running) task.abort(reason);
    await allEnded(running, ABORT_GRACE_MS);
    return running.every(({ task }) => !this.#running.has(task.upid));
  }

  /**
   * Starts no more tasks, waits until `deadlineMs` from now for those that run (or until `signal` says to wait no longer), aborts what is left,
   * and waits 5 s more. What does not end even then is noted as interrupted.
   */
  async drain(deadlineMs: number, signal?: AbortSignal): Promise<{ aborted: number; interrupted: number }> {
    this.#isDraining = true;
    await allEnded([...this.#running.values()], deadlineMs, signal);
    const left = [...this.#running.values()];
    for (const { task } of left) task.abort('the server is stopping');
    await allEnded(left, ABORT_GRACE_MS);
    const interrupted = [...this.#running.keys()];
    const endtime = Math.floor(this.#options.clock() / 1000);
    for (const upid of interrupted) this.#save(upid, interruptedEnding(endtime));
    this.#saveLate();
    return { aborted: left.length, interrupted: interrupted.length };
  }

  /** Ends the tasks of processes that died. For the start of a server, which is the only one with this store. */
  async markInterrupted(): Promise<number> {
    const { store, clock } = this.#options;
    const upids = store.unended().filter((upid) => !this.#running.has(upid));
    for (const upid of upids) {
      // A log that cannot be written keeps no server from starting.
      const lastMs = await this.#files.interrupted(upid, clock(), `TASK ERROR: ${INTERRUPTED}`).catch(() => undefined);
      const { starttime } = parseUpid(upid);
      const endtime = Math.max(starttime, Math.floor(Math.min(lastMs ?? starttime * 1000, clock()) / 1000));
      store.end(upid, interruptedEnding(endtime));
    }
    return upids.length;
  }

  /** Forgets tasks that have ended, with their logs. Returns how many. */
  async prune(retention: TaskRetention): Promise<number> {
    const { store, clock } = this.#options;
    const endedBefore = Math.floor(clock() / 1000) - Math.floor(retention.maxAgeDays * 86400);
    for (let removed = 0; ; ) {
      const upids = store.outdated(endedBefore, retention.maxCount, PRUNE_BATCH);
      if (upids.length === 0) return removed;
      // The log first: a log that no row names would stay for ever.
      for (const upid of upids) await this.#files.remove(upid);
      store.remove(upids);
      removed += upids.length;
    }
  }

  #newRow({ type, id, authId }: TaskRequest): TaskRow {
    const starttime = Math.floor(this.#options.clock() / 1000);
    const { node } = this.#options;
    const fields = { node, pid: process.pid, pstart: this.#pstart, starttime, type, id, user: authId };
    const upid = formatUpid({ ...fields, taskId: ++this.#count });
    return { upid, ...fields, endtime: null, status: null, logNote: null, data: null };
  }

  #note(write: () => void, type: string): void {
    try {
      write();
    } catch (error) {
      const message = (error as Error).message;
      throw new HoldfastError(
        'task-failed',
        `the ${type} is not started, because the server's state cannot be written (${message}); look at the disk that has its state directory`,
        { cause: error },
      );
    }
  }

  #save(upid: string, ending: TaskEnding): void {
    try {
      this.#options.store.end(upid, ending);
    } catch {
      // Told from memory until the store takes it. After a restart it counts as interrupted.
      this.#unsaved.set(upid, ending);
    }
  }

  #saveLate(): void {
    for (const [upid, ending] of this.#unsaved) {
      try {
        this.#options.store.end(upid, ending);
        this.#unsaved.delete(upid);
      } catch {
        return;
      }
    }
  }

  #withEnding(row: TaskRow): TaskRow {
    const ending = this.#unsaved.get(row.upid);
    if (ending === undefined) return row;
    const { endtime, status, logNote, data } = ending;
    return { ...row, endtime, status, logNote, data };
  }

  #known(upid: string): TaskRow {
    const row = this.get(upid);
    if (row === undefined) throw new HoldfastError('not-found', `there is no task ${upid}`);
    return row;
  }

  async #liveLog(task: RunningTask, start: number, limit: number): Promise<TaskLogPage> {
    const { log } = task;
    await log.flushed();
    const { index, note } = log;
    const lines = index.lines === 0 ? [] : await readLines(log.path, index, start, limit);
    // Said at the end of each page that reaches it; it is no line of the file yet.
    return {
      ...withNotes({ lines, total: index.lines }, note === undefined ? [] : [note], start, limit),
      active: true,
    };
  }
}

/** Waits for the end of tasks, for so long at most, or until `signal` says to wait no longer. */
async function allEnded(
  tasks: readonly { readonly done: Promise<TaskEnd> }[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  if (tasks.length === 0 || signal?.aborted) return;
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  const over = new Promise<void>((resolve) => {
    stop = resolve;
    timer = setTimeout(resolve, timeoutMs);
    signal?.addEventListener('abort', stop, { once: true });
  });
  await Promise.race([Promise.all(tasks.map(({ done }) => done)), over]);
  clearTimeout(timer);
  if (stop !== undefined) signal?.removeEventListener('abort', stop);
}

function interruptedEnding(endtime: number): TaskEnding {
  return { endtime, status: INTERRUPTED, outcome: 'error', logNote: null, data: null };
}

/** What the file of an ended task does not say. */
function notesOf({ status, logNote }: TaskRow, hasFile: boolean): string[] {
  if (!hasFile) return ['no content', ...(logNote === null ? [] : [logNote]), `the task ended: ${status ?? 'unknown'}`];
  return logNote === null ? [] : [logNote, `the task ended: ${status ?? 'unknown'}`];
}

/** Puts lines that are not in the file after those that are. */
function withNotes(
  page: { lines: LogLine[]; total: number },
  notes: readonly string[],
  start: number,
  limit: number,
): TaskLogPage {
  const total = page.total + notes.length;
  const lines = [...page.lines];
  for (const [place, t] of notes.entries()) {
    const n = page.total + place + 1;
    const isNext = n === (lines.at(-1)?.n ?? n - 1) + 1;
    if (n >= start && isNext && (limit === 0 || lines.length < limit)) lines.push({ n, t });
  }
  return { lines, total, active: false };
}
