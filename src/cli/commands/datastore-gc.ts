// holdfast datastore gc: frees what no snapshot needs, as a plan first; --dry-run stops there.
import type { Command } from 'commander';
import { collectGarbage, type GcReport } from '../../datastore/gc/gc-operation.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { operate } from '../operate.ts';
import { formatDuration, pairs, print } from '../output.ts';
import { parseRateLimit } from '../rate-limit.ts';
import { type CommonOptions, warn, workerCount } from '../repository.ts';

interface GcCommandOptions extends CommonOptions {
  readonly dryRun?: boolean;
  readonly audit?: boolean;
  readonly rateLimit?: string;
}

export function addGcCommand(datastore: Command): void {
  datastore
    .command('gc')
    .description('garbage collection: free what no snapshot needs')
    .option('--dry-run', 'say what would be freed, and free nothing')
    .option('--audit', 'walk everything once more afterwards and prove that it is there')
    .option('--rate-limit <MIB>', 'MiB a second that rewriting may read')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (_, command: Command) => await collect(command.optsWithGlobals()));
}

async function collect(options: GcCommandOptions): Promise<void> {
  const started = performance.now();
  const report = await operate(options, workerCount(options), collectGarbage, {
    dryRun: options.dryRun === true,
    audit: options.audit === true,
    rateLimitBytes: parseRateLimit(options.rateLimit),
  });
  print(options.outputFormat, { ...report, durationMs: Math.round(performance.now() - started) }, describe);
  if (report.objectsLost === 0) return;
  const lost = `${report.objectsLost} data objects that snapshots need are lost`;
  // An audit was asked for proof; without one, a collection that did its work has succeeded.
  if (options.audit === true)
    throw new HoldfastError('datastore-damaged', `${lost}; run holdfast datastore verify to see where`);
  warn(`${lost}; run holdfast datastore verify to see where`);
}

function describe(value: GcReport & { durationMs: number }): string {
  const would = value.dryRun ? 'would free' : 'freed';
  return pairs([
    ['live', `${formatBytes(value.bytesLive)} in ${value.objectsLive} objects, reached from ${value.roots} roots`],
    [
      would,
      `${formatBytes(Math.max(0, value.bytesFreed))}: ${value.packsDropped} packs dropped, ${value.packsRewritten} rewritten`,
    ],
    ['pending', `${formatBytes(value.bytesPending)} in packs that are not worth rewriting yet`],
    ...(value.packsKept === 0
      ? []
      : [['kept', `${value.packsKept} packs with a damaged record that is needed`] as [string, string]]),
    ...(value.auditedObjects === null
      ? []
      : [
          ['audit', `${value.auditedObjects} objects with refs read again, ${value.objectsLost} lost`] as [
            string,
            string,
          ],
        ]),
    ['time', formatDuration(value.durationMs)],
  ]);
}
