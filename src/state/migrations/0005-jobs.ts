// Jobs, what is settled of each, their runs, and wishes of commands to start one now.

export const jobs = {
  version: 5,
  up: `
    CREATE TABLE jobs (
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      schedule TEXT,
      enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
      comment TEXT NOT NULL,
      options TEXT NOT NULL CHECK (json_valid(options)),
      retries INTEGER NOT NULL,
      retry_delay_ms INTEGER NOT NULL,
      timeout_ms INTEGER NOT NULL,
      settled_ms INTEGER NOT NULL,
      owed TEXT CHECK (owed IS NULL OR json_valid(owed)),
      PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE job_runs (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      reason TEXT NOT NULL CHECK (reason IN ('schedule', 'late', 'retry', 'resume', 'hand')),
      state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'ok', 'warning', 'error', 'skipped', 'interrupted')),
      slot_ms INTEGER,
      attempt INTEGER NOT NULL,
      auth_id TEXT NOT NULL,
      queued_ms INTEGER NOT NULL,
      start_ms INTEGER,
      end_ms INTEGER,
      upid TEXT,
      message TEXT NOT NULL,
      CHECK ((end_ms IS NULL) = (state IN ('queued', 'running')))
    ) STRICT;
    CREATE INDEX job_runs_by_job ON job_runs (kind, id, number);
    CREATE INDEX job_runs_unended ON job_runs (number) WHERE end_ms IS NULL;
    CREATE TABLE job_requests (
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      auth_id TEXT NOT NULL,
      PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
  `,
} as const;
