// This machine once more, with systemd as PID 1, in namespaces of its own (boot.sh): for what only a real service manager shows.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const BOOT = fileURLToPath(new URL('./boot.sh', import.meta.url));
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const START_MS = 30_000;
const COMMAND_MS = 60_000;
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  /** With stdout before it. */
  readonly words: string;
}

/** Why it cannot be had here; false where it can. */
export function skipMachine(): string | false {
  if (process.getuid?.() !== 0) return 'namespaces with mounts need root';
  for (const each of ['/lib/systemd/systemd', '/usr/bin/nsenter', '/usr/bin/setpriv'])
    if (!existsSync(each)) return `${each} is not installed: apt-get install systemd util-linux`;
  if (!existsSync('/sys/fs/cgroup/cgroup.procs') && !existsSync('/sys/fs/cgroup/unified/cgroup.procs'))
    return 'there are no control groups of version 2';
  const probe =
    'cd /mnt; mount -t tmpfs none .; cd /mnt; mkdir up over new; mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=over new';
  const kinds = ['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup'];
  const { status, stderr } = spawnSync('unshare', [
    ...kinds,
    '--fork',
    '--propagation',
    'private',
    'bash',
    '-ec',
    probe,
  ]);
  return status === 0 ? false : `no namespaces, or no overlay in them: ${String(stderr).trim()}`;
}

export class Machine {
  /** Is `/backup` there, and a real file system. */
  readonly backup: string;
  readonly #work: string;
  readonly #boot: ChildProcess;
  #init = 0;
  #words = '';

  private constructor() {
    this.#work = mkdtempSync(join(tmpdir(), 'hft-systemd-'));
    this.backup = join(this.#work, 'backup');
    mkdirSync(this.backup);
    this.#boot = spawn(BOOT, [this.#work, PROJECT, this.backup, process.execPath], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#boot.stdout, this.#boot.stderr])
      stream?.on('data', (data) => {
        this.#words = `${this.#words}${data}`.slice(-4000);
      });
  }

  /** The project is in `/usr/lib/holdfast` there, its program `holdfast`, its units are not installed yet. */
  static async start(): Promise<Machine> {
    const machine = new Machine();
    const endMs = performance.now() + START_MS;
    while (!machine.#findInit()) {
      if (performance.now() > endMs || machine.#boot.exitCode !== null) {
        await machine.end();
        assert.fail(`systemd did not start: ${machine.#words}`);
      }
      await sleep(50);
    }
    while ((await machine.try('systemctl', 'is-system-running')).stdout.trim() !== 'running') {
      if (performance.now() > endMs) {
        const { words } = await machine.try('systemctl', 'list-units', '--failed', '--plain');
        await machine.end();
        assert.fail(`systemd did not come up: ${words} ${machine.#words}`);
      }
      await sleep(100);
    }
    return machine;
  }

  /** Runs a program there, whatever its exit code. */
  async try(program: string, ...args: string[]): Promise<Ran> {
    return await this.#run([program, ...args]);
  }

  /** Returns what it printed. Fails when its exit code is another than 0. */
  async run(program: string, ...args: string[]): Promise<string> {
    const { code, stdout, words } = await this.try(program, ...args);
    assert.equal(code, 0, `${program} ${args.join(' ')}: ${words}`);
    return stdout.trim();
  }

  async shell(script: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, stdout, words } = await this.#run(['bash', '-ec', script], env);
    assert.equal(code, 0, `${script}: ${words}`);
    return stdout.trim();
  }

  /** A property of a unit, as systemd shows it. */
  async show(unit: string, property: string): Promise<string> {
    return await this.run('systemctl', 'show', '--value', '-p', property, unit);
  }

  /** What a unit has logged. */
  async journal(unit: string): Promise<string> {
    return await this.run('journalctl', '--no-pager', '-o', 'cat', '-u', unit);
  }

  /** Ends everything in it; nothing stays. */
  async end(): Promise<void> {
    if (this.#boot.exitCode === null) {
      const ended = once(this.#boot, 'exit');
      this.#boot.kill('SIGTERM');
      await ended;
    }
    rmSync(this.#work, { recursive: true, force: true });
  }

  async #run(command: string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const place = ['-t', String(this.#init), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w'];
    const names = { PATH, HOME: '/root', LC_ALL: 'C.UTF-8', NODE_NO_WARNINGS: '1', ...env };
    const set = Object.entries(names).map(([name, value]) => `${name}=${value}`);
    return await new Promise((resolve) => {
      const all = [...place, 'env', '-i', ...set, ...command];
      execFile('nsenter', all, { timeout: COMMAND_MS, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        resolve({ code, stdout, words: `${stdout}${stderr}` });
      });
    });
  }

  /** The only child of unshare, which is that of the script, once it is systemd. */
  #findInit(): boolean {
    const children = (pid: number): number[] => {
      try {
        const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
        return text === '' ? [] : text.split(' ').map(Number);
      } catch {
        return [];
      }
    };
    for (const pid of children(this.#boot.pid ?? 0).flatMap(children)) {
      if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'systemd') continue;
      this.#init = pid;
      return true;
    }
    return false;
  }
}
