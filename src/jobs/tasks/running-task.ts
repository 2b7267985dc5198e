// One task from its start to its end: runs the work, keeps log and progress, and turns what came of it into a status.
import { HoldfastError } from '../../util/errors.ts';
import { keepData } from './kept-data.ts';
import { bounded } from './log-line.ts';
import { Progress } from './progress.ts';
import { outcomeOf, type TaskBody, type TaskEnd, type TaskProgress, type TaskResult, type TaskWork } from './task.ts';
import { TaskLog } from './task-log.ts';
import type { TaskEnding } from './task-store.ts';

const MAX_STATUS_BYTES = 1024;

/** What failed work leaves behind all the same: `data.left` of its error, figures as of work that ends well. */
function leftBehind(error: unknown): TaskResult | undefined {
  const left = error instanceof HoldfastError ? error.data.left : undefined;
  return typeof left === 'object' && left !== null ? { data: left as Record<string, unknown> } : undefined;
}

export class RunningTask {
  readonly upid: string;
  readonly log: TaskLog;
  readonly #dataPath: string;
  readonly #now: () => number;
  readonly #aborting = new AbortController();
  readonly #progress: Progress;
  #warnings = 0;
  #isOver = false;

  constructor(upid: string, { log, data }: { readonly log: string; readonly data: string }, now: () => number) {
    this.upid = upid;
    this.#dataPath = data;
    this.#now = now;
    this.#progress = new Progress(now());
    this.log = new TaskLog(log, now);
  }

  get progress(): TaskProgress | undefined {
    return this.#progress.at(this.#now());
  }

  /** Asks the work to stop. Only the first reason counts. */
  abort(reason: string): void {
    if (this.#aborting.signal.aborted) return;
    this.log.append(`abort requested: ${reason}`);
    this.#aborting.abort(new HoldfastError('aborted', `aborted: ${reason}`, { data: { upid: this.upid } }));
  }

  /** Runs the work; `save` notes the end. Never rejects. */
  async run(work: TaskBody, save: (ending: TaskEnding) => void): Promise<TaskEnd> {
    let result: TaskResult | undefined;
    let error: unknown;
    let status: string;
    try {
      result = (await work(this.#work())) ?? undefined;
      const warnings = this.#warnings + (result?.warnings ?? 0);
      status = warnings === 0 ? 'OK' : `WARNINGS: ${warnings}`;
    } catch (thrown) {
      error = thrown;
      status = this.#failureStatus(thrown);
    }
    this.#isOver = true;
    const outcome = outcomeOf(status);
    await this.log.close(`TASK ${outcome === 'error' ? `ERROR: ${status}` : status}`);
    const endtime = Math.floor(this.#now() / 1000);
    const data = (result ?? leftBehind(error))?.data ?? null;
    const kept = data === null ? null : await keepData(this.#dataPath, data);
    save({ endtime, status, outcome, logNote: this.log.note ?? null, data: kept });
    const { upid } = this;
    return { upid, outcome, status, endtime, ...(error !== undefined && { error }), ...(data !== null && { data }) };
  }

  #failureStatus(thrown: unknown): string {
    const { signal } = this.#aborting;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    if (signal.aborted) {
      const reason = (signal.reason as Error).message;
      if (thrown !== signal.reason && message !== reason) this.log.append(`while it was being aborted: ${message}`);
      return bounded(reason, MAX_STATUS_BYTES);
    }
    // The whole message is for the log, and of a bug the place too.
    if (message.includes('\n') || Buffer.byteLength(message) > MAX_STATUS_BYTES) this.log.append(message);
    if (!(thrown instanceof HoldfastError) && thrown instanceof Error) this.log.append(thrown.stack ?? '');
    const status = bounded(message.split('\n', 1)[0], MAX_STATUS_BYTES);
    // A status that means something else would make of a failure a success.
    return outcomeOf(status) === 'error' && status !== '' ? status : `failed: ${status}`;
  }

  #work(): TaskWork {
    const progress: TaskWork['progress'] = (report) => {
      if (this.#isOver) return;
      const line = this.#progress.update(report, this.#now());
      if (line !== undefined) this.log.append(line);
    };
    return {
      upid: this.upid,
      signal: this.#aborting.signal,
      log: (text) => this.#say(text),
      warn: (text) => {
        if (!this.#isOver) this.#warnings++;
        this.#say(`WARN: ${text}`);
      },
      progress,
      onProgress: (what, bytesDone, bytesTotal) => progress({ what, bytesDone, bytesTotal }),
    };
  }

  /** What is said after the end, by something that the work forgot to wait for, is not kept: the last line is the last line. */
  #say(text: string): void {
    if (!this.#isOver) this.log.append(text);
  }
}
