// A repeatable ext4 image of real files. debugfs writes them in our order at a fixed time: mke2fs -d would take over the order of
// readdir and the change times of the source, so the image would differ from run to run.
import { spawnSync } from 'node:child_process';
import { dirname, posix, resolve } from 'node:path';
import { chooseFiles, type RealFile } from './file-tree.ts';

const FIXED_TIME_S = 1_767_225_600;
const FIXED_TIME_DEBUGFS = '20260101000000';
const UUID = '8d9c21f0-5c1f-4b0e-9f3b-6a1d6f0e2b54';
// Real files take this part of the image; inode tables, journal and directories come on top.
export const FILL_SHARE = 0.6;

export interface Ext4Facts {
  files: number;
  fileBytes: number;
}

/** Makes the image at `path` from files below `roots`. Needs no root and no mount. Throws when e2fsprogs is missing. */
export function makeExt4Image(path: string, sizeBytes: number, roots: readonly string[], seed: string): Ext4Facts {
  const files = chooseFiles(roots, sizeBytes * FILL_SHARE, seed);
  const options = `hash_seed=${UUID},lazy_itable_init=0,lazy_journal_init=0,nodiscard`;
  const format = ['-q', '-F', '-t', 'ext4', '-b', '4096', '-i', '8192', '-m', '0', '-U', UUID, '-E', options];
  runTool('mke2fs', [...format, path, `${sizeBytes / 1024}k`], '');
  const complaints = runTool('debugfs', ['-w', '-f', '-', path], debugfsScript(files))
    .split('\n')
    .filter((line) => line !== '' && !/^(debugfs[: ]|Allocated inode: |Setting current time to )/.test(line));
  if (complaints.length > 0) throw new Error(`debugfs could not fill ${path}: ${complaints.slice(0, 3).join('; ')}`);
  runTool('e2fsck', ['-f', '-n', path], '');
  return { files: files.length, fileBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0) };
}

function debugfsScript(files: readonly RealFile[]): string {
  const lines = [`set_current_time ${FIXED_TIME_DEBUGFS}`];
  const made = new Set(['/']);
  let current = '';
  for (const file of files) {
    const source = resolve(file.path);
    // A path of the project stands in the image as /srv/..., so that the image does not depend on where the checkout is.
    const target = file.path.startsWith('/') ? file.path : posix.join('/srv', file.path);
    const directory = dirname(target);
    if (directory !== current) {
      // debugfs takes a new top directory as relative to the current one.
      lines.push('cd /');
      for (const parent of parentsOf(directory)) {
        if (!made.has(parent)) lines.push(`mkdir ${parent}`);
        made.add(parent);
      }
      lines.push(`cd ${directory}`);
      current = directory;
    }
    lines.push(`write ${source} ${posix.basename(target)}`);
  }
  return `${lines.join('\n')}\n`;
}

function parentsOf(directory: string): string[] {
  const parts = directory.split('/').filter((part) => part !== '');
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
}

function runTool(name: string, args: string[], input: string): string {
  const env = {
    ...process.env,
    PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
    E2FSPROGS_FAKE_TIME: String(FIXED_TIME_S),
  };
  const result = spawnSync(name, args, { input, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error)
    throw new Error(`${name} did not start; as root: apt-get install -y e2fsprogs`, { cause: result.error });
  if (result.status !== 0) throw new Error(`${name} failed on ${args.at(-1)}: ${result.stderr.slice(-500)}`);
  return result.stdout + result.stderr;
}
