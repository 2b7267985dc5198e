// holdfast backup --group vm/101 disk0.img:PATH ... name.conf:PATH
import type { Command } from 'commander';
import { readChangeMap } from '../../agent/backup/change-map.ts';
import { type ArchiveSpec, isFromStdin, runBackup, tarPath } from '../../agent/backup/run-backup.ts';
import { archiveKind, parseGroup, parseSnapshotRef, parseTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { addKeyOptions } from '../client-key.ts';
import { addSnapshotOptions, makeSnapshot, type SnapshotOptions } from '../make-snapshot.ts';
import { atTerminal, type Surroundings } from '../surroundings.ts';
import { addTreeOptions, type TreeCommandOptions, treeOptions } from '../tree-options.ts';

/** As many as the schema of the manifest takes (src/schema/manifest.ts): one more, and nobody could read it again. */
const MAX_ARCHIVES = 1024;

export interface BackupOptions extends SnapshotOptions, TreeCommandOptions {
  readonly group: string;
  readonly changedSince?: string;
  readonly time?: string;
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
    .action(async (archives: string[], _, command: Command) => {
      const options: BackupOptions = command.optsWithGlobals();
      await atTerminal(options, async (around) => await performBackup(archives, options, around));
    });
  addSnapshotOptions(command);
  addTreeOptions(command);
}

/** Makes a snapshot, and tells what it is: for the command, and for an agent that was ordered to. @throws what the command does. */
export async function performBackup(
  texts: readonly string[],
  options: BackupOptions,
  around: Surroundings,
): Promise<void> {
  const group = parseGroup(options.group);
  const archives = parseArchives(texts);
  const time = options.time === undefined ? undefined : parseTime(options.time);
  const changeMap = options.changedSince === undefined ? undefined : await readChangeMap(options.changedSince);
  if (changeMap !== undefined) parseSnapshotRef(changeMap.base);
  const tree = treeOptions(options);
  await makeSnapshot(options, around, group, async (parts, pool, openSession) => {
    const request = { ...parts, archives, changeMap, tree, time, signal: around.signal, warn: around.warn };
    return await runBackup(request, pool, openSession);
  });
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
