// Chooses real files of this machine for the ext4 image: whole directories in a seeded order, until the image is as full as wanted.
import { createHash } from 'node:crypto';
import { type Dirent, lstatSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface RealFile {
  path: string;
  sizeBytes: number;
}

/** What a Debian system consists of; /lib is /usr/lib there. The last is the project's own packages, taken only when the rest is too little. */
export const SYSTEM_ROOTS = [
  '/usr/bin',
  '/usr/include',
  '/usr/lib',
  '/usr/libexec',
  '/usr/sbin',
  '/usr/share',
  '/lib',
  'node_modules',
];

const WORLD_READABLE = 0o004;
// The characters that need no quoting in a debugfs script.
const PLAIN_PATH = /^[\w./+@:,~%=-]+$/;

/** World-readable plain files below `roots`, at most `budgetBytes` (in 4 KiB blocks) together, none above a 32nd of the budget. */
export function chooseFiles(roots: readonly string[], budgetBytes: number, seed: string): RealFile[] {
  const byDirectory = new Map<string, RealFile[]>();
  for (const file of roots.flatMap((root) => listFiles(root))) {
    if (file.sizeBytes > budgetBytes / 32) continue;
    const directory = dirname(file.path);
    const files = byDirectory.get(directory) ?? [];
    files.push(file);
    byDirectory.set(directory, files);
  }
  const order = (text: string): string =>
    `${text.startsWith('/') ? 0 : 1}${createHash('sha256').update(`${seed} ${text}`).digest('hex')}`;
  const directories = [...byDirectory.keys()].map((name) => ({ name, key: order(name) }));
  directories.sort((a, b) => (a.key < b.key ? -1 : 1));
  const chosen: RealFile[] = [];
  let used = 0;
  for (const { name } of directories) {
    for (const file of byDirectory.get(name)!) {
      const blocks = Math.ceil(file.sizeBytes / 4096) * 4096;
      if (used + blocks > budgetBytes) return chosen;
      used += blocks;
      chosen.push(file);
    }
  }
  return chosen;
}

/** Every usable file below a directory, in name order; what cannot be read is left out. */
function listFiles(directory: string): RealFile[] {
  const found: RealFile[] = [];
  for (const entry of entriesOf(directory)) {
    const path = join(directory, entry.name);
    if (!PLAIN_PATH.test(path)) continue;
    if (entry.isDirectory()) {
      found.push(...listFiles(path));
    } else if (entry.isFile()) {
      const { size, mode } = lstatSync(path);
      if (size > 0 && (mode & WORLD_READABLE) !== 0) found.push({ path, sizeBytes: size });
    }
  }
  return found;
}

function entriesOf(directory: string): Dirent[] {
  try {
    if (lstatSync(directory).isSymbolicLink()) return [];
    return readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    return [];
  }
}
