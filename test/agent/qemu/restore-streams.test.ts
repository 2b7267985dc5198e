// What a live restore does about the jobs that copy its disks, against a QEMU that only tells of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { letRun, type StreamWatch, watchStreams } from '../../../src/agent/qemu/restore-streams.ts';
import type { QmpCommands } from '../../../src/guests/qmp/qmp-types.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';

const SIZE = 1 << 20;

/** Both disks' jobs are stopped by an error, scsi1's after they were looked at; the guest is, too. Its `cont` clears what is known of that. */
class FakeQemu implements QmpCommands {
  readonly resumed: string[] = [];
  readonly #reasons = new Map([['restore-scsi0', 'nospace']]);
  readonly #refusal: string | undefined;
  #hasLooked = false;
  #guest = 'io-error';

  constructor(refusal?: string) {
    this.#refusal = refusal;
  }

  /** Both disks' jobs were stopped before their guest came to run. */
  static starting(): FakeQemu {
    const qemu = new FakeQemu();
    qemu.#guest = 'prelaunch';
    qemu.#hasLooked = true;
    return qemu;
  }

  get guest(): string {
    return this.#guest;
  }

  async execute<T>(command: string, args?: Readonly<Record<string, unknown>>): Promise<T> {
    if (command === 'query-block-jobs') return this.#jobs() as T;
    if (command === 'query-status') return { status: this.#guest, running: false, singlestep: false } as T;
    if (command === 'cont') {
      this.#guest = 'running';
      this.#reasons.clear();
    }
    if (command === 'block-job-resume') {
      this.resumed.push(args?.device as string);
      if (this.#refusal !== undefined) throw new HoldfastError('guest-failed', this.#refusal);
    }
    return '' as T;
  }

  #jobs(): Record<string, unknown>[] {
    const ids = ['restore-scsi0', 'restore-scsi1'].filter((id) => !this.resumed.includes(id));
    const jobs = ids.map((device) => {
      const isPaused = device === 'restore-scsi0' || this.#hasLooked;
      const shown = { device, type: 'stream', status: isPaused ? 'paused' : 'running', paused: isPaused };
      const counts = { offset: 0, len: SIZE, speed: 0, ready: false, busy: false };
      return { ...shown, ...counts, 'io-status': this.#reasons.get(device) ?? 'ok' };
    });
    this.#hasLooked = true;
    return jobs;
  }
}

async function watched(qemu: FakeQemu): Promise<KeptReport> {
  const report = new KeptReport();
  const disks = ['scsi0', 'scsi1'].map((key) => ({ key, sizeBytes: SIZE }) as StreamWatch['disks'][number]);
  const shared = { bytesPerSecond: 0, onProgress: () => {}, refused: () => undefined };
  await watchStreams(qemu, { ...shared, disks, report, signal: AbortSignal.timeout(20_000) });
  return report;
}

test('jobs that an error stopped are resumed, also one whose reason the `cont` of the guest has cleared', async () => {
  const qemu = new FakeQemu();
  const { warnings } = await watched(qemu);
  assert.deepEqual(qemu.resumed, ['restore-scsi0', 'restore-scsi1']);
  assert.deepEqual(warnings, ['scsi0: its storage is full; it is tried again']);
});

test('a job that was stopped before the guest came to run is resumed, though nothing tells of its error any more', async () => {
  const qemu = FakeQemu.starting();
  await letRun(qemu);
  assert.equal(qemu.guest, 'running');
  const { warnings } = await watched(qemu);
  assert.deepEqual(qemu.resumed, ['restore-scsi0', 'restore-scsi1']);
  assert.deepEqual(warnings, []);
});

test('a job that QEMU holds for a moment cannot be resumed, and need not be, nor one that ends; any other refusal counts', async () => {
  for (const refusal of ["Can't resume a job that was not paused", "Block job 'restore-scsi0' not found"])
    assert.equal((await watched(new FakeQemu(`block-job-resume failed: ${refusal}`))).warnings.length, 1);
  await assert.rejects(watched(new FakeQemu('block-job-resume failed: no')), { code: 'guest-failed' });
});
