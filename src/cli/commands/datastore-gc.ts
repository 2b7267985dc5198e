// holdfast datastore gc: frees what no snapshot needs, as a plan first; --dry-run stops there.
import type { Command } from 'commander';
import type { MarkResult, SweepResult } from '../../datastore/gc/collect-garbage.ts';
import type { Plan } from '../../datastore/gc/plan.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import { formatBytes, formatDuration, pairs, print } from '../output.ts';
import { Progress } from '../progress.ts';
import { type CommonOptions, repositoryPath, warn, withHeldDatastore, workerCount } from '../repository.ts';

interface GcCommandOptions extends CommonOptions {
  readonly dryRun?: boolean;
  readonly audit?: boolean;
  readonly rateLimit?: string;
}

interface Summary extends SweepResult {
  readonly dryRun: boolean;
  readonly roots: number;
  readonly metadataRead: number;
  readonly objectsLive: number;
  readonly bytesLive: number;
  readonly bytesDead: number;
  /** Dead bytes that stay, in packs that are not worth copying yet. */
  readonly bytesPending: number;
  readonly objectsLost: number;
  readonly auditedObjects: number | null;
  readonly durationMs: number;
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
  const rateLimitBytes = parseRate(options.rateLimit);
  const interrupt = interruptSignal();
  const progress = new Progress(process.stderr, options.outputFormat !== 'text');
  try {
    const { result } = await withHeldDatastore(repositoryPath(options), workerCount(options), (store) =>
      store.collectGarbage(
        {
          signal: interrupt.signal,
          rateLimitBytes,
          onProgress: (bytesDone, bytesTotal) => progress.update('gc', bytesDone, bytesTotal),
        },
        async (gc) => {
          const marked = await gc.mark();
          const plan = gc.plan(marked);
          const swept = options.dryRun ? planned(plan) : await gc.sweep(plan);
          const audit = options.audit ? await gc.audit() : undefined;
          return { marked, plan, swept, audit };
        },
      ),
    );
    progress.end();
    const { marked, plan, swept, audit } = result;
    if (marked.lostData.length > 0)
      warn(
        `${marked.lostData.length} data objects that snapshots need are lost; run holdfast datastore verify to see where`,
      );
    const lost = audit?.unreadable.length ?? marked.lostData.length;
    const summary: Summary = {
      dryRun: options.dryRun === true,
      ...figures(marked, plan),
      ...swept,
      objectsLost: lost,
      auditedObjects: audit?.metadataRead ?? null,
      durationMs: Math.round(performance.now() - started),
    };
    print(options.outputFormat, summary, describe);
    if (lost > marked.lostData.length)
      throw new HoldfastError('datastore-damaged', `the audit misses ${lost} objects; run holdfast datastore verify`);
  } finally {
    progress.end();
    interrupt.stop();
  }
}

function figures(
  marked: MarkResult,
  plan: Plan,
): Omit<Summary, keyof SweepResult | 'dryRun' | 'objectsLost' | 'auditedObjects' | 'durationMs'> {
  const sum = (of: (pack: MarkResult['figures'][number]) => number): number =>
    marked.figures.reduce((total, pack) => total + of(pack), 0);
  return {
    roots: marked.roots.length,
    metadataRead: marked.metadataRead,
    objectsLive: sum((pack) => pack.liveRecords),
    bytesLive: sum((pack) => pack.liveBytes),
    bytesDead: sum((pack) => pack.deadBytes),
    bytesPending: plan.pendingBytes,
  };
}

/** What a sweep would come to. */
function planned(plan: Plan): SweepResult {
  const jobs = plan.rewrite;
  const rewritten = jobs.reduce((sum, job) => sum + job.liveBytes, 0);
  const files = [...plan.drop, ...jobs].reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  return {
    packsDropped: plan.drop.length,
    packsRewritten: jobs.reduce((sum, job) => sum + job.packs.length, 0),
    packsKept: 0,
    bytesWritten: rewritten,
    bytesFreed: files - rewritten,
  };
}

function describe(value: Summary): string {
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

function parseRate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const mib = Number(text);
  if (!(mib > 0) || mib > 1e6)
    throw new HoldfastError('bad-argument', `--rate-limit takes MiB a second, above 0, not ${JSON.stringify(text)}`);
  return mib * 1024 * 1024;
}
