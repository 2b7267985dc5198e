// A scratch directory that may hold mounts, loop devices and daemons, and that can always be taken down again: by its
// owner, at the end of the owner's process, or by the next owner when the process was killed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'hfpc-';
const TOOL_PACKAGES: Readonly<Record<string, string>> = {
  'qemu-storage-daemon': 'qemu-system-common',
  nbdfuse: 'libnbd-bin',
  fusermount3: 'fuse3',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.btrfs': 'btrfs-progs',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-system-x86_64': 'qemu-system-x86',
  losetup: 'mount',
  mount: 'mount',
  gcc: 'gcc',
};
const SEARCHED = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** Why a test that needs root and these programs cannot run here, or false: the `skip` option of node:test. */
export function reasonToSkip(...tools: string[]): string | false {
  if (process.getuid?.() !== 0) return 'needs root for loop devices and mounts';
  if (!existsSync('/dev/loop-control')) return 'needs loop devices, /dev/loop-control is missing';
  if (tools.includes('nbdfuse') && !existsSync('/dev/fuse')) return 'needs /dev/fuse';
  return reasonForTools(...tools);
}

/** As `reasonToSkip`, for tests that do not need root. */
export function reasonForTools(...tools: string[]): string | false {
  const missing = tools.filter((tool) => !SEARCHED.some((folder) => existsSync(join(folder, tool))));
  if (missing.length === 0) return false;
  const packages = [...new Set(missing.map((tool) => TOOL_PACKAGES[tool] ?? tool))];
  return `not installed: ${missing.join(' ')} (apt-get install ${packages.join(' ')})`;
}

/** Runs one program to its end; its stderr is part of the error. Synchronous, so that it also works while a process exits. */
export function command(program: string, args: readonly string[], timeoutMs = 60_000): string {
  const env = { ...process.env, LC_ALL: 'C', PATH: SEARCHED.join(':') };
  return execFileSync(program, args, { encoding: 'utf8', timeout: timeoutMs, stdio: ['ignore', 'pipe', 'pipe'], env });
}

/** Waits for something that another process or the kernel does. */
export function waitUntil(what: string, ready: () => boolean, timeoutMs = 10_000): void {
  const deadline = Date.now() + timeoutMs;
  while (!ready()) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
  }
}

