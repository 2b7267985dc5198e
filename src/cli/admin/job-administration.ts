// What the commands of jobs ask for, wherever the server's state is: the interface beside its consumers.
import type { JobAmendment, JobKey, JobRun, JobView, NewJob } from '../../daemon/jobs/server-jobs.ts';

export interface HistoryWish extends Partial<JobKey> {
  readonly limit: number;
  /** Only runs that did not end well. */
  readonly failed: boolean;
}

/** Each call throws what the rules of jobs say: `not-found`, `exists`, `bad-argument`, `bad-name`, `too-many`. */
export interface JobAdministration {
  list(kind?: string): Promise<readonly JobView[]>;
  create(wish: NewJob): Promise<JobView>;
  amend(key: JobKey, change: JobAmendment): Promise<JobView>;
  remove(key: JobKey): Promise<void>;
  /** The UPID of its task; undefined where a server will start it that may not run now. */
  run(key: JobKey): Promise<string | undefined>;
  /** Newest first. */
  history(wish: HistoryWish): Promise<readonly JobRun[]>;
}
