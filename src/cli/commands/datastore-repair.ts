// holdfast datastore repair: makes damaged state files anew, copies out what damaged packs hold, rebuilds the index from packs, reads
// everything, and says exactly what is lost.
import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readConfig } from '../../datastore/config.ts';
import { Layout } from '../../datastore/layout.ts';
import { tryHold } from '../../datastore/lock.ts';
import { repairPacks } from '../../datastore/repair/repair-operation.ts';
import type { PackRepair } from '../../datastore/repair/salvage-packs.ts';
import { type RepairedFile, repairStateFiles } from '../../datastore/repair/state-files.ts';
import { damageLines, refuseDamage } from '../../datastore/verify/damage-report.ts';
import { verify } from '../../datastore/verify/verify-operation.ts';
import type { VerifyReport } from '../../datastore/verify/verify-store.ts';
import { operate } from '../operate.ts';
import { formatDuration, pairs, print } from '../output.ts';
import { type CommonOptions, repositoryPath, workerCount } from '../repository.ts';

interface RepairOptions extends CommonOptions {
  readonly dryRun?: boolean;
}

interface RepairReport extends PackRepair {
  readonly dryRun: boolean;
  readonly files: readonly RepairedFile[];
  /** What is left after it; null for a dry run that cannot open the store before its files are repaired. */
  readonly verified: VerifyReport | null;
  readonly durationMs: number;
}

export function addRepairCommand(datastore: Command): void {
  datastore
    .command('repair')
    .description('find again what a damaged datastore still holds, and list what is lost')
    .option('--dry-run', 'say what would be done, and change nothing but the list of bad copies')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (_, command: Command) => await repair(command.optsWithGlobals()));
}

async function repair(options: RepairOptions): Promise<void> {
  const started = performance.now();
  const dryRun = options.dryRun === true;
  const files = await repairFiles(new Layout(resolve(repositoryPath(options))), dryRun);
  const workers = workerCount(options);
  const isBlocked = dryRun && files.length > 0;
  const nothing: PackRepair = { packs: [], copiesReleased: 0 };
  const packs = isBlocked ? nothing : await operate(options, workers, repairPacks, { dryRun });
  const everything = { snapshot: null, provedSinceMs: Date.now(), rateLimitBytes: null };
  const verified = isBlocked ? null : await operate(options, workers, verify, everything);
  const durationMs = Math.round(performance.now() - started);
  print(options.outputFormat, { dryRun, files, ...packs, verified, durationMs }, describe);
  if (verified !== null) refuseDamage(verified);
}

/** Under the lock, for damaged files keep a store from being opened. A store that somebody holds has good ones. */
async function repairFiles(layout: Layout, dryRun: boolean): Promise<RepairedFile[]> {
  await readConfig(layout, true);
  const lock = tryHold(layout);
  if (lock === undefined) return [];
  try {
    const files = await repairStateFiles(layout, dryRun);
    // A cache: the next open reads every pack's own table.
    if (!dryRun) rmSync(layout.indexSnapshot, { force: true });
    return files;
  } finally {
    lock.release();
  }
}

function describe(report: RepairReport): string {
  const did = report.dryRun ? 'would be' : 'was';
  const text = pairs([
    ['state files', `${report.files.length} ${did} repaired`],
    ['packs', `${report.packs.length} damaged, ${sum(report)} records ${did} copied out`],
    ['copies', `${report.copiesReleased} that were bad read well again`],
    ['left', report.verified === null ? 'not looked at: the state files come first' : leftOf(report.verified)],
    ['time', formatDuration(report.durationMs)],
  ]);
  const lines = [
    ...report.files.map(({ file, action }) => `${file}: ${action}`),
    ...report.packs.map(({ file, problem, records }) => `packs/${file}: ${problem} damaged, ${records} good records`),
    ...(report.verified === null ? [] : damageLines(report.verified)),
  ];
  return [text, ...lines].join('\n');
}

const sum = ({ packs }: RepairReport): number => packs.reduce((total, { records }) => total + records, 0);

function leftOf({ damaged, recordsRead }: VerifyReport): string {
  const archives = damaged.length;
  return archives === 0 ? `nothing is lost (${recordsRead} records read)` : `${archives} archives with lost ranges`;
}
