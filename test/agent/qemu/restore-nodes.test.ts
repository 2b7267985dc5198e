// What a live restore asks of QEMU for one disk, against a QEMU that only listens: how a copy goes, and when a disk is said to stand alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutFromBackup, type StreamedDisk, startStream } from '../../../src/agent/qemu/restore-nodes.ts';
import { type StreamWatch, watchStreams } from '../../../src/agent/qemu/restore-streams.ts';
import type { QmpCommands } from '../../../src/guests/qmp/qmp-types.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';

const QCOW2: StreamedDisk = { key: 'scsi0', archive: 'drive-scsi0.img', overlayPath: undefined };
const RAW: StreamedDisk = { key: 'scsi1', archive: 'drive-scsi1.img', overlayPath: '/overlay' };
const SIZE = 1 << 20;

type Answer = (args: Readonly<Record<string, unknown>>) => unknown;

/** Answers what it is given, and notes what is asked. */
class Listening implements QmpCommands {
  readonly asked: [string, Readonly<Record<string, unknown>>][] = [];
  readonly #answers: Readonly<Record<string, Answer>>;

  constructor(answers: Readonly<Record<string, Answer>> = {}) {
    this.#answers = answers;
  }

  async execute<T>(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> {
    this.asked.push([command, args]);
    return (this.#answers[command]?.(args) ?? '') as T;
  }

  count(command: string): number {
    return this.asked.filter(([each]) => each === command).length;
  }
}

const refused = (words: string) => (): never => {
  throw new HoldfastError('guest-failed', `blockdev-del failed: ${words}`);
};

test('a copy goes at the limit and stops at an error: what waits then is mended, and not the guest told', async () => {
  const qemu = new Listening();
  await startStream(qemu, QCOW2, 1000);
  await startStream(qemu, RAW, 1000);
  assert.deepEqual(qemu.asked, [
    ['block-stream', { 'job-id': 'restore-scsi0', speed: 1000, device: 'd-scsi0', 'on-error': 'stop' }],
    [
      'blockdev-mirror',
      {
        'job-id': 'restore-scsi1',
        speed: 1000,
        device: 't-scsi1',
        replaces: 'ov-scsi1',
        target: 'd-scsi1',
        sync: 'full',
        // The guest's writes go to both, so that it comes to an end however much the guest writes.
        'copy-mode': 'write-blocking',
        'on-source-error': 'stop',
        'on-target-error': 'stop',
      },
    ],
  ]);
});

test('a disk stands alone when its nodes are gone and it is flushed; whoever was killed may have taken some out', async () => {
  const qemu = new Listening({ 'blockdev-del': refused("Failed to find node with node-name='nbd-scsi1'") });
  assert.equal(await cutFromBackup(qemu, RAW), true);
  assert.deepEqual(qemu.asked, [
    ['blockdev-del', { 'node-name': 'ov-scsi1' }],
    ['blockdev-del', { 'node-name': 'nbd-scsi1' }],
    ['human-monitor-command', { 'command-line': 'qemu-io d-scsi1 flush' }],
  ]);
  const unflushed = new Listening({ 'human-monitor-command': () => 'flush failed: Input/output error\r\n' });
  await assert.rejects(cutFromBackup(unflushed, QCOW2), { code: 'target-failed', message: /Input\/output error/ });
});

test('a disk that still needs the backup is not cut from it, and is not taken for whole; any other refusal counts', async () => {
  const inUse = new Listening({ 'blockdev-del': refused("Node 'nbd-scsi0' is in use") });
  assert.equal(await cutFromBackup(inUse, QCOW2), false);
  assert.equal(inUse.count('human-monitor-command'), 0);
  await assert.rejects(cutFromBackup(new Listening({ 'blockdev-del': refused('no') }), QCOW2), {
    code: 'guest-failed',
  });
});

function job(more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const shown = { device: 'restore-scsi0', type: 'stream', status: 'running', paused: false, 'io-status': 'ok' };
  return { ...shown, offset: 0, len: SIZE, speed: 0, ready: false, busy: false, ...more };
}

function watching(more: Partial<StreamWatch> = {}): StreamWatch & { readonly report: KeptReport } {
  const shared = { bytesPerSecond: 1000, onProgress: () => {}, refused: () => undefined };
  const disks = [{ ...QCOW2, sizeBytes: SIZE }];
  return { ...shared, disks, signal: AbortSignal.timeout(20_000), ...more, report: new KeptReport() };
}

const RUNNING = { 'query-status': () => ({ status: 'running', running: true, singlestep: false }) };

test('a job that is gone while its disk needs the backup is begun anew, at the limit, and not for ever', async () => {
  const answers = { ...RUNNING, 'query-block-jobs': () => [], 'blockdev-del': refused('is in use') };
  const qemu = new Listening(answers);
  await assert.rejects(watchStreams(qemu, watching()), { code: 'target-failed' });
  const starts = qemu.asked.filter(([command]) => command === 'block-stream');
  assert.deepEqual(
    starts.map(([, { speed }]) => speed),
    Array.from({ length: 5 }, () => 1000),
  );
  const why = new HoldfastError('object-missing', 'a piece is lost');
  await assert.rejects(watchStreams(new Listening(answers), watching({ refused: () => why })), why);
});

test('a mirror is completed when it is ready, and not while it is held', async () => {
  const states = [{}, { ready: true, status: 'standby' }, { ready: true, status: 'ready' }];
  const before: number[] = [];
  const qemu: Listening = new Listening({
    ...RUNNING,
    'query-block-jobs': () => {
      const state = states.shift();
      before.push(qemu.count('job-complete'));
      return state === undefined ? [] : [job(state)];
    },
  });
  await watchStreams(qemu, watching());
  assert.deepEqual(before, [0, 0, 0, 1]);
});

test('an error is waited for, and tried again every five seconds; what is lost of the backup is told at once', async () => {
  const began = performance.now();
  const failing = (seconds: number) =>
    new Listening({
      ...RUNNING,
      'query-block-jobs': () =>
        performance.now() - began > seconds * 1000
          ? []
          : [job({ paused: true, status: 'paused', 'io-status': 'failed' })],
    });
  const qemu = failing(6);
  const watch = watching();
  await watchStreams(qemu, watch);
  assert.deepEqual(watch.report.warnings, Array(2).fill('scsi0: an input/output error; it is tried again'));
  assert.equal(qemu.count('block-job-resume'), 2);
  const why = new HoldfastError('object-damaged', 'a piece is damaged');
  const lost = failing(20);
  await assert.rejects(watchStreams(lost, watching({ refused: () => why })), why);
  assert.equal(lost.count('block-job-resume'), 0);
});

test('a guest that an error stopped goes on when its disks are whole', async () => {
  const qemu = new Listening({
    'query-block-jobs': () => [],
    'query-status': () => ({ status: 'io-error', running: false, singlestep: false }),
  });
  await watchStreams(qemu, watching());
  assert.equal(qemu.count('cont'), 1);
});

test('who gives it up is heard', async () => {
  const abort = new AbortController();
  const qemu = new Listening({
    ...RUNNING,
    'query-block-jobs': () => {
      abort.abort(new HoldfastError('aborted', 'stopped'));
      return [job({})];
    },
  });
  await assert.rejects(watchStreams(qemu, watching({ signal: abort.signal })), { code: 'aborted' });
  assert.equal(qemu.count('query-block-jobs'), 1);
});
