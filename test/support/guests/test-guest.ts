// A guest that is ready some five seconds after its start under emulation: Debian's kernel and one program of ours (init/), no root file
// system. Built once into .cache/guests, by whoever comes first; two processes may build at the same time.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, reasonForTools } from '../power-cut/scratch.ts';
import { debianKernel, modulesInOrder, renameUnlessThere } from './debian-kernel.ts';
import { makeInitrd } from './initrd.ts';

const SOURCES = fileURLToPath(new URL('init/', import.meta.url));
const CACHE = fileURLToPath(new URL('../../../.cache/guests/', import.meta.url));
const MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_scsi',
  'sd_mod',
  'virtio_console',
  'virtio_net',
  'virtio_balloon',
  'button',
  'evdev',
];

export interface TestGuest {
  readonly kernel: string;
  readonly initrd: string;
  /** What the kernel's command line needs; `hf.NAME=VALUE` may follow. */
  readonly append: string;
}

const APPEND = 'console=ttyS0 quiet loglevel=3 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on';

let prepared: Promise<TestGuest> | undefined;

/** The guest's kernel and initrd. @throws Error with the reason when it cannot be built here: no compiler, no network. */
export function prepareTestGuest(): Promise<TestGuest> {
  prepared ??= new Promise((resolve) => resolve(build()));
  return prepared;
}

/** Why tests with the guest cannot run here, or false: the `skip` option of node:test. */
export async function reasonToSkipGuest(...tools: string[]): Promise<string | false> {
  const missing = reasonForTools('qemu-system-x86_64', 'qemu-img', ...tools);
  if (missing) return missing;
  try {
    await prepareTestGuest();
    return false;
  } catch (error) {
    return `the test guest cannot be built: ${wordsOf(error)}`;
  }
}

/** The program's own words, in one line. */
function wordsOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return `${stderr || message}`.trim().split('\n').slice(-2).join('; ');
}

function build(): TestGuest {
  mkdirSync(CACHE, { recursive: true });
  const sources = readdirSync(SOURCES).sort();
  const hash = createHash('sha256').update(`${MODULES}`);
  for (const path of [...sources.map((name) => join(SOURCES, name)), fileURLToPath(import.meta.url)])
    hash.update(readFileSync(path));
  const kernel = debianKernel(CACHE);
  const folder = join(CACHE, `test-guest-${hash.update(kernel.version).digest('hex').slice(0, 12)}`);
  const initrd = join(folder, 'initrd');
  if (!existsSync(initrd)) {
    const work = mkdtempSync(join(CACHE, 'build-'));
    try {
      const programs = sources.filter((name) => name.endsWith('.c')).map((name) => join(SOURCES, name));
      const init = join(work, 'init');
      command('gcc', ['-static', '-Os', '-s', '-pthread', '-Wall', '-Wextra', '-o', init, ...programs]);
      const modules = modulesInOrder(kernel, MODULES).map((source, place) => ({
        name: `modules/${String(place).padStart(2, '0')}-${basename(source)}`,
        source,
        mode: 0o644,
      }));
      const content = makeInitrd(['dev', 'modules'], [{ name: 'init', source: init, mode: 0o755 }, ...modules]);
      const made = join(work, 'made');
      mkdirSync(made);
      writeFileSync(join(made, 'initrd'), content);
      renameUnlessThere(made, folder);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return { kernel: kernel.vmlinuz, initrd, append: APPEND };
}
