// The instant is one command for all disks; whatever else is done to them comes before or after it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { swapFiltersIn } from '../../../src/agent/qemu/frozen-disks.ts';
import type { VmDisk } from '../../../src/agent/qemu/vm-disk.ts';
import type { QmpClient } from '../../../src/guests/qmp/qmp-client.ts';

test('the filters of all disks are swapped in by one command', async () => {
  const commands: [string, unknown][] = [];
  const execute = async (command: string, args: unknown): Promise<void> => void commands.push([command, args]);
  const disks = ['scsi0', 'virtio1'].map((key) => ({ key, discards: false }) as VmDisk);
  await swapFiltersIn({ execute } as unknown as QmpClient, disks);
  assert.equal(commands.length, 1);
  const [[command, { options }]] = commands as [[string, { options: { 'node-name': string; file: string }[] }]];
  assert.equal(command, 'blockdev-reopen');
  assert.deepEqual(
    options.map((each) => [each['node-name'], each.file]),
    [
      ['t-scsi0', 'cbw-scsi0'],
      ['t-virtio1', 'cbw-virtio1'],
    ],
  );
});
