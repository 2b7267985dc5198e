// holdfast restore vm/101/latest disk0.img TARGET|-
import { type Command, Option } from 'commander';
import type { LostRange } from '../../agent/restore/piece-restorer.ts';
import { runRestore } from '../../agent/restore/run-restore.ts';
import type { ReadDatastore } from '../../datastore/read-datastore.ts';
import type { Archive, Manifest } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { findSnapshot } from '../find-snapshot.ts';
import { interruptSignal } from '../interrupt.ts';
import { formatBytes, formatDuration, pairs, print } from '../output.ts';
import { Progress } from '../progress.ts';
import { type CommonOptions, repositoryPath, startPool, warn, withReadDatastore, workerCount } from '../repository.ts';
import { type RestoreTarOptions, restoreTar } from './restore-tar.ts';

interface RestoreOptions extends CommonOptions, RestoreTarOptions {
  readonly overwrite?: boolean;
  readonly damaged: 'refuse' | 'zero';
}

/** Ranges that are printed one by one; JSON has all. */
const SHOWN_RANGES = 1000;

export function addRestoreCommand(program: Command): void {
  program
    .command('restore')
    .description('write an archive of a snapshot to a file, a block device, or standard output')
    .argument('<SNAPSHOT>', 'vm/101/latest or vm/101/2026-11-20T02:00:00Z')
    .argument('<ARCHIVE>', 'disk0.img')
    .argument('[TARGET]', 'a path, or - for standard output; with --tar none')
    .option(
      '--tar <FILE>',
      'write a file tree as a tar archive (- for standard output; with zstd when it ends with .zst or .tzst)',
    )
    .option('--zstd', 'compress the tar archive, whatever its name')
    .option('--path <SUBDIR>', 'with --tar: only this directory or file of the tree')
    .option('--overwrite', 'write over a file or device that is not empty')
    .addOption(
      new Option('--damaged <HOW>', 'what to do where data is lost: end, or write zeros there and say where')
        .choices(['refuse', 'zero'])
        .default('refuse'),
    )
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (snapshot: string, archive: string, target: string | undefined, _, command: Command) => {
      const options: RestoreOptions = command.optsWithGlobals();
      await restore(snapshot, archive, targetOf(target, options), options);
    });
}

/** One place to restore to: the argument, or the file of --tar. */
function targetOf(target: string | undefined, { tar, zstd, path, damaged }: RestoreOptions): string {
  if (tar !== undefined && target !== undefined)
    throw new HoldfastError('bad-argument', `restore to ${target} or to the tar archive ${tar}, not to both`);
  if (tar === undefined && (zstd === true || path !== undefined))
    throw new HoldfastError('bad-argument', '--zstd and --path belong to --tar FILE');
  if (tar !== undefined && damaged === 'zero')
    throw new HoldfastError(
      'bad-argument',
      '--damaged zero is not for --tar: a member without its bytes would look whole',
    );
  const found = tar ?? target;
  if (found === undefined)
    throw new HoldfastError('bad-argument', 'restore to where? Give a path, or - for standard output');
  return found;
}

async function restore(
  snapshotText: string,
  archiveName: string,
  target: string,
  options: RestoreOptions,
): Promise<void> {
  const started = performance.now();
  const interrupt = interruptSignal();
  const progress = new Progress(process.stderr, options.outputFormat !== 'text');
  try {
    await withReadDatastore(repositoryPath(options), async (store) => {
      const { manifest } = await findSnapshot(store.groups, snapshotText, options);
      const archive = archiveOf(manifest, archiveName);
      const { averageBytes } = store.config.chunk;
      const space = manifest.server.space;
      const snapshot = `${manifest.client.backup}/${formatTime(manifest.server.time)}`;
      const { signal } = interrupt;
      const onProgress = (done: number, total: number): void => progress.update(archiveName, done, total);
      const workers = archive.sizeBytes > averageBytes * 16 ? workerCount(options) : 1;
      if (options.tar !== undefined) {
        const { members, bytes } = await withObjects(
          store,
          workers,
          Math.ceil(archive.sizeBytes / averageBytes),
          (pool) => restoreTar(pool, { archive, space, target, signal, onProgress }, options),
        );
        progress.end();
        const durationMs = Math.round(performance.now() - started);
        const result = { snapshot, archive: archiveName, target, bytes, members, durationMs };
        if (target !== '-') print(options.outputFormat, result, describe);
        return;
      }
      const lost = await withObjects(store, workers, Math.ceil(archive.sizeBytes / averageBytes), async (pool) => {
        const request = {
          archive,
          space,
          target,
          overwrite: options.overwrite ?? false,
          zeroLost: options.damaged === 'zero',
          stdout: process.stdout,
          signal,
          onProgress,
        };
        return await runRestore(request, pool, (space, id) => pool.call(0, 'store.read', { space, id }));
      });
      progress.end();
      warnOfLost(archiveName, lost);
      const result = {
        snapshot,
        archive: archiveName,
        target,
        bytes: archive.sizeBytes,
        damaged: lost,
        durationMs: Math.round(performance.now() - started),
      };
      if (target !== '-') print(options.outputFormat, result, describe);
      if (lost.length > 0) throw incomplete(archiveName, lost);
    });
  } finally {
    progress.end();
    interrupt.stop();
  }
}

interface Restored {
  readonly snapshot: string;
  readonly archive: string;
  readonly target: string;
  readonly bytes: number;
  /** Ranges that hold zeros because what was there is lost; of an image or a stream. */
  readonly damaged?: readonly LostRange[];
  /** Of a tar archive. */
  readonly members?: number;
  readonly durationMs: number;
}

function describe(value: Restored): string {
  return pairs([
    ['restored', `${value.archive} of ${value.snapshot}`],
    ['to', value.target],
    ['size', formatBytes(value.bytes)],
    ['time', formatDuration(value.durationMs)],
  ]);
}

function warnOfLost(archive: string, lost: readonly LostRange[]): void {
  for (const { offset, length } of lost.slice(0, SHOWN_RANGES))
    warn(`${archive}: ${length} bytes at ${offset} are lost, zeros stand for them`);
  if (lost.length > SHOWN_RANGES)
    warn(`${archive}: and ${lost.length - SHOWN_RANGES} ranges more, all of them with --output-format json`);
}

/** What was asked for is done, and it is not the disk that was backed up. */
function incomplete(archive: string, lost: readonly LostRange[]): HoldfastError {
  const bytes = lost.reduce((sum, { length }) => sum + length, 0);
  return new HoldfastError(
    'object-damaged',
    `${archive} was restored with zeros for ${bytes} bytes in ${lost.length} ranges that are lost; look for them in another snapshot or replica`,
    { data: { archive, damaged: lost } },
  );
}

/** Opens the objects of a store in this thread and in a pool. */
async function withObjects<Result>(
  store: ReadDatastore,
  workers: number,
  lookups: number,
  use: (pool: WorkerPool) => Promise<Result>,
): Promise<Result> {
  const pool = startPool(workers, () => {});
  try {
    const objects = store.objects(lookups);
    for (const warning of objects.warnings) warn(warning);
    await objects.join(pool);
    return await use(pool);
  } finally {
    await pool.close();
  }
}

function archiveOf(manifest: Manifest, name: string): Archive {
  const archive = manifest.client.archives.find((candidate) => candidate.name === name);
  if (archive !== undefined) return archive;
  const names = manifest.client.archives.map((candidate) => candidate.name).join(', ');
  throw new HoldfastError('not-found', `the snapshot has no archive ${JSON.stringify(name)}; it has ${names}`);
}
