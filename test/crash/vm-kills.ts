// Kill -9 of `holdfast vm backup` while its guest writes, and what must be so after it: the guest goes on, the next backup is of one instant and has every
// byte of the disks, and nothing of the killed one is left.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endQemu } from '../../src/guests/qemu/qemu-process.ts';
import { queryBlockNodes } from '../../src/guests/qmp/qmp-types.ts';
import { clearConfigLock } from '../../src/guests/vm/config-lock.ts';
import { lookAtMachine, withMonitor } from '../../src/guests/vm/machine-state.ts';
import { stopVm } from '../../src/guests/vm/stop.ts';
import type { GuestId } from '../../src/schema/guest-names.ts';
import type { VmBackups } from '../agent/qemu/vm-backups.ts';
import { WritingGuest } from '../agent/qemu/writing-guest.ts';
import { PROGRAM } from '../support/crash/cli.ts';
import type { Finding, PathReport } from '../support/crash/plan.ts';
import { storageDaemons } from '../support/guests/storage-daemons.ts';
import { KeptReport, type NodeQemu } from '../support/guests/vm-node.ts';
import { randomNumbers } from '../support/power-cut/crash-points.ts';
import { command } from '../support/power-cut/scratch.ts';
import { OpenStore } from '../support/store.ts';

const MIB = 1 << 20;
const DISK_MIB = 32;
/** The guest writes to the first two; the third is mounted, so that there is something to freeze. */
const FORMATS = { scsi0: 'qcow2', scsi1: 'raw', scsi2: 'raw' } as const;
export const KEYS = Object.keys(FORMATS);
/** A backup of these disks takes seconds. */
const TIMEOUT_MS = 60_000;
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
  readonly guest: WritingGuest;
  /** How long a backup takes, of which kind. */
  #fullMs = 0;
  #nextMs = 0;

  private constructor(guest: WritingGuest) {
    this.guest = guest;
  }

  /** `number` is its own on the host: control groups are named after it. */
  static async create(number: number, qemu?: NodeQemu): Promise<VmKillLab> {
    const load = { offset: 16 * MIB, length: 8 * MIB };
    const guest = await WritingGuest.create({ number, sizeMiB: DISK_MIB, formats: FORMATS, load, qemu });
    try {
      const { node } = guest.vms.node;
      const { config } = await node.configs.read(guest.id);
      const volume = (config.values.get('scsi2') as string).split(',')[0] as string;
      command('mkfs.ext4', ['-q', '-F', (await node.storages.volume(volume)).path]);
      const lab = new VmKillLab(guest);
      await guest.start();
      await lab.write();
      return lab;
    } catch (error) {
      await guest.remove();
      throw error;
    }
  }

  get vms(): VmBackups {
    return this.guest.vms;
  }

  get id(): GuestId {
    return this.guest.id;
  }

  /** Of a guest that was booted. */
  async write(): Promise<void> {
    await this.overwrite(3);
    await this.guest.port.ask(`mount ${this.guest.nameOf('scsi2')}`);
    await this.guest.write();
  }

  /** A quarter of disk A. */
  async overwrite(seed: number): Promise<void> {
    await this.guest.port.ask(`write ${this.guest.nameOf('scsi0')} ${4 * MIB} ${8 * MIB} ${seed}`);
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
  async startBackup(isFull: boolean, more: readonly string[] = []): Promise<RunningBackup> {
    const { node, root } = this.vms;
    await this.vms.store.close();
    if (isFull) rmSync(this.#records, { force: true });
    const places = ['--node-dir', node.path, '--repository', root];
    const args = [PROGRAM, 'vm', 'backup', String(this.id), ...places, '--bwlimit', String(LIMIT_KIB), ...more];
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

  /** Kills a backup after it paused the guest, and before it lets it run. */
  async killPaused(mode: 'suspend' | 'stop'): Promise<void> {
    const { node } = this.vms.node;
    const isPaused = async (): Promise<boolean> =>
      existsSync(node.directory.run(this.id).pausedMarker) &&
      ['paused', 'prelaunch'].includes((await lookAtMachine(node, this.id)).status);
    const { child, ended } = await this.startBackup(true, ['--mode', mode]);
    let isOver = false;
    const note = (): void => {
      isOver = true;
    };
    ended.then(note, note);
    await until(() => isOver, isPaused);
    child.kill('SIGKILL');
    const { code, words } = await ended;
    assert.equal(code, null, words);
    await this.assertDaemonGone();
    assert.ok(await isPaused(), 'it was killed while the guest stood still');
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
    await this.guest.assertGoesOn();
    const next = await this.vms.backup(this.id);
    await this.guest.assertOneInstant(next);
    await this.vms.assertTidy(this.id, KEYS);
    this.#assertTidyDirectories();
    this.assertNotHeld();
    await this.guest.assertEveryByte();
    return code === 0 ? 'after its end' : left;
  }

  assertNotHeld(): void {
    const { frozenMarker, pausedMarker } = this.vms.node.node.directory.run(this.id);
    assert.deepEqual([existsSync(frozenMarker), existsSync(pausedMarker)], [false, false], 'the markers are gone');
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
    const names = readdirSync(this.runPath).filter((name) =>
      /^(backup-|fleece|stopped|frozen|paused|exports)/.test(name),
    );
    assert.deepEqual(names, [], 'nothing is left in the run directory');
    const own = readdirSync(this.vms.node.node.directory.guestPath(this.id));
    assert.deepEqual(
      own.filter((name) => /fleece|tmp|partial/.test(name)),
      [],
      "nothing is left in the guest's directory",
    );
  }

  /** The next point has a guest that nothing was done to. */
  async restart(): Promise<void> {
    this.guest.disconnect();
    const { node } = this.vms.node;
    await endQemu(node.directory.run(this.id), undefined, 2_000);
    await clearConfigLock(node, this.id);
    await this.guest.start();
    await this.write();
  }

  /** Stopped and started again, as its owner does. */
  async powerCycle(): Promise<void> {
    this.guest.disconnect();
    await stopVm(this.vms.node.node, this.id, {}, new KeptReport());
    await this.guest.start();
    await this.write();
  }

  async close(): Promise<void> {
    await this.guest.remove();
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
      await lab.guest.assertOneInstant(await lab.vms.backup(lab.id));
      if (round === rounds - 1) await lab.guest.assertEveryByte();
      await lab.guest.assertGoesOn();
    } catch (error) {
      findings.push({ path, point: `round ${round}`, seed, error: (error as Error).message });
    }
  }
  return { path, passed: rounds - findings.length, findings, notes: `${rounds} in a row` };
}
