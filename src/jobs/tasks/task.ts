// What a task is to those who start one, run one, and look at one.

/** What starts a task: `type` and `id` as Proxmox names them, `authId` the user or token that it runs for. */
export interface TaskRequest {
  readonly type: string;
  readonly id: string | null;
  readonly authId: string;
}

/** How far a task is. `bytesTotal` is undefined where nobody knows it. */
export interface ProgressReport {
  readonly what: string;
  readonly bytesDone: number;
  readonly bytesTotal: number | undefined;
}

/** What the work of a task can say, and what it must listen to. */
export interface TaskWork {
  readonly upid: string;
  /** Aborted when somebody asks for it, or when the server ends; its reason says which. */
  readonly signal: AbortSignal;
  /** A line of the log. */
  log(text: string): void;
  /** A line of the log that counts as a warning: the task ends with `WARNINGS: n`. */
  warn(text: string): void;
  progress(report: ProgressReport): void;
  /** The same, as operations of a datastore say it. */
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
}

/** What a task leaves behind, besides its log. */
export interface TaskResult {
  /** Warnings that were not said one by one. */
  readonly warnings?: number;
  /** Plain JSON, kept as long as the task is listed: figures of the run. */
  readonly data?: Readonly<Record<string, unknown>>;
}

// biome-ignore lint/suspicious/noConfusingVoidType: work that leaves nothing behind returns nothing
export type TaskBody = (task: TaskWork) => Promise<TaskResult | undefined | void>;

export type TaskOutcome = 'ok' | 'warning' | 'error' | 'unknown';

export interface TaskEnd {
  readonly upid: string;
  readonly outcome: TaskOutcome;
  /** `OK`, `WARNINGS: 3`, or what went wrong. */
  readonly status: string;
  /** Seconds since 1970. */
  readonly endtime: number;
  /** What the work threw. */
  readonly error?: unknown;
  /** What it left behind. */
  readonly data?: TaskResult['data'];
}

/** A task that was started. `done` never rejects. */
export interface Task {
  readonly upid: string;
  readonly done: Promise<TaskEnd>;
}

/** How far a running task is, and how fast. */
export interface TaskProgress extends ProgressReport {
  /** 0 to 100. */
  readonly percent: number | undefined;
  /** Over the last half minute. */
  readonly bytesPerSecond: number | undefined;
  readonly etaSeconds: number | undefined;
}

/** A line of a log; the first has number 1. */
export interface LogLine {
  readonly n: number;
  readonly t: string;
}

/** What an ended task's status text means. */
export function outcomeOf(status: string): TaskOutcome {
  if (status === 'OK') return 'ok';
  if (/^WARNINGS: \d+$/.test(status)) return 'warning';
  return status === 'unknown' ? 'unknown' : 'error';
}
