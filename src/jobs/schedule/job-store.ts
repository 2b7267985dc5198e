// Where jobs, what is settled of them, and their runs are kept. Several processes may use it: a command of the server's machine writes there too.
import type { Job, JobKey, JobRecord, JobRun, JobState, RunState } from './job.ts';

export type RunEnding = Partial<Pick<JobRun, 'state' | 'startMs' | 'endMs' | 'upid' | 'message'>>;

/** What is left out filters nothing. */
export interface RunFilter {
  readonly kind?: string | undefined;
  readonly id?: string | undefined;
  readonly states?: readonly RunState[] | undefined;
  /** Queued at this time or later, */
  readonly sinceMs?: number | undefined;
  /** or earlier. */
  readonly untilMs?: number | undefined;
  readonly start?: number | undefined;
  readonly limit?: number | undefined;
}

/** A wish of another process: start this job now. */
export interface RunRequest extends JobKey {
  readonly authId: string;
}

export interface JobStore {
  /** By kind and id; of one kind, or of all. */
  list(kind?: string): JobRecord[];
  /** Of all jobs. */
  count(): number;
  get(key: JobKey): JobRecord | undefined;
  /** It is due from what is settled on. */
  add(job: Job, state: JobState): void;
  /** Of a job that is not there, nothing. With a new plan it is due from what is settled on. */
  update(job: Job, state: JobState, isNewPlan: boolean): void;
  setState(key: JobKey, state: JobState): void;
  remove(key: JobKey): void;
  addRun(run: Omit<JobRun, 'number'>): number;
  /** One that `isGood` is the last good one of its job. */
  changeRun(number: number, ending: RunEnding, isGood?: boolean): void;
  /** Since when jobs are due, and their last good runs, are not in the future. */
  clockWasSetBack(nowMs: number): void;
  run(number: number): JobRun | undefined;
  /** Newest first. */
  runs(filter: RunFilter): { rows: JobRun[]; total: number };
  /** The newest ended run of each job, skipped ones left out. */
  lastRuns(kind?: string): JobRun[];
  /** Runs without an end. */
  unended(): JobRun[];
  /** Forgets the oldest runs that have ended. */
  pruneRuns(keepPerJob: number, keepAll: number): number;
  request(request: RunRequest): void;
  /** Those that wait, which it forgets. */
  takeRequests(): RunRequest[];
  /** Another number after another process wrote something. */
  version(): number;
  atomically<T>(work: () => T): T;
}
