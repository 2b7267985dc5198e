// holdfast restore vm/101/latest disk0.img TARGET|-: finds the snapshot, opens its objects, and leaves the rest to the kind of the archive.
import { type Command, Option } from 'commander';
import type { DataKey } from '../../chunker/data-key.ts';
import { describeStore } from '../../datastore/describe-store.ts';
import type { Archive, Manifest } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { addReadKeyOptions, findTrusted, type KeyOptions, readKey } from '../client-key.ts';
import { withRepository } from '../open-repository.ts';
import type { FoundSnapshot, Repository } from '../readable-repository.ts';
import { workerCount } from '../repository.ts';
import { atTerminal, type Surroundings } from '../surroundings.ts';
import { restoreDisk } from './restore-disk.ts';
import type { RestorePlace, WithObjects } from './restore-place.ts';
import { addTarOptions, restoreTar, type TarRestoreOptions, targetOf } from './restore-tar.ts';
import { addTreeRestoreOptions, refuseTreeOptions, restoreTree, type TreeRestoreOptions } from './restore-tree.ts';

export type RestoreOptions = KeyOptions & TreeRestoreOptions & TarRestoreOptions;

export function addRestoreCommand(program: Command): void {
  const command = addReadKeyOptions(program.command('restore'))
    .description(
      'write an archive of a snapshot to a file, a block device, or standard output; a file tree to a directory or a tar archive',
    )
    .argument('<SNAPSHOT>', 'vm/101/latest or vm/101/2026-11-20T02:00:00Z')
    .argument('<ARCHIVE>', 'disk0.img')
    .argument('[TARGET]', 'a path, or - for standard output; none with --tar')
    .option('--overwrite', 'write over a file or device that is not empty')
    .addOption(
      new Option('--damaged <HOW>', 'what to do where data is lost: end, or write zeros there and say where')
        .choices(['refuse', 'zero'])
        .default('refuse'),
    )
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (snapshot: string, archive: string, target: string | undefined, _, command: Command) => {
      const options: RestoreOptions = command.optsWithGlobals();
      const place = targetOf(target, options);
      await atTerminal(options, async (around) => await performRestore(snapshot, archive, place, options, around));
    });
  addTarOptions(addTreeRestoreOptions(command));
}

/** Restores an archive, and tells what came of it: for the command, and for an agent that was ordered to. @throws what the command does. */
export async function performRestore(
  snapshotText: string,
  archiveName: string,
  target: string,
  options: RestoreOptions,
  around: Surroundings,
): Promise<void> {
  const started = performance.now();
  const key = await readKey(options, around);
  const run = async (repository: Repository): Promise<void> => {
    const found = await findTrusted(repository, snapshotText, options, key, around.warn);
    const { manifest } = found;
    const archive = archiveOf(manifest, archiveName);
    const place: RestorePlace = {
      snapshot: `${manifest.client.backup}/${formatTime(manifest.server.time)}`,
      archive,
      space: manifest.server.space,
      target,
      averageBytes: (await repository.ask(describeStore, {})).averageBytes,
      workers: workerCount(options),
      signal: around.signal,
      onProgress: (done, total) => around.onProgress(archiveName, done, total),
      endProgress: around.endProgress,
      warn: around.warn,
      tell: around.tell,
      durationMs: () => Math.round(performance.now() - started),
      withObjects: objectsOf(repository, found, key),
    };
    if (options.tar !== undefined) return await restoreTar(place, options);
    if (archive.kind === 'tree') return await restoreTree(place, options);
    refuseTreeOptions(archive, options);
    await restoreDisk(place, options);
  };
  await withRepository(options, run, around, workerCount(options));
}

/** Opens the objects of a snapshot in a pool. */
function objectsOf(repository: Repository, found: FoundSnapshot, key: DataKey | undefined): WithObjects {
  return async (workers, lookups, use) => {
    const objects = await repository.open([found], key, { lookups, workers });
    const pool = await objects.pool();
    const { space } = found.manifest.server;
    return await use(pool, (id) => pool.call(0, 'store.read', { space, id }));
  };
}

function archiveOf(manifest: Manifest, name: string): Archive {
  const archive = manifest.client.archives.find((candidate) => candidate.name === name);
  if (archive !== undefined) return archive;
  const names = manifest.client.archives.map((candidate) => candidate.name).join(', ');
  throw new HoldfastError('not-found', `the snapshot has no archive ${JSON.stringify(name)}; it has ${names}`);
}
