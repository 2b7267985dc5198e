// holdfast restore vm/101/latest disk0.img TARGET|-
import type { Command } from 'commander';
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

interface RestoreOptions extends CommonOptions {
  readonly overwrite?: boolean;
}

export function addRestoreCommand(program: Command): void {
  program
    .command('restore')
    .description('write an archive of a snapshot to a file, a block device, or standard output')
    .argument('<SNAPSHOT>', 'vm/101/latest or vm/101/2026-11-20T02:00:00Z')
    .argument('<ARCHIVE>', 'disk0.img')
    .argument('<TARGET>', 'a path, or - for standard output')
    .option('--overwrite', 'write over a file or device that is not empty')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (snapshot: string, archive: string, target: string, _, command: Command) => {
      await restore(snapshot, archive, target, command.optsWithGlobals());
    });
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
      const workers = archive.sizeBytes > averageBytes * 16 ? workerCount(options) : 1;
      await withObjects(store, workers, Math.ceil(archive.sizeBytes / averageBytes), async (pool) => {
        const request = {
          archive,
          space: manifest.server.space,
          target,
          overwrite: options.overwrite ?? false,
          stdout: process.stdout,
          signal: interrupt.signal,
          onProgress: (done: number, total: number) => progress.update(archiveName, done, total),
        };
        await runRestore(request, pool, (space, id) => pool.call(0, 'store.read', { space, id }));
      });
      progress.end();
      if (target === '-') return;
      const result = {
        snapshot: `${manifest.client.backup}/${formatTime(manifest.server.time)}`,
        archive: archiveName,
        target,
        bytes: archive.sizeBytes,
        durationMs: Math.round(performance.now() - started),
      };
      print(options.outputFormat, result, (value) =>
        pairs([
          ['restored', `${value.archive} of ${value.snapshot}`],
          ['to', value.target],
          ['size', formatBytes(value.bytes)],
          ['time', formatDuration(value.durationMs)],
        ]),
      );
    });
  } finally {
    progress.end();
    interrupt.stop();
  }
}

/** Opens the objects of a store in this thread and in a pool. */
async function withObjects(
  store: ReadDatastore,
  workers: number,
  lookups: number,
  use: (pool: WorkerPool) => Promise<void>,
): Promise<void> {
  const pool = startPool(workers, () => {});
  try {
    const objects = store.objects(lookups);
    for (const warning of objects.warnings) warn(warning);
    await objects.join(pool);
    await use(pool);
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
