// holdfast datastore status | account: what a datastore holds, what it takes, and for how long the file system lasts.
import { readdir } from 'node:fs/promises';
import type { Command } from 'commander';
import { accountSpace } from '../../datastore/accounting/account-operation.ts';
import type { Growth } from '../../datastore/accounting/growth.ts';
import { reportSpace, type SpaceReport, type SpaceRow } from '../../datastore/accounting/space-report.ts';
import { readLimits } from '../../datastore/limits/limits-file.ts';
import type { ReadDatastore } from '../../datastore/read-datastore.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { withReadDatastore } from '../local-store.ts';
import { operate } from '../operate.ts';
import { formatDuration, pairs, print, table } from '../output.ts';
import { type CommonOptions, repositoryPath, warn } from '../repository.ts';

export function addStatusCommands(datastore: Command): void {
  datastore
    .command('status')
    .description('what a datastore holds, and the space that it takes')
    .action(async (_, command: Command) => await status(command.optsWithGlobals()));
  datastore
    .command('account')
    .description('count exactly what each snapshot, group and namespace takes; garbage collection does it too')
    .action(async (_, command: Command) => await account(command.optsWithGlobals()));
}

async function status(common: CommonOptions): Promise<void> {
  const value = await withReadDatastore(repositoryPath(common), statusOf, true);
  for (const message of value.space.unreadableManifests) warn(message);
  print(common.outputFormat, value, describe);
}

async function statusOf(store: ReadDatastore) {
  const limits = await readLimits(store.layout);
  const space = await reportSpace(store.layout, store.groups, limits, Math.floor(Date.now() / 1000));
  return {
    repository: store.layout.root,
    store: store.config.store,
    created: store.config.created,
    averageChunkBytes: store.config.chunk.averageBytes,
    maintenance: limits.maintenance,
    namespaces: (await store.groups.namespaces()).length,
    groups: await groupCount(store),
    snapshots: space.groups.reduce((sum, row) => sum + row.snapshots, space.unreadableManifests.length),
    packs: space.packs,
    packBytes: space.bytesOnDisk,
    unfinishedSessions: (await readdir(store.layout.sessions)).filter((name) => name.endsWith('.json')).length,
    space,
  };
}

/** Groups without a snapshot count too. */
async function groupCount({ groups }: ReadDatastore): Promise<number> {
  let count = 0;
  for (const ns of await groups.namespaces()) count += (await groups.groups(ns)).length;
  return count;
}

function describe(value: Awaited<ReturnType<typeof statusOf>>): string {
  const { space } = value;
  const bytes = (count: number | null): string => (count === null ? 'not counted yet' : formatBytes(count));
  const head: [string, string][] = [
    ['datastore', value.repository],
    ['id', value.store],
    ['created', value.created],
    ['average chunk', formatBytes(value.averageChunkBytes)],
    ['maintenance', [value.maintenance.mode, value.maintenance.message].filter((text) => text !== '').join(': ')],
    ['namespaces', String(value.namespaces)],
    ['groups', String(value.groups)],
    ['snapshots', String(value.snapshots)],
    ['packs', `${value.packs} (${formatBytes(value.packBytes)})`],
    ['unfinished sessions', String(value.unfinishedSessions)],
    ['logical', formatBytes(space.bytesLogical)],
    ['reduction', reductionText(space)],
    ['live', bytes(space.bytesLive)],
    ['unique', bytes(space.bytesUnique)],
    ['shared', bytes(space.bytesShared)],
    ['pending', bytes(space.bytesPending)],
    ['counted', countedText(space)],
    ['free', `${formatBytes(space.freeBytes)} of ${formatBytes(space.totalBytes)}`],
    ['low-space limit', formatBytes(space.lowSpaceLimitBytes)],
    ['growth', growthText(space.growth)],
  ];
  const rows = [...space.namespaces.filter(({ ns }) => ns !== ''), ...space.groups].map(rowText);
  const columns = ['of', 'snapshots', 'logical', 'on disk', 'exclusive'];
  const tables = rows.length === 0 ? [] : [table(columns, rows, new Set(columns.slice(1)))];
  const quotas = space.quotas.map((quota) => [quota.name, formatBytes(quota.usedBytes), formatBytes(quota.quotaBytes)]);
  if (quotas.length > 0) tables.push(table(['quota of', 'used', 'quota'], quotas, new Set(['used', 'quota'])));
  return [pairs(head), ...tables].join('\n\n');
}

function reductionText({ reductionRatio, dedupRatio, compressionRatio }: SpaceReport): string {
  if (reductionRatio === null) return 'nothing stored';
  const parts = dedupRatio === null || compressionRatio === null ? [] : [dedupRatio, compressionRatio];
  const [dedup, compression] = parts.map((ratio) => ratio.toFixed(2));
  const by = parts.length === 0 ? '' : ` (deduplication and holes ${dedup}, compression ${compression})`;
  return `${reductionRatio.toFixed(2)} : 1${by}`;
}

function rowText(row: SpaceRow): string[] {
  const name = row.group === null ? `${row.ns}/` : `${row.ns === '' ? '' : `${row.ns}: `}${row.group}`;
  const exclusive = row.bytesExclusive === null ? '?' : formatBytes(row.bytesExclusive);
  return [name, String(row.snapshots), formatBytes(row.bytesLogical), formatBytes(row.bytesAttributed), exclusive];
}

function countedText(space: SpaceReport): string {
  if (space.accountedAt === null) return 'never; run holdfast datastore account';
  const since = `${space.snapshotsSince} snapshots made and ${space.forgottenSince} forgotten since`;
  return space.snapshotsSince + space.forgottenSince === 0
    ? `${space.accountedAt}, exact`
    : `${space.accountedAt}; ${since}`;
}

function growthText(growth: Growth): string {
  if (growth.bytesPerDay === null) return `not enough history (${growth.days} days with backups)`;
  const full = growth.fullOn === null ? 'not full within ten years' : `full about ${growth.fullOn}`;
  return `${formatBytes(Math.max(0, growth.bytesPerDay))} a day over ${growth.days} days, ${full}`;
}

async function account(common: CommonOptions): Promise<void> {
  const result = await operate(common, 1, accountSpace, {});
  print(common.outputFormat, result, (value) =>
    pairs([
      ['counted', `${value.snapshots} snapshots, ${value.metadataRead} lists and pages read`],
      ['live', formatBytes(value.bytesLive)],
      ['pending', formatBytes(value.bytesRecords - value.bytesLive)],
      ['time', formatDuration(value.durationMs)],
    ]),
  );
  if (result.objectsUnreadable > 0)
    warn(`${result.objectsUnreadable} objects that snapshots need cannot be read; what lies below them is not counted`);
}
