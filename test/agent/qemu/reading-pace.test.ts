// Reads step back while the guest writes, and come forward again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readPace } from '../../../src/agent/nbd/pace.ts';
import { ReadingPace } from '../../../src/agent/qemu/reading-pace.ts';
import type { QmpCommands } from '../../../src/guests/qmp/qmp-types.ts';

const MIB = 1 << 20;
const CLUSTER_BYTES = 64 * 1024;

/** Writes a second, on each of two disks. */
class WritingMonitor implements QmpCommands {
  perSecond = 0;
  calls = 0;
  isBroken = false;
  #writes = 0;
  #at = performance.now();

  async execute<T>(command: string): Promise<T> {
    assert.equal(command, 'query-blockstats');
    this.calls++;
    if (this.isBroken) throw new Error('gone');
    const now = performance.now();
    this.#writes += (this.perSecond * (now - this.#at)) / 1000;
    this.#at = now;
    const stats = { rd_operations: 1, wr_operations: this.#writes, rd_bytes: 4096, wr_bytes: this.#writes * 4096 };
    return ['scsi0', 'scsi1'].map((qdev) => ({ device: '', qdev, stats })) as T;
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 5000; !isSo(); await sleep(20))
    assert.ok(performance.now() < deadline, what);
}

for (const byCluster of [true, false])
  test(`little is asked for at once while the guest writes, much when it does not${byCluster ? ', by cluster' : ''}`, async (t) => {
    const monitor = new WritingMonitor();
    const pace = ReadingPace.start(monitor, { byCluster });
    t.after(async () => await pace.stop());
    const read = readPace(pace.pace);
    const underWay = (): number => read().bytes * read().depth;
    const alone = underWay();
    assert.ok(alone >= MIB);
    assert.equal(read().bytes > CLUSTER_BYTES, !byCluster);
    // Both disks together are above the limit, each alone is not.
    monitor.perSecond = 15;
    await until('it steps back', () => underWay() < alone);
    assert.ok(read().depth >= 1 && underWay() <= alone / 4);
    assert.equal(read().bytes, CLUSTER_BYTES);
    monitor.perSecond = 5;
    await until('it comes forward', () => underWay() === alone);
    await pace.stop();
    const { calls } = monitor;
    await sleep(600);
    assert.equal(monitor.calls, calls, 'the monitor is left alone');
  });

test('a monitor that answers no more ends the looking, and nothing else', async () => {
  const monitor = new WritingMonitor();
  monitor.isBroken = true;
  const pace = ReadingPace.start(monitor, { byCluster: true });
  await sleep(400);
  assert.equal(monitor.calls, 1);
  await pace.stop();
});

test('it has stopped once the monitor has answered its last question', async () => {
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const pace = ReadingPace.start({ execute: async <T>() => (await asked.then(() => [])) as T }, { byCluster: true });
  let isStopped = false;
  const stopped = pace.stop().then(() => {
    isStopped = true;
  });
  await sleep(50);
  assert.equal(isStopped, false);
  answer();
  await stopped;
});
