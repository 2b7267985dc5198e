// What a job is: something that runs by a schedule, and what became of each run. Times are Unix milliseconds.
import type { TaskOutcome, TaskWork } from '../tasks/task.ts';

/** In the order of a night: on the same datastore each waits for those before it. */
export const STAGES = ['backup', 'prune', 'gc', 'verify', 'sync', 'other'] as const;
export type Stage = (typeof STAGES)[number];

/** Jobs of two kinds may have the same id, as with Proxmox Backup Server. */
export interface JobKey {
  readonly kind: string;
  readonly id: string;
}

/** Plain JSON; the kind says what may stand there. */
export type JobOptions = Readonly<Record<string, unknown>>;

export interface Job extends JobKey {
  /** A calendar event; null for a job that is only started by hand. */
  readonly schedule: string | null;
  readonly enabled: boolean;
  readonly comment: string;
  readonly options: JobOptions;
  /** How often a run that failed is tried again before the next slot. */
  readonly retries: number;
  /** Before the first of them; each further one waits twice as long, an hour at most. */
  readonly retryDelayMs: number;
  /** A run that takes longer is aborted. */
  readonly timeoutMs: number;
}

/** A run that is still owed: a new attempt after a failure, or what a stop of the server cut off. */
export interface OwedRun {
  readonly slotMs: number;
  readonly dueMs: number;
  readonly attempt: number;
  readonly reason: 'retry' | 'resume';
}

export interface JobState {
  /** All slots up to here are settled: they ran, or were made up for. */
  readonly settledMs: number;
  readonly owed: OwedRun | null;
}

export interface JobRecord {
  readonly job: Job;
  readonly state: JobState;
  /** Slots before it are not asked for: it was made, enabled again or given another schedule then. */
  readonly sinceMs: number;
  /** When its last good run began. */
  readonly goodMs: number | null;
}

/** `late`: the slot was missed, and one run makes up for all that were. `resume`: a run that was cut off is made again. */
export type RunReason = 'schedule' | 'late' | 'retry' | 'resume' | 'hand';
/** How runs end that began. */
export const ENDED_STATES = ['ok', 'warning', 'error', 'interrupted'] as const;
/** How runs end that did not do their work. */
export const FAILED_STATES = ['error', 'skipped', 'interrupted'] as const;
export type RunState = 'queued' | 'running' | 'ok' | 'warning' | 'error' | 'skipped' | 'interrupted';

export interface JobRun extends JobKey {
  readonly number: number;
  readonly reason: RunReason;
  readonly state: RunState;
  /** Null for one by hand. */
  readonly slotMs: number | null;
  /** 0 for the first. */
  readonly attempt: number;
  /** Who asked for it. */
  readonly authId: string;
  readonly queuedMs: number;
  readonly startMs: number | null;
  readonly endMs: number | null;
  readonly upid: string | null;
  /** How it ended, in a line. */
  readonly message: string;
}

/** What a run of a job is given. */
export interface RunContext {
  readonly job: Job;
  /** Whom it runs as. */
  readonly authId: string;
  readonly nowMs: number;
}

/** What can be scheduled; kinds are registered from outside. */
export interface JobKind {
  readonly name: string;
  readonly stage: Stage;
  /** Of its tasks, as Proxmox names them. */
  readonly taskType: string;
  /** Options as they are kept. @throws HoldfastError `bad-argument` that names what is wrong. */
  check(options: unknown): JobOptions;
  /** What it works on: `datastore:NAME`, `node:NAME`. Limits and the order of a night go by these. */
  claims(options: JobOptions): readonly string[];
  /** Of its tasks. */
  workerId(job: Job): string;
  /** Does the work; its signal is aborted at the time-out too. @throws what went wrong. */
  run(context: RunContext, work: TaskWork): Promise<Readonly<Record<string, unknown>> | undefined>;
}

export const LIMITS = {
  jobs: 5000,
  idChars: 64,
  commentChars: 1024,
  optionsBytes: 64 * 1024,
  retries: 20,
  minTimeoutMs: 1000,
  /** Timers take no more than 24 days. */
  maxTimeoutMs: 14 * 24 * 3600 * 1000,
  maxRetryDelayMs: 3600 * 1000,
} as const;

export const USUAL = { retries: 0, retryDelayMs: 5 * 60 * 1000, timeoutMs: 24 * 3600 * 1000 } as const;

/** Whether a run that ended so has done its work. */
export function isGood(state: RunState): boolean {
  return state === 'ok' || state === 'warning';
}

/** `prune/nightly`. */
export function refOf({ kind, id }: JobKey): string {
  return `${kind}/${id}`;
}

/** What the end of a task is to a run. */
export function runStateOf(outcome: TaskOutcome): 'ok' | 'warning' | 'error' {
  return outcome === 'unknown' ? 'error' : outcome;
}
