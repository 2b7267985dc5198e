// A real guest that writes all the time, and what must be so of it and of its backups: counters on scsi0 and then scsi1, blocks that are told apart on scsi0.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BackupResult } from '../../../src/agent/backup/run-backup.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import type { GuestPort } from '../../support/guests/guest-port.ts';
import { readCounter, surveyBlocks } from '../../support/guests/test-blocks.ts';
import { KeptReport, type NodeQemu } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

/** Much less than a write may wait for its fleece, and enough for a host with other work. */
const GOES_ON_MS = 15_000;

export interface WritingGuestOptions {
  readonly number: number;
  /** Of each disk. */
  readonly sizeMiB: number;
  /** Of `KEYS`, and more of them. */
  readonly formats?: Readonly<Record<string, 'raw' | 'qcow2'>>;
  /** Where on scsi0 blocks are written. */
  readonly load: { readonly offset: number; readonly length: number };
  readonly settings?: Readonly<Record<string, string>>;
  readonly qemu?: NodeQemu | undefined;
}

/** Disks of a guest that asks for no others. */
const FORMATS = { scsi0: 'qcow2', scsi1: 'raw' } as const;

export class WritingGuest {
  readonly vms: VmBackups;
  readonly id: GuestId;
  readonly keys: readonly string[];
  readonly #load: WritingGuestOptions['load'];
  #port: GuestPort | undefined;
  #names = new Map<string, string>();

  private constructor(vms: VmBackups, id: GuestId, keys: readonly string[], load: WritingGuestOptions['load']) {
    this.vms = vms;
    this.id = id;
    this.keys = keys;
    this.#load = load;
  }

  /** It does not run yet. */
  static async create(options: WritingGuestOptions): Promise<WritingGuest> {
    const { number, sizeMiB, formats = FORMATS, load, settings, qemu } = options;
    const vms = await VmBackups.create(qemu === undefined ? {} : { qemu });
    const disks = Object.entries(formats).map(
      ([key, format]) => [key, { format, sizeMiB, options: `,serial=${key}` }] as const,
    );
    try {
      const id = await vms.addVm(number, { disks: Object.fromEntries(disks), ...(settings && { settings }) });
      return new WritingGuest(vms, id, Object.keys(formats), load);
    } catch (error) {
      await vms.remove();
      throw error;
    }
  }

  get port(): GuestPort {
    return this.#port as GuestPort;
  }

  /** The guest's name of a disk; which of them is sda changes from boot to boot. */
  nameOf(key: string): string {
    return this.#names.get(key) as string;
  }

  async start(report = new KeptReport()): Promise<void> {
    await startVm(this.vms.node.node, this.id, {}, report);
    await this.connect();
  }

  /** To a guest that was booted, by whomever. */
  async connect(): Promise<void> {
    this.#port?.close();
    this.#port = await this.vms.node.port();
    const { disks } = await this.#port.ask('disks');
    this.#names = new Map(disks.map(({ serial, name }: { serial: string; name: string }) => [serial, name]));
  }

  /** From here on until it is told to stop. */
  async write(): Promise<void> {
    const [a, b] = [this.nameOf('scsi0'), this.nameOf('scsi1')];
    await this.port.ask(`counter START ${a} ${b}`);
    await this.port.ask(`load START ${a} ${this.#load.offset} ${this.#load.length} 200 5`);
  }

  /** Its counters rise, and none of its writes failed. */
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

  /** It writes the counter to A, and then to B. Returns what is on B. */
  async assertOneInstant(result: BackupResult, store = this.vms.store): Promise<number> {
    const [diskA, diskB] = [
      await this.vms.restored(result, 'scsi0', store),
      await this.vms.restored(result, 'scsi1', store),
    ];
    const onB = this.assertOneInstantOf(diskA, diskB);
    this.#dropRestored();
    return onB;
  }

  assertOneInstantOf(diskA: string, diskB: string): number {
    const [onA, onB] = [readCounter(diskA), readCounter(diskB)];
    assert.ok(onA > 0 && (onA === onB || onA === onB + 1), `${onA} on A, ${onB} on B`);
    const survey = surveyBlocks(diskA, this.#load.offset, this.#load.length);
    assert.deepEqual([survey.torn, survey.foreign, survey.other], [[], [], []]);
    return onB;
  }

  /** What a backup of it has while it stands still is what its disks have: nothing was lost from the bitmaps. */
  async assertEveryByte(): Promise<void> {
    await this.#tell('stop');
    const still = await this.vms.backup(this.id);
    assert.equal((await lookAtMachine(this.vms.node.node, this.id)).status, 'paused', 'its backup lets it stand');
    for (const key of this.keys) {
      const [now, restored] = [await this.vms.node.rawCopy(this.id, key), await this.vms.restored(still, key)];
      assert.ok(readFileSync(now).equals(readFileSync(restored)), `${key} is not what the guest's disk is`);
    }
    await this.#tell('cont');
    this.#dropRestored();
  }

  /** After whatever went wrong. */
  async assertUnharmedAndRight(): Promise<void> {
    await this.assertGoesOn();
    await this.assertOneInstant(await this.vms.backup(this.id));
    await this.vms.assertTidy(this.id, this.keys);
    await this.assertEveryByte();
  }

  async #tell(command: 'stop' | 'cont'): Promise<void> {
    await withMonitor(this.vms.node.node, this.id, async (monitor) => await monitor.execute(command));
  }

  #dropRestored(): void {
    for (const name of readdirSync(this.vms.node.path))
      if (name.startsWith('restored-')) rmSync(join(this.vms.node.path, name));
  }

  disconnect(): void {
    this.#port?.close();
  }

  async remove(): Promise<void> {
    this.disconnect();
    await this.vms.remove();
  }
}
