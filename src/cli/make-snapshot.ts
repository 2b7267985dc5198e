// What every command that makes a snapshot does around it: the key, the repository, the client's memory of its last snapshots, and the result that is told.
import { type Command, Option } from 'commander';
import type { BackupRequest, BackupResult } from '../agent/backup/run-backup.ts';
import type { Session } from '../agent/backup/session.ts';
import type { Remembered, RememberedGroup } from '../agent/keys/last-snapshots.ts';
import { wrapForRecovery } from '../agent/keys/recovery-key.ts';
import { ZSTD_LEVELS } from '../schema/compression.ts';
import type { RecoveryRecord } from '../schema/manifest.ts';
import { formatTime, type GroupName } from '../schema/names.ts';
import { HoldfastError } from '../util/errors.ts';
import { formatBytes } from '../util/format-bytes.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import { requireAcknowledged } from './acknowledge-key.ts';
import { withBackupTarget } from './backup-target.ts';
import { type KeyOptions, lastSnapshots, type OpenedKey, openKey, rememberedGroup } from './client-key.ts';
import { formatDuration, pairs } from './output.ts';
import { namespaceOf } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

export interface SnapshotOptions extends KeyOptions {
  readonly cryptMode?: 'none' | 'encrypt';
  readonly acknowledgeLostKey?: boolean;
  readonly compressionLevel: string;
}

export function addSnapshotOptions(command: Command): void {
  command
    .option(
      '--compression-level <N>',
      `zstd level, ${ZSTD_LEVELS.lowest} to ${ZSTD_LEVELS.highest}`,
      String(ZSTD_LEVELS.default),
    )
    .addOption(
      new Option('--crypt-mode <MODE>', 'default: encrypt when there is a key file').choices(['none', 'encrypt']),
    )
    .option('--acknowledge-lost-key', 'accept, once and for all, that without the key file these backups are lost')
    .option('--workers <N>', 'worker threads (default: one per processor)');
}

/** What is the same for every backup; `storeId` is the datastore's own. */
export type CommonParts = Pick<
  BackupRequest,
  'group' | 'key' | 'recovery' | 'last' | 'averageBytes' | 'stdin' | 'onProgress'
> & { readonly storeId: string };

/** Opens the repository, has `make` make a snapshot of `group`, and tells what it is. @throws what any of it does. */
export async function makeSnapshot(
  options: SnapshotOptions,
  around: Surroundings,
  group: GroupName,
  make: (parts: CommonParts, pool: WorkerPool, openSession: () => Promise<Session>) => Promise<BackupResult>,
): Promise<void> {
  const { warn } = around;
  const started = performance.now();
  const ns = namespaceOf(options);
  const compressionLevel = parseLevel(options.compressionLevel);
  const opened = await encryptionKey(options, around);
  const key = opened?.key;
  const { result, indexGrowthBytes } = await withBackupTarget(
    options,
    around,
    async ({ storeId, averageBytes, pool, openSession }) => {
      const remembered = key === undefined ? undefined : rememberedGroup(storeId, { ns, group }, key);
      const parts = {
        storeId,
        group,
        key,
        recovery: recoveryOf(opened),
        last: await lastOf(remembered, warn),
        averageBytes,
        stdin: process.stdin,
        onProgress: around.onProgress,
      };
      const done = await make(parts, pool, async () => await openSession({ ns, group, compressionLevel, key }));
      await remember(remembered, done, warn);
      return done;
    },
  );
  around.endProgress();
  for (const warning of result.committed.warnings) warn(warning);
  around.tell(summary(result, indexGrowthBytes, Math.round(performance.now() - started)), describe);
}

/** The key to encrypt with; undefined for a plain backup. @throws `key-missing`, `key-unacknowledged`, and what opening it throws. */
async function encryptionKey(options: SnapshotOptions, around: Surroundings): Promise<OpenedKey | undefined> {
  if (options.cryptMode === 'none') return undefined;
  const opened = await openKey(options, around);
  if (opened !== undefined) await requireAcknowledged(opened, options.acknowledgeLostKey ?? false, around);
  else if (options.cryptMode === 'encrypt' || options.acknowledgeLostKey)
    throw new HoldfastError(
      'key-missing',
      'encrypt with which key? Give --keyfile FILE; make one with: holdfast key create FILE',
    );
  return opened;
}

function recoveryOf(opened: OpenedKey | undefined): RecoveryRecord | undefined {
  if (opened === undefined || opened.file.recovery === null) return undefined;
  return wrapForRecovery(opened.file.recovery, opened.key);
}

/** What cannot be known keeps nobody from a backup, and is said. */
async function lastOf(group: RememberedGroup | undefined, warn: Surroundings['warn']): Promise<Remembered | undefined> {
  if (group === undefined) return undefined;
  try {
    return await lastSnapshots().last(group);
  } catch (error) {
    warn(`whether the datastore's last snapshot is the latest cannot be told: ${(error as Error).message}`);
    return undefined;
  }
}

/** The snapshot is made by then: what fails here is a warning. */
async function remember(
  group: RememberedGroup | undefined,
  { committed }: BackupResult,
  warn: Surroundings['warn'],
): Promise<void> {
  if (group === undefined) return;
  try {
    await lastSnapshots().remember(group, committed.manifest);
  } catch (error) {
    warn(`an older snapshot could be passed off for this one: ${(error as Error).message}`);
  }
}

interface Summary {
  readonly snapshot: string;
  readonly sequence: number;
  readonly bytesLogical: number;
  readonly bytesRead: number;
  readonly bytesSampled: number;
  readonly bytesNew: number;
  readonly bytesStored: number;
  readonly objectsNew: number;
  readonly objectsReused: number;
  readonly objectsAdopted: number;
  readonly durationMs: number;
}

function summary(result: BackupResult, indexGrowthBytes: number, durationMs: number): Summary {
  const { committed, statistics } = result;
  return {
    snapshot: `${committed.name.group}/${formatTime(committed.name.time)}`,
    sequence: committed.manifest.server.sequence,
    bytesLogical: statistics.bytesLogical,
    bytesRead: statistics.bytesRead,
    bytesSampled: statistics.bytesSampled,
    bytesNew: statistics.bytesNew,
    bytesStored: committed.bytesStored + indexGrowthBytes,
    objectsNew: statistics.objectsNew,
    objectsReused: statistics.objectsReused,
    objectsAdopted: result.objectsAdopted,
    durationMs,
  };
}

function describe(value: Summary): string {
  return pairs([
    ['snapshot', value.snapshot],
    ['size', formatBytes(value.bytesLogical)],
    [
      'read',
      value.bytesSampled === 0
        ? formatBytes(value.bytesRead)
        : `${formatBytes(value.bytesRead)} and ${formatBytes(value.bytesSampled)} of samples`,
    ],
    ['new', `${formatBytes(value.bytesNew)} in ${value.objectsNew} objects (${value.objectsReused} known)`],
    ['stored', formatBytes(value.bytesStored)],
    ['time', formatDuration(value.durationMs)],
  ]);
}

function parseLevel(text: string): number {
  const level = Number(text);
  if (!Number.isInteger(level) || level < ZSTD_LEVELS.lowest || level > ZSTD_LEVELS.highest) {
    throw new HoldfastError(
      'bad-argument',
      `--compression-level takes ${ZSTD_LEVELS.lowest} to ${ZSTD_LEVELS.highest}, not ${JSON.stringify(text)}`,
    );
  }
  return level;
}
