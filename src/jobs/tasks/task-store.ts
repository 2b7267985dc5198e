// Where the list of tasks is kept. The logs are files beside it.
import type { TaskOutcome } from './task.ts';

export interface TaskRow {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  /** Seconds since 1970. */
  readonly starttime: number;
  readonly type: string;
  readonly id: string | null;
  readonly user: string;
  /** Null while it runs, as is `status`. */
  readonly endtime: number | null;
  readonly status: string | null;
  /** What the log could not take, such as lines that met a full disk. */
  readonly logNote: string | null;
  readonly data: Readonly<Record<string, unknown>> | null;
}

export interface TaskEnding {
  readonly endtime: number;
  readonly status: string;
  readonly outcome: TaskOutcome;
  readonly logNote: string | null;
  readonly data: Readonly<Record<string, unknown>> | null;
}

/** As Proxmox filters its lists; what is left out filters nothing. */
export interface TaskFilter {
  /** Only those that run. */
  readonly running?: boolean | undefined;
  /** Only those that have ended. */
  readonly ended?: boolean | undefined;
  /** No tasks that ended well. */
  readonly errors?: boolean | undefined;
  /** Tasks on this datastore or guest: their worker id is its name, or begins with it and a colon. */
  readonly store?: string | undefined;
  /** Started at this second or later, */
  readonly since?: number | undefined;
  /** or earlier. */
  readonly until?: number | undefined;
  /** Part of the type. */
  readonly typefilter?: string | undefined;
  /** Part of the user. */
  readonly userfilter?: string | undefined;
  readonly statusfilter?: readonly TaskOutcome[] | undefined;
  /** Tasks of this user or token; those of a user's tokens are the user's too. For who may not see all. */
  readonly ownedBy?: string | undefined;
  /** The first `start` rows are left out. */
  readonly start?: number | undefined;
  /** At most so many rows; 0 for as many as one answer takes. */
  readonly limit?: number | undefined;
}

export interface TaskStore {
  add(row: TaskRow): void;
  /** Notes the end; of a task that is not there, or has ended, nothing. */
  end(upid: string, ending: TaskEnding): void;
  get(upid: string): TaskRow | undefined;
  /** Running tasks first, then newest first. `total` counts all that pass the filter. */
  list(filter: TaskFilter): { rows: TaskRow[]; total: number };
  /** UPIDs of tasks without an end. */
  unended(): string[];
  /** UPIDs of at most `atMost` tasks that ended before `endedBefore` (seconds), or are not among the newest `keepNewest` that have ended. */
  outdated(endedBefore: number, keepNewest: number, atMost: number): string[];
  remove(upids: readonly string[]): void;
}
