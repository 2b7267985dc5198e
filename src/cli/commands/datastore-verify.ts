// holdfast datastore verify: reads what is stored, and names what is damaged: which snapshots, archives and byte ranges.
import type { Command } from 'commander';
import { resolveSnapshot } from '../../datastore/snapshots/find-snapshot.ts';
import { damageLines, refuseDamage } from '../../datastore/verify/damage-report.ts';
import { verify } from '../../datastore/verify/verify-operation.ts';
import type { VerifyReport } from '../../datastore/verify/verify-store.ts';
import { parseDurationMs } from '../../util/duration.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { useIdleIo } from '../idle-io.ts';
import { ask } from '../open-repository.ts';
import { operate } from '../operate.ts';
import { formatDuration, pairs, print } from '../output.ts';
import { parseRateLimit } from '../rate-limit.ts';
import { type CommonOptions, snapshotRequest, workerCount } from '../repository.ts';

interface VerifyOptions extends CommonOptions {
  readonly snapshot?: string;
  readonly outdatedAfter?: string;
  readonly rateLimit?: string;
}

type Shown = VerifyReport & { readonly durationMs: number };

export function addVerifyCommand(datastore: Command): void {
  datastore
    .command('verify')
    .description('read what is stored, and name what is damaged')
    .option('--snapshot <SNAPSHOT>', 'only what this snapshot needs')
    .option('--outdated-after <TIME>', 'leave out packs that were proved since: 12h, 30d, 4w')
    .option('--rate-limit <MIB>', 'MiB a second to read at most')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (_, command: Command) => await run(command.optsWithGlobals()));
}

async function run(options: VerifyOptions): Promise<void> {
  const started = performance.now();
  const startedMs = Date.now();
  const request = {
    provedSinceMs:
      startedMs -
      (options.outdatedAfter === undefined ? 0 : parseDurationMs(options.outdatedAfter, '--outdated-after')),
    rateLimitBytes: parseRateLimit(options.rateLimit),
  };
  const workers = workerCount(options);
  const snapshot =
    options.snapshot === undefined
      ? null
      : await ask(options, resolveSnapshot, snapshotRequest(options.snapshot, options));
  await useIdleIo(AbortSignal.timeout(10_000));
  const report = await operate(options, workers, verify, { ...request, snapshot });
  print(options.outputFormat, { ...report, durationMs: Math.round(performance.now() - started) }, describe);
  refuseDamage(report);
}

function describe(value: Shown): string {
  const text = pairs([
    ['read', `${formatBytes(value.bytesRead)}: ${value.packsRead} packs, ${value.recordsRead} records`],
    ...(value.recordsEncrypted === 0
      ? []
      : [['encrypted', `${value.recordsEncrypted} of the records: their checksums alone were checked`] as const]),
    ['skipped', `${value.packsSkipped} packs proved lately`],
    ['metadata', `${value.metadataRead} objects with refs followed`],
    ['bad copies', `${value.copiesDamaged}, ${value.unreferencedDamaged ?? 'perhaps some'} of objects in no snapshot`],
    ['missing', `${value.objectsMissing} objects that snapshots need`],
    ['time', formatDuration(value.durationMs)],
  ]);
  return [text, ...damageLines(value)].join('\n');
}
