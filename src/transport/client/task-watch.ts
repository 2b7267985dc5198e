// Waits for a task at the server: its progress and, if wanted, its log are told here, and whoever stops waiting stops the task.
import { setTimeout } from 'node:timers/promises';
import { type Static, type TSchema, Type } from 'typebox';
import { HoldfastError } from '../../util/errors.ts';
import type { ApiLine, CallOptions } from './api-line.ts';

/** What whoever waits for a task sees of it. */
export interface TaskWatch {
  readonly signal: AbortSignal;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
  warn(message: string): void;
  /** Of the log, each once and in order. */
  onLine?(line: string): void;
}

const FIRST_LOOK_MS = 50;
const LOOK_EVERY_MS = 1000;
const ABORT_TIMEOUT_MS = 5000;
const LINES_A_CALL = 1000;

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
const Lines = Type.Array(Type.Object({ n: Type.Integer(), t: Type.String() }));

/** Returns the result of a task. `what` names it. @throws `task-failed` when it failed, `protocol-failed`, the signal's reason. */
export async function taskOutcome<Schema extends TSchema>(
  api: ApiLine,
  what: string,
  upid: string,
  schema: Schema,
  watch: TaskWatch,
): Promise<Static<Schema>> {
  const task = `/nodes/localhost/tasks/${encodeURIComponent(upid)}`;
  const options = { signal: watch.signal, patienceMs: LOOK_EVERY_MS * 60 };
  try {
    const { exitstatus = '' } = await ended(api, task, watch, options);
    const { result, warnings } = await api.call('GET', `${task}/result`, undefined, Result, options);
    for (const warning of warnings) watch.warn(warning);
    if (exitstatus === 'OK' || exitstatus.startsWith('WARNINGS')) return api.check(what, result, schema);
    throw new HoldfastError('task-failed', `${what} failed at the server: ${exitstatus}; its log is task ${upid}`);
  } catch (error) {
    if (watch.signal.aborted) await abort(api, task);
    throw error;
  }
}

async function ended(api: ApiLine, task: string, watch: TaskWatch, options: CallOptions): Promise<Status> {
  let seen = 0;
  for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(LOOK_EVERY_MS, waitMs * 2)) {
    await setTimeout(waitMs, undefined, { signal: watch.signal });
    const status = await api.call('GET', `${task}/status`, undefined, Status, options);
    // After the status: of a task that has ended, all lines are there.
    if (watch.onLine !== undefined) seen = await tellLines(api, task, seen, watch.onLine, options);
    if (status.status !== 'running') return status;
    const { progress } = status;
    if (progress !== undefined) watch.onProgress(progress.what, progress.bytesDone, progress.bytesTotal ?? undefined);
  }
}

async function tellLines(
  api: ApiLine,
  task: string,
  seen: number,
  onLine: (line: string) => void,
  options: CallOptions,
): Promise<number> {
  for (let last = seen; ; ) {
    const query = `start=${last + 1}&limit=${LINES_A_CALL}`;
    const lines = await api.call('GET', `${task}/log?${query}`, undefined, Lines, options);
    for (const { n, t } of lines) {
      last = n;
      onLine(t);
    }
    if (lines.length < LINES_A_CALL) return last;
  }
}

/** What cannot be stopped any more has ended. */
async function abort(api: ApiLine, task: string): Promise<void> {
  const options = { signal: AbortSignal.timeout(ABORT_TIMEOUT_MS), patienceMs: 0 };
  await api.call('DELETE', task, undefined, Type.Unknown(), options).catch(() => undefined);
}
