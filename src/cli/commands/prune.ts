// holdfast prune: thins out snapshots by keep rules. The plan is made first and printed; exactly that plan is carried out.
import type { Command } from 'commander';
import { isWithoutRules, type KeepCounts, keepsNothing } from '../../datastore/prune/keep-rules.ts';
import type { PlannedSnapshot, PrunePlan, PruneRule } from '../../datastore/prune/plan.ts';
import { prunePlan, type ZonedPlan } from '../../datastore/prune/plan-query.ts';
import { removalsOf, removePruned } from '../../datastore/prune/prune-operation.ts';
import { type Namespace, parseGroup } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import { addKeepOptions, type KeepOptions, keepCounts } from '../keep-options.ts';
import { ask } from '../open-repository.ts';
import { operate } from '../operate.ts';
import { print } from '../output.ts';
import { planTable } from '../plan-table.ts';
import { type CommonOptions, namespaceOf, warn } from '../repository.ts';
import { addSimulateCommand } from './prune-simulate.ts';

interface PruneCommandOptions extends CommonOptions, KeepOptions {
  readonly group?: string[];
  readonly allGroups?: boolean;
  readonly dryRun?: boolean;
  readonly explain?: boolean;
  readonly forceEmpty?: boolean;
}

export function addPruneCommand(program: Command): void {
  const prune = program
    .command('prune')
    .description('remove snapshots by keep rules, group by group; their space is freed by garbage collection')
    .option('--group <TYPE/ID...>', 'only these groups')
    .option('--all-groups', 'every group of the namespace (the default)');
  addKeepOptions(prune);
  prune
    .option('--dry-run', 'print the plan, and remove nothing')
    .option('--explain', 'print of each snapshot why it stays or goes')
    .option('--force-empty', 'carry out rules that are all 0, which keep nothing')
    .action(async (_, command: Command) => await prunes(command.optsWithGlobals()));
  addSimulateCommand(prune);
}

async function prunes(options: PruneCommandOptions): Promise<void> {
  const counts = keepCounts(options);
  checkMeant(options, counts);
  const ns = namespaceOf(options);
  const plan = await planned(options, ns, counts);
  const rows = plan.groups.flatMap(({ snapshots }) => snapshots);
  for (const warning of plan.warnings) warn(warning);
  if (isWithoutRules(counts)) warn('no keep rule was given (such as --keep-daily 7): every snapshot is kept');
  // Printed before anything goes, so that it is there whatever happens then.
  const shown = { zone: plan.zone, isDryRun: options.dryRun === true, isExplained: options.explain === true };
  if (options.outputFormat === 'text') print('text', rows, (all) => planTable(all, shown));
  const done = options.dryRun === true ? rows : await carryOut(options, ns, plan, rows);
  if (options.outputFormat !== 'text') print(options.outputFormat, done, () => '');
}

/** A mistake here removes backups: what can be meant in two ways is refused. @throws `bad-argument`. */
function checkMeant(options: PruneCommandOptions, counts: KeepCounts): void {
  if (options.group !== undefined && options.allGroups === true)
    throw new HoldfastError('bad-argument', 'give --group or --all-groups, not both');
  if (options.forceEmpty === true && !keepsNothing(counts)) {
    throw new HoldfastError(
      'bad-argument',
      '--force-empty is only for rules that keep nothing, such as --keep-last 0; leave it away',
    );
  }
  if (keepsNothing(counts) && options.forceEmpty !== true && options.dryRun !== true) {
    throw new HoldfastError(
      'bad-argument',
      'these rules keep nothing: every snapshot that is not protected or locked would be removed; if that is meant, add --force-empty (and look first with --dry-run)',
    );
  }
}

/** The plan, made without holding the datastore: it runs beside a backup and from a read-only file system. */
async function planned(options: PruneCommandOptions, ns: Namespace, counts: KeepCounts): Promise<ZonedPlan> {
  const groups = options.group?.map(parseGroup) ?? null;
  const interrupt = interruptSignal();
  try {
    return await ask(options, prunePlan, { ns, groups, counts }, interrupt.signal);
  } finally {
    interrupt.stop();
  }
}

/** Removes what the plan says, and returns what became of each snapshot. */
async function carryOut(
  options: PruneCommandOptions,
  ns: Namespace,
  plan: PrunePlan,
  rows: readonly PlannedSnapshot[],
): Promise<PlannedSnapshot[]> {
  const kept = new Map<string, PruneRule>();
  let removed = 0;
  for (const request of removalsOf(ns, plan)) {
    const result = await operate(options, 1, removePruned, request);
    removed += result.removed;
    for (const { snapshot, rule } of result.kept) {
      kept.set(snapshot, rule);
      warn(`${snapshot} is kept: ${becameText(rule)}`);
    }
  }
  if (options.outputFormat === 'text') process.stdout.write(`removed ${removed} of ${rows.length} snapshots\n`);
  return rows.map((row) => {
    const rule = kept.get(row.snapshot);
    return rule === undefined ? row : { ...row, keep: true, rule, reason: becameText(rule) };
  });
}

function becameText(rule: PruneRule): string {
  return `it became ${rule} after the plan was made`;
}
