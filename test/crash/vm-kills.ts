// Kill -9 of `holdfast vm backup` while its guest writes, and what must be so after it: the guest goes on, the next backup is of one instant and has every
// byte of the disks, and nothing of the killed one is left.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackupResult } from '../../src/agent/backup/run-backup.ts';
import { endQemu } from '../../src/guests/qemu/qemu-process.ts';
import { queryBlockNodes } from '../../src/guests/qmp/qmp-types.ts';
import { clearConfigLock } from '../../src/guests/vm/config-lock.ts';
import { withMonitor } from '../../src/guests/vm/machine-state.ts';
import { startVm } from '../../src/guests/vm/start.ts';
import { stopVm } from '../../src/guests/vm/stop.ts';
import type { GuestId } from '../../src/schema/guest-names.ts';
import { VmBackups } from '../agent/qemu/vm-backups.ts';
import { PROGRAM } from '../support/crash/cli.ts';
import type { Finding, PathReport } from '../support/crash/plan.ts';
import type { GuestPort } from '../support/guests/guest-port.ts';
import { readCounter, surveyBlocks } from '../support/guests/test-blocks.ts';
import { KeptReport, type NodeQemu } from '../support/guests/vm-node.ts';
import { randomNumbers } from '../support/power-cut/crash-points.ts';
import { command } from '../support/power-cut/scratch.ts';
import { OpenStore } from '../support/store.ts';

const MIB = 1 << 20;
const DISK_MIB = 32;
/** Counters and load on the first two; the third is mounted, so that there is something to freeze. */
const WRITTEN = ['scsi0', 'scsi1'];
export const KEYS = [...WRITTEN, 'scsi2'];
/** A backup of these disks takes seconds. */
const TIMEOUT_MS = 60_000;
/** Much less than a write may wait for its fleece, and enough for a host with other work. */
const GOES_ON_MS = 15_000;
const POLL_MS = 2;
/** Slow enough that random times fall into the reading, too. */
const LIMIT_KIB = 24 * 1024;

/** `full` throws away what is known of the last backup first. */
export interface VmKillPoint {
  readonly name: string;
  readonly isFull: boolean;
  /** Resolves when it is time. */
  readonly come: (lab: VmKillLab, ended: () => boolean) => Promise<void>;
}

interface RunningBackup {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; words: string }>;
}

export class VmKillLab {
  readonly vms: VmBackups;
  readonly id: GuestId;
  #port: GuestPort | undefined;
  #diskA = '';
  /** How long a backup takes, of which kind. */
  #fullMs = 0;
  #nextMs = 0;

  private constructor(vms: VmBackups, id: GuestId) {
    this.vms = vms;
    this.id = id;
  }

  /** `number` is its own on the host: control groups are named after it. */
  static async create(number: number, qemu?: NodeQemu): Promise<VmKillLab> {
    const vms = await VmBackups.create(qemu === undefined ? {} : { qemu });
    try {
      const disk = (format: 'raw' | 'qcow2', serial: string) => ({
        format,
        sizeMiB: DISK_MIB,
        options: `,serial=${serial}`,
      });
      const disks = { scsi0: disk('qcow2', 'scsi0'), scsi1: disk('raw', 'scsi1'), scsi2: disk('raw', 'scsi2') };
      const lab = new VmKillLab(vms, await vms.addVm(number, { disks }));
      const { config } = await vms.node.node.configs.read(lab.id);
      const volume = (config.values.get('scsi2') as string).split(',')[0] as string;
      command('mkfs.ext4', ['-q', '-F', (await vms.node.node.storages.volume(volume)).path]);
      await lab.#start();
      return lab;
    } catch (error) {
      await vms.remove();
      throw error;
    }
  }

  get port(): GuestPort {
    return this.#port as GuestPort;
  }

