// holdfast backup --group vm/101 disk0.img:PATH ... name.conf:PATH
import { type Command, Option } from 'commander';
import { readChangeMap } from '../../agent/backup/change-map.ts';
import { type ArchiveSpec, type BackupResult, isFromStdin, runBackup, tarPath } from '../../agent/backup/run-backup.ts';
import type { Remembered, RememberedGroup } from '../../agent/keys/last-snapshots.ts';
import { wrapForRecovery } from '../../agent/keys/recovery-key.ts';
import { ZSTD_LEVELS } from '../../schema/compression.ts';
import type { RecoveryRecord } from '../../schema/manifest.ts';
import { archiveKind, formatTime, parseGroup, parseSnapshotRef, parseTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { requireAcknowledged } from '../acknowledge-key.ts';
import { withBackupTarget } from '../backup-target.ts';
import {
  addKeyOptions,
  type KeyOptions,
  lastSnapshots,
  type OpenedKey,
  openKey,
  rememberedGroup,
} from '../client-key.ts';
import { formatBytes, formatDuration, pairs } from '../output.ts';
import { namespaceOf } from '../repository.ts';
import { atTerminal, type Surroundings } from '../surroundings.ts';
import { addTreeOptions, type TreeCommandOptions, treeOptions } from '../tree-options.ts';

/** As many as the schema of the manifest takes (src/schema/manifest.ts): one more, and nobody could read it again. */
const MAX_ARCHIVES = 1024;

export interface BackupOptions extends KeyOptions, TreeCommandOptions {
  readonly cryptMode?: 'none' | 'encrypt';
  readonly acknowledgeLostKey?: boolean;
  readonly group: string;
  readonly changedSince?: string;
  readonly time?: string;
  readonly compressionLevel: string;
}

export function addBackupCommand(program: Command): void {
  const command = addKeyOptions(program.command('backup'))
    .description('back up disk images, file trees and small files as one snapshot')
    .argument(
      '<ARCHIVE:PATH...>',
      'disk0.img:PATH for a disk (file, block device, qcow2, ..., - for standard input), root.tree:DIR for a file tree, root.tree:tar:FILE for a tar archive (.tar, .tar.zst, .tar.gz, - for standard input), name.conf:PATH for a small file',
    )
    .requiredOption('--group <TYPE/ID>', 'vm/101, ct/200 or host/name')
    .option('--changed-since <FILE>', 'JSON change map: only what it names is read')
    .option('--time <TIME>', 'label of the snapshot, RFC 3339 or Unix seconds')
    .option(
      '--compression-level <N>',
      `zstd level, ${ZSTD_LEVELS.lowest} to ${ZSTD_LEVELS.highest}`,
      String(ZSTD_LEVELS.default),
    )
    .addOption(
      new Option('--crypt-mode <MODE>', 'default: encrypt when there is a key file').choices(['none', 'encrypt']),
    )
    .option('--acknowledge-lost-key', 'accept, once and for all, that without the key file these backups are lost')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (archives: string[], _, command: Command) => {
      const options: BackupOptions = command.optsWithGlobals();
      await atTerminal(options, async (around) => await performBackup(archives, options, around));
    });
  addTreeOptions(command);
}

/** Makes a snapshot, and tells what it is: for the command, and for an agent that was ordered to. @throws what the command does. */
export async function performBackup(
  texts: readonly string[],
  options: BackupOptions,
  around: Surroundings,
): Promise<void> {
  const { warn } = around;
  const started = performance.now();
  const group = parseGroup(options.group);
  const ns = namespaceOf(options);
  const archives = parseArchives(texts);
  const time = options.time === undefined ? undefined : parseTime(options.time);
  const compressionLevel = parseLevel(options.compressionLevel);
  const changeMap = options.changedSince === undefined ? undefined : await readChangeMap(options.changedSince);
  if (changeMap !== undefined) parseSnapshotRef(changeMap.base);
  const tree = treeOptions(options);
  const opened = await encryptionKey(options, around);
  const key = opened?.key;
  const { result, indexGrowthBytes } = await withBackupTarget(
    options,
    around,
    async ({ storeId, averageBytes, pool, openSession }) => {
      const remembered = key === undefined ? undefined : rememberedGroup(storeId, { ns, group }, key);
      const request = {
        group,
        archives,
        changeMap,
        tree,
        time,
        key,
        recovery: recoveryOf(opened),
        last: await lastOf(remembered, warn),
        averageBytes,
        stdin: process.stdin,
        signal: around.signal,
        onProgress: around.onProgress,
        warn,
      };
      const done = await runBackup(request, pool, () => openSession({ ns, group, compressionLevel, key }));
      await remember(remembered, done, warn);
      return done;
    },
  );
  around.endProgress();
  for (const warning of result.committed.warnings) warn(warning);
  around.tell(summary(result, indexGrowthBytes, Math.round(performance.now() - started)), describe);
}

/** The key to encrypt with; undefined for a plain backup. @throws `key-missing`, `key-unacknowledged`, and what opening it throws. */
async function encryptionKey(options: BackupOptions, around: Surroundings): Promise<OpenedKey | undefined> {
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

function parseArchives(texts: readonly string[]): ArchiveSpec[] {
  const archives = texts.map((text) => {
    const cut = text.indexOf(':');
    if (cut <= 0 || cut === text.length - 1) {
      throw new HoldfastError(
        'bad-argument',
        `${JSON.stringify(text)} does not name an archive and a path: write disk0.img:/path/to/disk`,
      );
    }
    const name = text.slice(0, cut);
    return { name, kind: archiveKind(name), path: text.slice(cut + 1) };
  });
  if (archives.length > MAX_ARCHIVES)
    throw new HoldfastError(
      'too-many',
      `${archives.length} archives are more than the ${MAX_ARCHIVES} of a snapshot; make two groups of them`,
    );
  const names = archives.map((archive) => archive.name);
  const twice = names.find((name, place) => names.indexOf(name) !== place);
  if (twice !== undefined)
    throw new HoldfastError('bad-argument', `archive ${twice} is named twice; give each its own name`);
  if (archives.filter(isFromStdin).length > 1)
    throw new HoldfastError('bad-argument', 'only one archive can come from standard input');
  const tar = archives.find((archive) => tarPath(archive) === '');
  if (tar !== undefined)
    throw new HoldfastError('bad-argument', `${tar.name} needs a tar archive: write ${tar.name}:tar:FILE`);
  const other = archives.find((archive) => archive.kind !== 'image' && archive.path === '-');
  if (other !== undefined)
    throw new HoldfastError(
      'bad-argument',
      `${other.name} cannot come from standard input; only .img can, and .tree as tar:-`,
    );
  return archives;
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
