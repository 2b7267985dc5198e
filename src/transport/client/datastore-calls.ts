// Questions and operations of a datastore at a server: plain JSON there and back. Long operations are tasks there; their progress and warnings
// are told here, and whoever stops waiting stops the task.
import { setTimeout } from 'node:timers/promises';
import { type Static, Type } from 'typebox';
import { HoldfastError } from '../../util/errors.ts';
import type { ApiLine, CallOptions } from './api-line.ts';

/** What whoever waits for an operation sees of it. */
export interface OperationWatch {
  readonly signal: AbortSignal;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
  warn(message: string): void;
}

/** Short work may still remove thousands of snapshots. */
const OPERATION_TIMEOUT_MS = 15 * 60_000;
const FIRST_LOOK_MS = 50;
const LOOK_EVERY_MS = 1000;
const ABORT_TIMEOUT_MS = 5000;

const Done = Type.Object({ result: Type.Optional(Type.Unknown()), upid: Type.Optional(Type.String()) });
const Status = Type.Object({
  status: Type.String(),
  exitstatus: Type.Optional(Type.String()),
  progress: Type.Optional(
    Type.Object({
      what: Type.String(),
      bytesDone: Type.Number(),
      bytesTotal: Type.Optional(Type.Union([Type.Number(), Type.Null()])),
    }),
  ),
});
type Status = Static<typeof Status>;
const Result = Type.Object({ result: Type.Unknown(), warnings: Type.Array(Type.String()) });

export class DatastoreCalls {
  readonly #api: ApiLine;
  readonly #store: string;

  constructor(api: ApiLine, store: string) {
    this.#api = api;
    this.#store = store;
  }

  /** @throws what the server refuses. */
  async ask(query: string, argument: unknown, options: CallOptions): Promise<unknown> {
    return await this.#api.call('POST', `${this.#path}/query/${query}`, { argument }, Type.Unknown(), options);
  }

  /** @throws what the server refuses, `task-failed` when a long one failed there, the signal's reason. */
  async operate(operation: string, argument: unknown, watch: OperationWatch): Promise<unknown> {
    const options = { signal: watch.signal, patienceMs: 0, timeoutMs: OPERATION_TIMEOUT_MS };
    const { upid, result } = await this.#api.call(
      'POST',
      `${this.#path}/operation/${operation}`,
      { argument },
      Done,
      options,
    );
    return upid === undefined ? result : await this.#outcome(operation, upid, watch);
  }

  async #outcome(operation: string, upid: string, watch: OperationWatch): Promise<unknown> {
    const task = `/nodes/localhost/tasks/${encodeURIComponent(upid)}`;
    const options = { signal: watch.signal, patienceMs: LOOK_EVERY_MS * 60 };
    try {
      const { exitstatus = '' } = await this.#end(task, watch, options);
      const { result, warnings } = await this.#api.call('GET', `${task}/result`, undefined, Result, options);
      for (const warning of warnings) watch.warn(warning);
      if (exitstatus === 'OK' || exitstatus.startsWith('WARNINGS')) return result;
      throw new HoldfastError(
        'task-failed',
        `${operation} failed at the server: ${exitstatus}; its log is task ${upid}`,
      );
    } catch (error) {
      if (watch.signal.aborted) await this.#abort(task);
      throw error;
    }
  }

  async #end(task: string, { signal, onProgress }: OperationWatch, options: CallOptions): Promise<Status> {
    for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(LOOK_EVERY_MS, waitMs * 2)) {
      await setTimeout(waitMs, undefined, { signal });
      const status = await this.#api.call('GET', `${task}/status`, undefined, Status, options);
      if (status.status !== 'running') return status;
      const { progress } = status;
      if (progress !== undefined) onProgress(progress.what, progress.bytesDone, progress.bytesTotal ?? undefined);
    }
  }

  /** What cannot be stopped any more has ended. */
  async #abort(task: string): Promise<void> {
    const options = { signal: AbortSignal.timeout(ABORT_TIMEOUT_MS), patienceMs: 0 };
    await this.#api.call('DELETE', task, undefined, Type.Unknown(), options).catch(() => undefined);
  }

  get #path(): string {
    return `/admin/datastore/${this.#store}`;
  }
}
