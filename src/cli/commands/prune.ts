// holdfast prune: thins out snapshots by keep rules. The plan is made first and printed; exactly that plan is carried out.
import type { Command } from 'commander';
import { isWithoutRules, KEEP_RULES, type KeepCounts, keepsNothing } from '../../datastore/prune/keep-rules.ts';
import type { PlannedSnapshot, PrunePlan } from '../../datastore/prune/plan.ts';
import { prunePlan, type ZonedPlan } from '../../datastore/prune/plan-query.ts';
import { type PruneResult, removalsOf, removePruned } from '../../datastore/prune/prune-operation.ts';
import { type Namespace, parseGroup } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import { ask } from '../open-repository.ts';
import { operate } from '../operate.ts';
import { print, table } from '../output.ts';
import { type CommonOptions, namespaceOf, warn } from '../repository.ts';
import { wholeNumber } from '../whole-number.ts';

const MAX_COUNT = 1_000_000;

interface PruneCommandOptions extends CommonOptions {
  readonly group?: string;
  readonly allGroups?: boolean;
  readonly dryRun?: boolean;
  readonly forceEmpty?: boolean;
  /** Commander's names of the rules: `keepLast` and so on. */
  readonly [keep: `keep${string}`]: number | undefined;
}

const RULE_HELP: Readonly<Record<(typeof KEEP_RULES)[number], string>> = {
  'keep-last': 'keep the newest N snapshots',
  'keep-hourly': 'keep the newest of each of the last N hours with snapshots',
  'keep-daily': 'the same by days',
  'keep-weekly': 'the same by ISO weeks',
  'keep-monthly': 'the same by months',
  'keep-yearly': 'the same by years',
};

export function addPruneCommand(program: Command): void {
  const prune = program
    .command('prune')
    .description('remove snapshots by keep rules, group by group; their space is freed by garbage collection')
    .option('--group <TYPE/ID>', 'only this group')
    .option('--all-groups', 'every group of the namespace (the default)');
  for (const rule of KEEP_RULES)
    prune.option(`--${rule} <N>`, RULE_HELP[rule], (text: string) => wholeNumber(`--${rule}`, text, 0, MAX_COUNT));
  prune
    .option('--dry-run', 'print the plan, and remove nothing')
    .option('--force-empty', 'carry out rules that are all 0, which keep nothing')
    .action(async (_, command: Command) => await prunes(command.optsWithGlobals()));
}

async function prunes(options: PruneCommandOptions): Promise<void> {
  const counts = countsOf(options);
  checkMeant(options, counts);
  const ns = namespaceOf(options);
  const plan = await planned(options, ns, counts);
  const rows = plan.groups.flatMap(({ snapshots }) => snapshots);
  for (const warning of plan.warnings) warn(warning);
  if (isWithoutRules(counts)) warn('no keep rule was given (such as --keep-daily 7): every snapshot is kept');
  // Printed before anything goes, so that it is there whatever happens then.
  if (options.outputFormat === 'text') print('text', rows, (all) => describe(all, plan.zone, options.dryRun === true));
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
  const group = options.group === undefined ? null : parseGroup(options.group);
  const interrupt = interruptSignal();
  try {
    return await ask(options, prunePlan, { ns, group, counts }, interrupt.signal);
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
  const kept = new Map<string, PruneResult['kept'][number]['rule']>();
  let removed = 0;
  for (const request of removalsOf(ns, plan)) {
    const result = await operate(options, 1, removePruned, request);
    removed += result.removed;
    for (const { snapshot, rule } of result.kept) {
      kept.set(snapshot, rule);
      warn(`${snapshot} is kept: it became ${rule} after the plan was made`);
    }
  }
  if (options.outputFormat === 'text') process.stdout.write(`removed ${removed} of ${rows.length} snapshots\n`);
  return rows.map((row) => {
    const rule = kept.get(row.snapshot);
    return rule === undefined ? row : { ...row, keep: true, rule };
  });
}

function describe(rows: readonly PlannedSnapshot[], zone: string, isDryRun: boolean): string {
  const going = rows.filter(({ keep }) => !keep).length;
  const plan = table(
    ['snapshot', 'plan', 'rule'],
    rows.map(({ snapshot, keep, rule }) => [snapshot, keep ? 'keep' : 'remove', rule ?? '']),
  );
  const summary = `${rows.length - going} stay, ${going} go; days and weeks are those of ${zone}`;
  return `${plan}\n\n${summary}${isDryRun ? '; nothing was removed (--dry-run)' : ''}`;
}

function countsOf(options: PruneCommandOptions): KeepCounts {
  const given = KEEP_RULES.map((rule) => {
    const [, period = ''] = rule.split('-');
    return [rule, options[`keep${period[0]?.toUpperCase()}${period.slice(1)}`]] as const;
  });
  return Object.fromEntries(given.filter(([, count]) => count !== undefined));
}
