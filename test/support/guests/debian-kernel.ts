// The kernel of the test guest: Debian's for clouds, downloaded and unpacked, not installed; and its modules in an order in which they
// load.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { command } from '../power-cut/scratch.ts';

const META_PACKAGE = 'linux-image-cloud-amd64';
const DOWNLOAD_MS = 180_000;

export interface DebianKernel {
  /** As `uname -r` tells it. */
  readonly version: string;
  readonly vmlinuz: string;
  readonly modules: string;
}

/** From the cache, or else from the package mirror that apt knows. @throws Error that says what is missing. */
export function debianKernel(cache: string): DebianKernel {
  return cached(cache) ?? download(cache);
}

/** Paths of the modules and of those they need, each behind what it needs. @throws Error for a name that the kernel has not. */
export function modulesInOrder(kernel: DebianKernel, wanted: readonly string[]): string[] {
  const names = (readdirSync(kernel.modules, { recursive: true }) as string[]).filter((name) => name.endsWith('.ko'));
  const paths = new Map(names.map((name) => [plain(basename(name, '.ko')), join(kernel.modules, name)]));
  const builtIn = readFileSync(join(kernel.modules, 'modules.builtin'), 'latin1').split('\n');
  const present = new Set(builtIn.map((line) => plain(basename(line, '.ko'))));
  const ordered: string[] = [];
  const take = (name: string): void => {
    const path = paths.get(name);
    if (present.has(name) || (path !== undefined && ordered.includes(path))) return;
    if (path === undefined) throw new Error(`the kernel ${kernel.version} has no module ${name}`);
    for (const needed of neededBy(path)) take(needed);
    ordered.push(path);
  };
  for (const name of wanted) take(plain(name));
  return ordered;
}

function cached(cache: string): DebianKernel | undefined {
  const folder = readdirSync(cache)
    .filter((name) => name.startsWith('kernel-'))
    .sort()
    .at(-1);
  if (folder === undefined) return undefined;
  const path = join(cache, folder);
  return { version: folder.slice('kernel-'.length), vmlinuz: join(path, 'vmlinuz'), modules: join(path, 'modules') };
}

function download(cache: string): DebianKernel {
  const work = mkdtempSync(join(cache, 'download-'));
  try {
    const name = packageName(cache);
    inFolder(work, ['apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', name]);
    const archive = readdirSync(work).find((each) => each.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
    command('dpkg-deb', ['-x', join(work, archive), join(work, 'tree')], DOWNLOAD_MS);
    const version = name.slice('linux-image-'.length);
    const made = join(work, `kernel-${version}`);
    mkdirSync(made);
    renameSync(join(work, 'tree/boot', `vmlinuz-${version}`), join(made, 'vmlinuz'));
    renameSync(join(work, 'tree/lib/modules', version), join(made, 'modules'));
    renameUnlessThere(made, join(cache, `kernel-${version}`));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return cached(cache)!;
}

/** Renames a folder into place; when another process was faster, its folder stays. */
export function renameUnlessThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** The package with a version in its name. Lists of packages may be missing or name what the mirror has no more. */
function packageName(cache: string): string {
  if (process.getuid?.() === 0) {
    try {
      // Two at once would refuse each other.
      command('flock', [join(cache, 'apt.lock'), 'apt-get', 'update', '-qq'], DOWNLOAD_MS);
    } catch {
      // What the lists say so far may do; the download tells.
    }
  }
  const name = /Depends: (linux-image-[\w.+-]+)/.exec(command('apt-cache', ['depends', META_PACKAGE]))?.[1];
  if (name === undefined) throw new Error(`${META_PACKAGE} names no kernel`);
  return name;
}

function inFolder(folder: string, args: readonly string[]): void {
  command('env', ['-C', folder, ...args], DOWNLOAD_MS);
}

function neededBy(path: string): string[] {
  const text = readFileSync(path, 'latin1');
  const at = text.indexOf('\0depends=') + '\0depends='.length;
  return text
    .slice(at, text.indexOf('\0', at))
    .split(',')
    .filter((name) => name !== '')
    .map(plain);
}

/** Module names are written with - or _; they mean the same. */
const plain = (name: string): string => name.replaceAll('-', '_');