  async #start(): Promise<void> {
    await startVm(this.vms.node.node, this.id, {}, new KeptReport());
    this.#port = await this.vms.node.port();
    const { disks } = await this.port.ask('disks');
    const nameOf = (serial: string): string => disks.find((disk: { serial: string }) => disk.serial === serial).name;
    const [a, b, c] = KEYS.map(nameOf);
    this.#diskA = a as string;
    await this.overwrite(3);
    await this.port.ask(`mount ${c}`);
    await this.port.ask(`counter START ${a} ${b}`);
    await this.port.ask(`load START ${a} ${16 * MIB} ${8 * MIB} 200 5`);
  }

  /** A quarter of disk A. */
  async overwrite(seed: number): Promise<void> {
    await this.port.ask(`write ${this.#diskA} ${4 * MIB} ${8 * MIB} ${seed}`);
  }

  /** Whole backups, so that times are spread over what they take here. */
  async measure(): Promise<void> {
    for (const isFull of [true, false]) {
      const started = performance.now();
      const { ended } = await this.startBackup(isFull);
      const { code, words } = await ended;
      assert.equal(code, 0, words);
      if (isFull) this.#fullMs = performance.now() - started;
      else this.#nextMs = performance.now() - started;
    }
  }

  get durations(): string {
    return `a full backup takes ${Math.round(this.#fullMs)} ms, the next ${Math.round(this.#nextMs)} ms`;
  }

  /** The command as a user runs it. It has the store for itself until it has ended. */
  async startBackup(isFull: boolean): Promise<RunningBackup> {
    const { node, root } = this.vms;
    await this.vms.store.close();
    if (isFull) rmSync(this.#records, { force: true });
    const places = ['--node-dir', node.path, '--repository', root];
    const args = [PROGRAM, 'vm', 'backup', String(this.id), ...places, '--bwlimit', String(LIMIT_KIB)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let words = '';
    child.stderr?.on('data', (data: Buffer) => {
      words += data.toString();
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
    const ended = once(child, 'close').then(async ([code]) => {
      clearTimeout(timer);
      this.vms.store = await OpenStore.open(root);
      return { code: code as number | null, words };
    });
    return { child, ended };
  }

  /** `count` points: those that are placed exactly, and random times over the whole run. The same for the same seed. */
  points(count: number, seed: number): VmKillPoint[] {
    const random = randomNumbers(seed);
    const exact = [FILTERS, FROZEN, RECORDED, UNSWAPPED];
    return Array.from({ length: count }, (_, place) => {
      const at = exact[place];
      const isFull = place % 2 === 1;
      if (at !== undefined) return { ...at, isFull };
      const share = (place - exact.length + random()) / Math.max(1, count - exact.length);
      const afterMs = Math.round(share * (isFull ? this.#fullMs : this.#nextMs));
      return { name: `${afterMs} ms after the start`, isFull, come: async () => await sleep(afterMs) };
    });
  }

  /** What the killed backup left, in words. @throws AssertionError for what must not be so. */
  async kill(point: VmKillPoint): Promise<string> {
    const { child, ended } = await this.startBackup(point.isFull);
    let isOver = false;
    const note = (): void => {
      isOver = true;
    };
    ended.then(note, note);
    await point.come(this, () => isOver);
    child.kill('SIGKILL');
    const { code } = await ended;
    await this.assertDaemonGone();
    const left = await this.leftovers();
    await this.assertGoesOn();
    const next = await this.vms.backup(this.id);
    await this.assertOneInstant(next);
    await this.vms.assertTidy(this.id, KEYS);
    this.#assertTidyDirectories();
    await this.assertThawed();
    await this.assertEveryByte();
    return code === 0 ? 'after its end' : left;
  }

  /** The guest's counters rise, and none of its writes failed. */
  async assertGoesOn(): Promise<void> {
    const before = await this.port.ask('stats');
    let now = before;
    for (
      const deadline = performance.now() + GOES_ON_MS;
      now.counterB <= before.counterB || now.load.writes <= before.load.writes;
    ) {
      assert.ok(performance.now() < deadline, `the guest does not go on writing: ${JSON.stringify(now)}`);
      await sleep(50);
      now = await this.port.ask('stats');
    }
    assert.deepEqual([now.failed, now.load.failed], [0, 0], 'no write of the guest failed');
  }

  /** The guest writes its counter to A and then to B. */
  async assertOneInstant(result: BackupResult): Promise<void> {
    const [diskA, diskB] = [await this.vms.restored(result, 'scsi0'), await this.vms.restored(result, 'scsi1')];
    const [onA, onB] = [readCounter(diskA), readCounter(diskB)];
    assert.ok(onA > 0 && (onA === onB || onA === onB + 1), `${onA} on A, ${onB} on B`);
    const survey = surveyBlocks(diskA, 16 * MIB, 8 * MIB);
    assert.deepEqual([survey.torn, survey.foreign, survey.other], [[], [], []]);
    this.#dropRestored();
  }

  /** What a backup of the guest has while it stands still is what its disks have. */
  async assertEveryByte(): Promise<void> {
    const { node } = this.vms.node;
    await withMonitor(node, this.id, async (monitor) => await monitor.execute('stop'));
    const still = await this.vms.backup(this.id);
    for (const key of KEYS) {
      const [now, restored] = [await this.vms.node.rawCopy(this.id, key), await this.vms.restored(still, key)];
      assert.ok(readFileSync(now).equals(readFileSync(restored)), `${key} is not what the guest's disk is`);
    }
    await withMonitor(node, this.id, async (monitor) => await monitor.execute('cont'));
    this.#dropRestored();
  }

  async assertThawed(): Promise<void> {
    assert.equal(existsSync(this.vms.node.node.directory.run(this.id).frozenMarker), false, 'the marker is gone');
  }

  /** It ends with its parent: within the time that the kernel needs for it. */
  async assertDaemonGone(): Promise<void> {
    const run = this.vms.node.node.directory.run(this.id).path;
    for (let tries = 0; storageDaemons(run).length > 0; tries++) {
      assert.ok(tries < 100, "the fleece's daemon outlives the backup");
      await sleep(20);
    }
  }

  /** Of a backup, now. */
  async leftovers(): Promise<string> {
    const nodes = await this.backupNodes();
    const run = this.vms.node.node.directory.run(this.id);
    const { config } = await this.vms.node.node.configs.read(this.id);
    const parts = [
      nodes.length > 0 && `${nodes.length} nodes`,
      existsSync(run.frozenMarker) && 'marker of a freeze',
      config.values.get('lock') && 'lock',
    ];
    return parts.filter(Boolean).join(', ') || 'nothing';
  }

  /** By the control monitor, for the backup has the other. */
  async backupNodes(): Promise<string[]> {
    const nodes = await withMonitor(this.vms.node.node, this.id, async (monitor) => await queryBlockNodes(monitor));
    return nodes.map((node) => node.nodeName).filter((name) => !/^[fdt]-/.test(name));
  }

  get runPath(): string {
    return this.vms.node.node.directory.run(this.id).path;
  }

  get recordsText(): string {
    return existsSync(this.#records) ? readFileSync(this.#records, 'utf8') : '';
  }

  get #records(): string {
    return join(this.vms.node.node.directory.guestPath(this.id), 'bitmaps.json');
  }

  #assertTidyDirectories(): void {
    const names = readdirSync(this.runPath).filter((name) => /^(backup-|fleece|stopped|frozen|exports)/.test(name));
    assert.deepEqual(names, [], 'nothing is left in the run directory');
    const own = readdirSync(this.vms.node.node.directory.guestPath(this.id));
    assert.deepEqual(
      own.filter((name) => /fleece|tmp|partial/.test(name)),
      [],
      "nothing is left in the guest's directory",
    );
  }

  #dropRestored(): void {
    for (const name of readdirSync(this.vms.node.path))
      if (name.startsWith('restored-')) rmSync(join(this.vms.node.path, name));
  }

  /** The next point has a guest that nothing was done to. */
  async restart(): Promise<void> {
    this.#port?.close();
    const { node } = this.vms.node;
    await endQemu(node.directory.run(this.id), undefined, 2_000);
    await clearConfigLock(node, this.id);
    await this.#start();
  }

  /** Stopped and started again, as its owner does. */
  async powerCycle(): Promise<void> {
    this.#port?.close();
    await stopVm(this.vms.node.node, this.id, {}, new KeptReport());
    await this.#start();
  }

  async close(): Promise<void> {
    this.#port?.close();
    await this.vms.remove();
  }
}

type ExactPoint = Omit<VmKillPoint, 'isFull'>;

const until = async (ended: () => boolean, isSo: () => Promise<boolean> | boolean): Promise<void> => {
  while (!ended() && !(await isSo())) await sleep(POLL_MS);
};

const FILTERS: ExactPoint = {
  name: 'right after the filters are in',
  come: async (lab, ended) =>
    await until(ended, async () => (await lab.backupNodes()).some((name) => name.startsWith('cbw-'))),
};
const FROZEN: ExactPoint = {
  name: 'between freeze and thaw',
  come: async (lab, ended) => await until(ended, () => existsSync(join(lab.runPath, 'frozen'))),
};
const RECORDED: ExactPoint = {
  name: 'right after the commit',
  come: async (lab, ended) => {
    const before = lab.recordsText;
    await until(ended, () => lab.recordsText !== before);
  },
};
const UNSWAPPED: ExactPoint = {
  name: 'while it is taken apart',
  come: async (lab, ended) => {
    await FILTERS.come(lab, ended);
    await until(ended, async () => (await lab.backupNodes()).length < 4);
  },
};

/** As many kills as the plan says, each judged. */
export async function runVmKills(lab: VmKillLab, kills: number, seed: number): Promise<PathReport> {
  const path = 'vm backup';
  const findings: Finding[] = [];
  const lefts = new Map<string, number>();
  let passed = 0;
  await lab.measure();
  for (const point of lab.points(kills, seed)) {
    const kind = `${point.isFull ? 'full' : 'incremental'}, ${point.name}`;
    try {
      const left = await lab.kill(point);
      lefts.set(left, (lefts.get(left) ?? 0) + 1);
      passed++;
    } catch (error) {
      findings.push({ path, point: kind, seed, error: (error as Error).message });
      await lab.restart();
    }
  }
  const notes = `${lab.durations}; left by the kills: ${[...lefts].map(([what, times]) => `${what} ${times}`).join('; ')}`;
  return { path, passed, findings, notes };
}

/** Incrementals in a row under a writing guest: each of one instant, and at the end nothing is lost. */
export async function runVmIncrementals(lab: VmKillLab, rounds: number, seed: number): Promise<PathReport> {
  const path = 'vm incrementals';
  const findings: Finding[] = [];
  for (let round = 0; round < rounds; round++) {
    try {
      await lab.assertOneInstant(await lab.vms.backup(lab.id));
      if (round === rounds - 1) await lab.assertEveryByte();
      await lab.assertGoesOn();
    } catch (error) {
      findings.push({ path, point: `round ${round}`, seed, error: (error as Error).message });
    }
  }
  return { path, passed: rounds - findings.length, findings, notes: `${rounds} in a row` };
}

/** Pids of those of this guest. */
function storageDaemons(runPath: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return /^[^\0]*qemu-storage-daemon\0/.test(line) && line.includes(runPath);
      } catch {
        return false;
      }
    });
}
