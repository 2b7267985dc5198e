// What a guest discards between two backups is zeros in the second, whatever its disks are, and only what it discarded is read.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { BackupResult } from '../../../src/agent/backup/run-backup.ts';
import { withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { run } from '../../../src/util/run.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const skip = await reasonToSkipGuest();
/** The front ends of the disks, whose own requests these are. */
const DEVICES = { scsi0: 'scsi0', scsi1: 'scsi1', virtio2: '/machine/peripheral/virtio2/virtio-backend' };

suite('backups of disks that are discarded', { skip, timeout: 120_000 }, () => {
  let vms: VmBackups;

  before(async () => {
    vms = await VmBackups.create();
  });

  after(async () => {
    await vms?.remove();
  });

  async function assertSame(result: BackupResult, id: GuestId): Promise<void> {
    for (const key of Object.keys(DEVICES)) {
      const [stored, present] = [await vms.restored(result, key), await vms.node.rawCopy(id, key)];
      assert.ok(readFileSync(stored).equals(readFileSync(present)), `${key} is as it is now`);
    }
  }

  test('of a running guest, and of one that is off by something else', async () => {
    const names = ['vm-7404-disk-0.qcow2', 'vm-7404-disk-1.raw', 'vm-7404-disk-2.qcow2'] as const;
    const lines = Object.keys(DEVICES).map((key, index) => `${key}: local:7404/${names[index]},discard=on`);
    const id = await vms.addPlainVm(7404, [...lines.slice(0, 2), `${lines[2]},detect_zeroes=1`]);
    const [first, second, third] = names.map((name) => join(vms.imagesOf(7404), name)) as [string, string, string];
    for (const path of [first, third]) {
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '32M']);
      await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 16M', path]);
    }
    writeFileSync(second, Buffer.concat([randomBytes(16 * MIB), Buffer.alloc(16 * MIB)]));
    const { node } = vms.node;
    await startVm(node, id, {}, new KeptReport());
    await vms.backup(id);
    await withMonitor(node, id, async (monitor) => {
      for (const device of Object.values(DEVICES))
        for (const order of ['discard 1M 4M', 'discard 6169k 1000k', 'write -P 9 4M 64k', 'discard 20M 1M']) {
          const command = { 'command-line': `qemu-io -d ${device} "${order}"` };
          assert.equal(String(await monitor.execute('human-monitor-command', command)).trim(), '');
        }
    });
    const result = await vms.backup(id);
    for (const key of Object.keys(DEVICES))
      assert.match(
        result.report.logs.join('\n'),
        new RegExp(`${key}: incremental since .*, 6[1-3][0-9]{5} of 33554432 bytes`),
      );
    const { bytesRead } = result.statistics;
    assert.ok(bytesRead < 6 * MIB, `${bytesRead} bytes were read`);
    await assertSame(result, id);
    const stored = readFileSync(await vms.restored(result, 'scsi1'));
    assert.ok(stored.subarray(MIB, 4 * MIB).equals(Buffer.alloc(3 * MIB)), 'what was discarded is zeros');
    await stopVm(node, id, {}, new KeptReport());
    for (const path of [first, third])
      await run('qemu-io', ['-f', 'qcow2', '-d', 'unmap', '-c', 'discard 10M 2M', path]);
    await run('fallocate', ['-p', '-o', '10M', '-l', '2M', second]);
    const off = await vms.backup(id);
    for (const key of Object.keys(DEVICES))
      assert.match(off.report.logs.join('\n'), new RegExp(`${key}: read in full, for its bitmap is gone`));
    await assertSame(off, id);
  });
});
