// The runs of a server's jobs as its state has them: looked up without a program of its own for each look.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobRun } from '../../../src/jobs/schedule/job.ts';
import { JobTables } from '../../../src/state/job-tables.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';

/** All runs, the newest first, as soon as they are as wished. @throws when they never are. */
export async function runsOf(
  stateDirectory: string,
  isGood: (runs: readonly JobRun[]) => boolean,
  withinMs = 180_000,
): Promise<readonly JobRun[]> {
  const state = StateDatabase.open(join(stateDirectory, 'state.db'));
  try {
    const tables = new JobTables(state);
    for (const until = performance.now() + withinMs; ; await sleep(50)) {
      const { rows } = tables.runs({});
      if (isGood(rows)) return rows;
      if (performance.now() > until) throw new Error(`the runs are ${JSON.stringify(rows)}`);
    }
  } finally {
    state.close();
  }
}
