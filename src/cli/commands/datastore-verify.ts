// holdfast datastore verify: reads what is stored, and names what is damaged: which snapshots, archives and byte ranges.
import type { Command } from 'commander';
import { ReadDatastore } from '../../datastore/read-datastore.ts';
import type { SnapshotName } from '../../datastore/snapshots/group-store.ts';
import { verify } from '../../datastore/verify/verify-operation.ts';
import type { VerifyReport } from '../../datastore/verify/verify-store.ts';
import { HoldfastError } from '../../util/errors.ts';
import { resolveSnapshot } from '../find-snapshot.ts';
import { useIdleIo } from '../idle-io.ts';
import { operate } from '../operate.ts';
import { formatBytes, formatDuration, pairs, print } from '../output.ts';
import { type CommonOptions, repositoryPath, workerCount } from '../repository.ts';

interface VerifyOptions extends CommonOptions {
  readonly snapshot?: string;
  readonly outdatedAfter?: string;
  readonly rateLimit?: string;
}

type Shown = VerifyReport & { readonly durationMs: number };

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
/** Ranges of one archive that the text shows; JSON has all. */
const SHOWN_RANGES = 20;

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
    provedSinceMs: startedMs - durationMs(options.outdatedAfter),
    rateLimitBytes: rateOf(options.rateLimit),
  };
  const workers = workerCount(options);
  const snapshot = options.snapshot === undefined ? null : await nameOf(options.snapshot, options);
  await useIdleIo(AbortSignal.timeout(10_000));
  const report = await operate(options, workers, verify, { ...request, snapshot });
  print(options.outputFormat, { ...report, durationMs: Math.round(performance.now() - started) }, describe);
  refuseDamage(report);
}

async function nameOf(text: string, options: CommonOptions): Promise<SnapshotName> {
  const store = await ReadDatastore.open(repositoryPath(options));
  try {
    return await resolveSnapshot(store.groups, text, options);
  } finally {
    store.close();
  }
}

/** Ends with an error when anything is damaged: `object-damaged`, or `manifest-altered` when it is manifests alone. */
function refuseDamage(report: VerifyReport): void {
  const { damaged, packsDamaged, manifestsDamaged } = report;
  const unreferencedDamaged = report.unreferencedDamaged ?? 0;
  const snapshots = new Set(damaged.map(({ ns, snapshot }) => `${ns}/${snapshot}`)).size;
  const parts = [
    ...(snapshots > 0 ? [`${snapshots} snapshots have damaged ranges`] : []),
    ...(unreferencedDamaged > 0 ? [`${unreferencedDamaged} damaged objects are in no snapshot`] : []),
    ...(packsDamaged.length > 0 ? [`${packsDamaged.length} faults in the structure of packs`] : []),
    ...(manifestsDamaged.length > 0 ? [`${manifestsDamaged.length} manifests are not what was written`] : []),
  ];
  if (parts.length === 0) return;
  const onlyManifests = parts.length === 1 && manifestsDamaged.length > 0;
  throw new HoldfastError(
    onlyManifests ? 'manifest-altered' : 'object-damaged',
    `${parts.join(', ')}; look at the disk (dmesg, SMART), then back up again, which stores what is damaged anew`,
    { data: { snapshots, unreferencedDamaged, packs: packsDamaged.length, manifests: manifestsDamaged.length } },
  );
}

function describe(value: Shown): string {
  const text = pairs([
    ['read', `${formatBytes(value.bytesRead)}: ${value.packsRead} packs, ${value.recordsRead} records`],
    ['skipped', `${value.packsSkipped} packs proved lately`],
    ['metadata', `${value.metadataRead} objects with refs followed`],
    ['bad copies', `${value.copiesDamaged}, ${value.unreferencedDamaged ?? 'perhaps some'} of objects in no snapshot`],
    ['missing', `${value.objectsMissing} objects that snapshots need`],
    ['time', formatDuration(value.durationMs)],
  ]);
  return [text, ...damageLines(value)].join('\n');
}

function damageLines({ damaged, packsDamaged, manifestsDamaged }: VerifyReport): string[] {
  const archives = damaged.flatMap(({ ns, snapshot, archive, ranges }) => [
    `damaged: ${snapshot}${ns === '' ? '' : ` (namespace ${ns})`} ${archive}`,
    ...ranges.slice(0, SHOWN_RANGES).map(({ offset, length }) => `  ${length} bytes at ${offset}`),
    ...(ranges.length > SHOWN_RANGES ? [`  and ${ranges.length - SHOWN_RANGES} ranges more`] : []),
  ]);
  return [
    ...archives,
    ...packsDamaged.map(({ pack, problem }) => `pack ${pack}: ${problem}`),
    ...manifestsDamaged.map(({ error }) => error),
  ];
}

function durationMs(text: string | undefined): number {
  if (text === undefined) return 0;
  const [, count, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  if (count === undefined)
    throw new HoldfastError(
      'bad-argument',
      `--outdated-after takes a time such as 12h or 30d, not ${JSON.stringify(text)}`,
    );
  return Number(count) * (UNIT_MS[unit as string] as number);
}

function rateOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const mib = Number(text);
  if (!(mib > 0) || mib > 1e6)
    throw new HoldfastError('bad-argument', `--rate-limit takes MiB a second, above 0, not ${JSON.stringify(text)}`);
  return mib * 1024 * 1024;
}
