// The lowest limit that there is, 1 KiB/s: one answer takes longer than a QEMU that hangs is waited for, and the backup comes to its end nevertheless.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { limitedTimeoutMs } from '../../../src/agent/qemu/read-limit.ts';
import { withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { nodeQemuOf, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const KIB = 1024;
const CLUSTER_BYTES = 64 * KIB;
const DATA_BYTES = CLUSTER_BYTES + 8 * KIB;

const [build] = qemuBuilds;
const skip = build === undefined || build.skip || (await reasonToSkipGuest());

suite('a backup that crawls', { skip, timeout: 400_000 }, () => {
  let vms: VmBackups;
  const guests = { stopped: {} as Guest, running: {} as Guest };

  interface Guest {
    id: GuestId;
    data: Buffer;
  }

  before(async () => {
    vms = await VmBackups.create({ qemu: nodeQemuOf(build!) });
    for (const [place, state] of (['stopped', 'running'] as const).entries()) {
      const id = await vms.addVm(181 + place, { disks: { scsi0: { format: 'raw', sizeMiB: 1 } } });
      const { config } = await vms.node.node.configs.read(id);
      const { path } = await vms.node.node.storages.volume(config.values.get('scsi0')?.split(',')[0] as string);
      const data = Buffer.concat([randomBytes(DATA_BYTES), Buffer.alloc((1 << 20) - DATA_BYTES)]);
      // The rest is a hole, and not read.
      writeFileSync(path, data.subarray(0, DATA_BYTES));
      truncateSync(path, data.length);
      guests[state] = { id, data };
    }
    const { id } = guests.running;
    await startVm(vms.node.node, id, {}, new KeptReport());
    await withMonitor(vms.node.node, id, async (monitor) => await monitor.execute('stop'));
  });

  after(async () => {
    if (vms === undefined) return;
    await stopVm(vms.node.node, guests.running.id, {}, new KeptReport());
    await vms.remove();
  });

  test('at 1 KiB/s it comes to its end, whether the guest runs or not', async () => {
    const backUp = async ({ id, data }: Guest): Promise<void> => {
      const started = performance.now();
      const result = await vms.backup(id, { bytesPerSecond: KIB });
      const seconds = (performance.now() - started) / 1000;
      // What is not of the first cluster waits for as long as that takes.
      assert.ok(seconds > 61, `it took ${seconds} s: no answer took longer than the usual time`);
      assert.ok(readFileSync(await vms.restored(result, 'scsi0')).equals(data));
    };
    await Promise.all(Object.values(guests).map(backUp));
  });

  test('an answer is waited for as long as all that may stand before it takes', () => {
    assert.equal(limitedTimeoutMs(undefined, 8), undefined);
    assert.equal(limitedTimeoutMs(1 << 30, 2), 60_002);
    // Two threads with sixteen clusters each.
    assert.equal(limitedTimeoutMs(KIB, 2), 60_000 + 2 * 16 * 64 * 1000);
    // What a timer takes, also with all threads that there can be.
    assert.ok((limitedTimeoutMs(KIB, 1024) as number) < 2 ** 31);
  });
});
