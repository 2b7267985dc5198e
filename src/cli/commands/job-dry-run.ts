// holdfast job run JOB --dry-run: what a prune job would remove now, read from the directory of its datastore. The server has no part in it.
import type { JobView } from '../../daemon/jobs/server-jobs.ts';
import { localZone } from '../../datastore/prune/calendar.ts';
import { givenCounts, isWithoutRules } from '../../datastore/prune/keep-rules.ts';
import type { PlannedSnapshot } from '../../datastore/prune/plan.ts';
import { prunePlan } from '../../datastore/prune/plan-query.ts';
import type { StateDatabase } from '../../state/state-database.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import { LocalRepository } from '../local-repository.ts';
import { withReadDatastore } from '../local-store.ts';
import { print } from '../output.ts';
import { planTable } from '../plan-table.ts';
import { type CommonOptions, warn } from '../repository.ts';

interface DryRunOptions extends CommonOptions {
  readonly explain?: boolean;
}

type Row = PlannedSnapshot & { readonly ns: string };

/** @throws `bad-argument` for a job that is no prune, `not-found` for one whose datastore the server does not have. */
export async function dryRunJob(job: JobView, state: StateDatabase, options: DryRunOptions): Promise<void> {
  if (job.kind !== 'prune')
    throw new HoldfastError('bad-argument', `--dry-run is for prune jobs, and ${job.kind}/${job.id} is none`);
  const { DatastoreTables } = await import('../../state/datastore-tables.ts');
  const name = String(job.options.store);
  const entry = new DatastoreTables(state.db).get(name);
  if (entry === undefined) throw new HoldfastError('not-found', `there is no datastore ${JSON.stringify(name)}`);
  const interrupt = interruptSignal();
  try {
    const { rows, zone, warnings } = await planJob(entry.path, job, interrupt.signal);
    for (const warning of warnings) warn(warning);
    const shown = { zone, isDryRun: true, isExplained: options.explain === true };
    print(options.outputFormat, rows, () => planTable(rows, shown));
  } finally {
    interrupt.stop();
  }
}

async function planJob(
  root: string,
  { options }: JobView,
  signal: AbortSignal,
): Promise<{ rows: Row[]; zone: string; warnings: ReadonlySet<string> }> {
  const { pruneScope } = await import('../../daemon/jobs/prune-kind.ts');
  const counts = givenCounts(options);
  return await withReadDatastore(root, async (store) => {
    const { places, absent } = await pruneScope(store.groups, options);
    const warnings = new Set(absent.map((group) => `there is no group ${group}: nothing of it is pruned`));
    if (isWithoutRules(counts)) warnings.add('no keep rule is set: everything stays');
    const repository = new LocalRepository(store);
    const rows: Row[] = [];
    for (const { ns, groups } of places) {
      const plan = await repository.ask(prunePlan, { ns, groups, counts }, signal);
      for (const warning of plan.warnings) warnings.add(warning);
      for (const { snapshots } of plan.groups) for (const row of snapshots) rows.push({ ns, ...row });
    }
    return { rows, zone: localZone().name, warnings };
  });
}