/** A process that still runs; one that only waits to be collected does not count. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Unmounts; while somebody still has files open there it tries for `patienceMs`, then names the holders. */
export function unmount(path: string, patienceMs = 5000): void {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    try {
      command('umount', [path]);
      return;
    } catch (error) {
      const words = String((error as { stderr?: unknown }).stderr ?? error);
      if (!words.includes('busy')) throw error;
      if (Date.now() > deadline)
        throw new Error(`${path} is still in use by ${holders(path).join(', ') || 'somebody'}`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
  }
}

export class Scratch {
  readonly path: string;
  readonly #atExit = () => this.dispose();
  #disposed = false;

  private constructor(path: string) {
    this.path = path;
    process.once('exit', this.#atExit);
  }

  /** In memory (/dev/shm) where `expectedBytes` fit, else in the temporary directory. */
  static create(expectedBytes: number, parent = roomyParent(expectedBytes)): Scratch {
    takeDownAbandoned();
    return new Scratch(mkdtempSync(join(parent, `${PREFIX}${process.pid}-`)));
  }

  /** Unmounts, detaches, ends daemons by their pid files and removes the directory. Never throws for what is gone already. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    process.removeListener('exit', this.#atExit);
    takeDown(this.path);
  }
}

/** What the scratch directories of a process left behind: mounts, loop devices, processes, directories. Empty when all is well. */
export function leftovers(pid = process.pid): string[] {
  const mine = `/${PREFIX}${pid}-`;
  return [
    ...mounts()
      .filter((mount) => mount.path.includes(mine))
      .map((mount) => `mount ${mount.path}`),
    ...loops()
      .filter((loop) => loop.file.includes(mine))
      .map((loop) => `loop device ${loop.device} on ${loop.file}`),
    ...processes()
      .filter((each) => each.line.includes(mine))
      .map((each) => `process ${each.pid} ${each.line}`),
    ...parents()
      .flatMap((parent) => scratchesIn(parent))
      .filter((path) => path.includes(mine)),
  ];
}

/** Where scratch of this size goes: memory when it has the room, since a sync of a disk costs many milliseconds. */
export function roomyParent(expectedBytes: number): string {
  if (!existsSync('/dev/shm')) return tmpdir();
  const { bavail, bsize } = statfsSync('/dev/shm');
  const available = Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0) * 1024;
  return Math.min(bavail * bsize, available) > expectedBytes ? '/dev/shm' : tmpdir();
}

const parents = () => [...new Set(['/dev/shm', tmpdir()])].filter((path) => existsSync(path));
const scratchesIn = (parent: string) =>
  readdirSync(parent)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(parent, name));

function takeDownAbandoned(): void {
  for (const path of parents().flatMap((parent) => scratchesIn(parent))) {
    const owner = Number(new RegExp(`/${PREFIX}(\\d+)-`).exec(path)?.[1]);
    if (owner > 0 && !existsSync(`/proc/${owner}`)) takeDown(path);
  }
}

/** The order matters: what is mounted on a device, the device, what the device's file lives on, its server. */
function takeDown(path: string): void {
  const below = (other: string) => other.startsWith(`${path}/`);
  const mounted = mounts()
    .filter((mount) => below(mount.path))
    .reverse();
  for (const mount of mounted.filter((each) => !each.type.startsWith('fuse'))) {
    quietly(
      () => unmount(mount.path, 2000),
      () => command('umount', ['-l', mount.path]),
    );
  }
  for (const loop of loops().filter((each) => below(each.file))) {
    quietly(() => command('losetup', ['-d', loop.device]));
    quietly(() =>
      waitUntil('detached', () => !existsSync(`/sys/block/${loop.device.slice(5)}/loop/backing_file`), 2000),
    );
  }
  for (const mount of mounted.filter((each) => each.type.startsWith('fuse'))) {
    quietly(
      () => command('fusermount3', ['-u', mount.path]),
      () => command('umount', ['-l', mount.path]),
    );
  }
  for (const name of existsSync(path) ? readdirSync(path).filter((each) => each.endsWith('.pid')) : []) {
    quietly(() => endDaemon(path, Number(readFileSync(join(path, name), 'latin1'))));
  }
  if (mounts().some((mount) => below(mount.path))) return;
  rmSync(path, { recursive: true, force: true });
}

/** Ends the process of a pid file, only if its command line names the directory: numbers are used again. */
function endDaemon(path: string, pid: number): void {
  const ours = () => processes().some((each) => each.pid === pid && each.line.includes(path));
  if (!ours()) return;
  process.kill(pid, 'SIGTERM');
  quietly(
    () => waitUntil(`end of ${pid}`, () => !isRunning(pid), 5000),
    () => process.kill(pid, 'SIGKILL'),
  );
}

function quietly(...attempts: (() => unknown)[]): void {
  for (const attempt of attempts) {
    try {
      attempt();
      return;
    } catch {
      // The next attempt, or nothing more that can be done.
    }
  }
}

function mounts(): { path: string; type: string }[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n');
  return lines.map((line) => ({ path: line.split(' ')[4]!, type: line.split(' - ')[1]!.split(' ')[0]! }));
}

function loops(): { device: string; file: string }[] {
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .flatMap((name) => {
      const file = textOf(`/sys/block/${name}/loop/backing_file`).trim();
      return file === '' ? [] : [{ device: `/dev/${name}`, file }];
    });
}

function processes(): { pid: number; line: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), line: textOf(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim() }));
}

function holders(path: string): string[] {
  const uses = (pid: number) => {
    try {
      const open = readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`);
      return [`/proc/${pid}/cwd`, ...open].some((link) => linkOf(link).startsWith(path));
    } catch {
      return false;
    }
  };
  const self = { pid: process.pid, line: 'this test itself' };
  return [self, ...processes()].filter((each) => uses(each.pid)).map((each) => `${each.pid} (${each.line})`);
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
