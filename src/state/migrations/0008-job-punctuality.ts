// Of each job since when it is due, and when its last good run began; of each alarm the fields that told it, so that its end is told to the same.

export const jobPunctuality = {
  version: 8,
  up: `
    ALTER TABLE jobs ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN good_ms INTEGER;
    UPDATE jobs SET since_ms = settled_ms, good_ms = (
      SELECT max(coalesce(start_ms, queued_ms)) FROM job_runs
      WHERE job_runs.kind = jobs.kind AND job_runs.id = jobs.id AND state IN ('ok', 'warning'));
    ALTER TABLE notify_alarms ADD COLUMN fields TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(fields));
  `,
} as const;
