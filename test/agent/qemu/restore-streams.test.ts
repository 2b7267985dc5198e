// What a live restore does about the jobs that copy its disks, against a QEMU that only tells of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type StreamWatch, watchStreams } from '../../../src/agent/qemu/restore-streams.ts';
import type { QmpCommands } from '../../../src/guests/qmp/qmp-types.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';

const SIZE = 1 << 20;

/** Its one job is gone once it has been resumed `wanted` times. */
class FakeQemu implements QmpCommands {
  readonly resumed: string[] = [];
  readonly #ioStatus: string;
  readonly #wanted: number;
  readonly #refuses: boolean;

  constructor(ioStatus: string, { wanted = 1, refuses = false } = {}) {
    this.#ioStatus = ioStatus;
    this.#wanted = wanted;
    this.#refuses = refuses;
  }

  async execute<T>(command: string, args?: Readonly<Record<string, unknown>>): Promise<T> {
    if (command === 'query-block-jobs') return (this.resumed.length < this.#wanted ? [this.#job()] : []) as T;
    if (command === 'query-status') return { status: 'running', running: true, singlestep: false } as T;
    if (command === 'block-job-resume') {
      this.resumed.push(args?.device as string);
      if (this.#refuses)
        throw new HoldfastError('guest-failed', "block-job-resume failed: Can't resume a job that was not paused");
    }
    return '' as T;
  }

  #job(): Record<string, unknown> {
    const shown = {
      device: 'restore-scsi0',
      type: 'stream',
      status: 'paused',
      paused: true,
      'io-status': this.#ioStatus,
    };
    return { ...shown, offset: 0, len: SIZE, speed: 0, ready: false, busy: false };
  }
}

async function watched(qemu: FakeQemu): Promise<KeptReport> {
  const report = new KeptReport();
  const disk = { key: 'scsi0', sizeBytes: SIZE } as StreamWatch['disks'][number];
  const shared = { bytesPerSecond: 0, onProgress: () => {}, refused: () => undefined };
  await watchStreams(qemu, { ...shared, disks: [disk], report, signal: AbortSignal.timeout(20_000) });
  return report;
}

test('a job that an error stopped is told of and resumed', async () => {
  const qemu = new FakeQemu('nospace');
  const { warnings } = await watched(qemu);
  assert.deepEqual(qemu.resumed, ['restore-scsi0']);
  assert.deepEqual(warnings, ['scsi0: its storage is full; it is tried again']);
});

test('so is one whose reason a `cont` of the guest has cleared, of which there is nothing to tell', async () => {
  const qemu = new FakeQemu('ok');
  const { warnings } = await watched(qemu);
  assert.deepEqual(qemu.resumed, ['restore-scsi0']);
  assert.deepEqual(warnings, []);
});

test('one that QEMU holds for a moment is left alone', async () => {
  const qemu = new FakeQemu('ok', { refuses: true });
  assert.deepEqual((await watched(qemu)).warnings, []);
});
