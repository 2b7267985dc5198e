// A million small files: the run that finds nothing changed, and one file brought back out of them.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Contender, extra, race } from '../contender.ts';
import { backupTree, holdfastMissing, PROGRAM, readBackup, restoreTree } from '../holdfast.ts';
import type { Command } from '../measure.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore, runPlain } from '../stores.ts';
import { requireSame } from '../workspace.ts';
import { LONE_FILE_BYTES } from './small-files.ts';

const HOME = 'many';

export async function manyFiles({ trees, workspace, runs }: Context): Promise<Answer> {
  const tree = trees.smallFiles();
  const repository = workspace.path(HOME, 'repository');
  const ensure = (): void => {
    if (existsSync(repository)) return;
    runPlain(backupTree(emptyStore(workspace, HOME), tree.path));
  };
  const first: Contender = {
    name: `${tree.files} files, first run`,
    missing: holdfastMissing(),
    before: () => {
      emptyStore(workspace, HOME);
    },
    reads: () => [tree.path],
    commands: () => [backupTree(repository, tree.path)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
  const again: Contender = {
    name: `${tree.files} files, nothing changed`,
    missing: holdfastMissing(),
    before: ensure,
    commands: () => [backupTree(repository, tree.path)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
  const target = 'lone';
  const readPath = workspace.path('lone-read');
  const lone: Contender = {
    name: 'one file of 10 KiB out of them',
    missing: holdfastMissing(),
    before: () => {
      ensure();
      workspace.fresh(target);
    },
    commands: () => [countingReads(restoreTree(repository, workspace.path(target), tree.loneFile), readPath)],
    after: () => {
      const restored = restoredFile(workspace.path(target), tree.loneFile);
      requireSame(join(tree.path, tree.loneFile), restored);
      if (statSync(restored).size !== LONE_FILE_BYTES) throw new Error(`${restored} is not 10 KiB long`);
      return { storeReadBytes: readBytes(readPath) - startReadBytes(readPath) };
    },
  };
  const [firstRow] = await race([first], 1);
  const [againRow] = await race([again], runs);
  const [loneRow] = await race([lone], runs);
  return {
    rows: [firstRow, againRow, loneRow],
    bars: [
      atMost('a million files, nothing changed: wall', againRow.median?.wallS ?? null, 12, 's'),
      atMost('a million files, nothing changed: peak RSS', againRow.median?.peakRssMiB ?? null, 400, 'MiB'),
      atMost('a million files, nothing changed: file data read', extra(againRow, 'bytesRead'), 0, 'bytes'),
      atMost('one file out of a million: wall', loneRow.median?.wallS ?? null, 1, 's'),
      atMost('one file out of a million: read', extra(loneRow, 'storeReadBytes'), 4 * 2 ** 20, 'bytes'),
    ],
    facts: { files: tree.files, directories: tree.directories, fileBytes: tree.bytes },
  };
}

/** A file restored by its path lies in the target under its name, or under its whole path. */
function restoredFile(target: string, path: string): string {
  const whole = join(target, path);
  return existsSync(whole) ? whole : join(target, path.split('/').at(-1) as string);
}

/** Runs the command below a shell, which notes what it and its children read through system calls (rchar of proc(5)). */
function countingReads(command: Command, path: string): Command {
  return { ...command, argv: ['sh', '-c', `"$@" && cat /proc/$$/io > ${path}`, 'sh', ...command.argv] };
}

function readBytes(path: string): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1]);
}

/** What a start reads without any store: the program and Node's own files. */
function startReadBytes(path: string): number {
  runPlain(countingReads({ argv: [process.execPath, PROGRAM, 'restore', '--help'] }, `${path}.start`));
  return readBytes(`${path}.start`);
}
