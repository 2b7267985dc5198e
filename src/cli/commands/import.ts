// holdfast import vzdump-qemu-101-2026_01_31-02_00_00.vma.zst ...
import type { Command } from 'commander';
import { importVma } from '../../agent/vma/import-vma.ts';
import { addKeyOptions } from '../client-key.ts';
import { addSnapshotOptions, makeSnapshot, type SnapshotOptions } from '../make-snapshot.ts';
import { markSnapshot } from '../mark-snapshot.ts';
import { namespaceOf } from '../repository.ts';
import { atTerminal, type Surroundings } from '../surroundings.ts';
import { type VzdumpArchive, vzdumpArchives } from '../vzdump-archive.ts';

/** On a disk, where /tmp may be memory. */
const SPILL_DIRECTORY = '/var/tmp';

export interface ImportOptions extends SnapshotOptions {
  readonly group?: string;
  readonly time?: string;
}

export function addImportCommand(program: Command): void {
  const command = addKeyOptions(program.command('import'))
    .description('take in archives of virtual machines that vzdump made, each as a snapshot')
    .argument(
      '<ARCHIVE...>',
      'vzdump-qemu-101-2026_01_31-02_00_00.vma, .vma.zst, .vma.gz, .vma.lzo; - for standard input',
    )
    .option('--group <TYPE/ID>', 'default: what the file name says, such as vm/101')
    .option(
      '--time <TIME>',
      'label of the snapshot, RFC 3339 or Unix seconds; default: what the file name says, in local time',
    )
    .action(async (paths: string[], _, command: Command) => {
      const options: ImportOptions = command.optsWithGlobals();
      await atTerminal(options, async (around) => await performImport(paths, options, around));
    });
  addSnapshotOptions(command);
}

/** Makes a snapshot of each archive, the oldest first, and tells of each. The first that fails ends it. */
async function performImport(paths: readonly string[], options: ImportOptions, around: Surroundings): Promise<void> {
  const archives = await vzdumpArchives(paths, options);
  for (const archive of archives) await importArchive(archive, options, around);
}

async function importArchive(
  { path, group, time, isLocalTime, ...marks }: VzdumpArchive,
  options: ImportOptions,
  around: Surroundings,
): Promise<void> {
  let madeAt = time;
  await makeSnapshot(options, around, group, async (parts, pool, openSession) => {
    const request = {
      ...parts,
      source: path === '-' ? parts.stdin : path,
      time,
      isLocalTime,
      spillDirectory: around.env.TMPDIR || SPILL_DIRECTORY,
      signal: around.signal,
      warn: around.warn,
    };
    const done = await importVma(request, pool, openSession);
    madeAt = done.committed.name.time;
    return done;
  });
  await markSnapshot({ ns: namespaceOf(options), group, time: madeAt }, marks, options, around);
}
