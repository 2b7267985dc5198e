import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openBtrfsStorage } from '../../../src/guests/storage/btrfs-storage.ts';
import { CONTENT_TYPES } from '../../../src/guests/storage/storage.ts';
import { command } from '../../support/power-cut/scratch.ts';
import { skipSmallDisk, withSmallDisk } from '../../support/small-disk.ts';
import { testStorage } from './contract.ts';

const MIB = 1 << 20;
const open = (path: string, id = 'store') =>
  openBtrfsStorage({
    id,
    type: 'btrfs',
    path,
    content: id === 'isos' ? ['iso'] : CONTENT_TYPES,
    mountPoint: undefined,
    createsPath: true,
  });

testStorage({ type: 'btrfs', fileSystem: 'btrfs', smallBytes: 128 * MIB, open });

test('raw disks are subvolumes, and clones share their extents', { skip: skipSmallDisk('btrfs') }, async () => {
  await withSmallDisk(
    256 * MIB,
    async (disk) => {
      const storage = open(disk.mountPath);
      const { name } = await storage.allocate({ vmid: 100, sizeBytes: 64 * MIB, format: 'raw' });
      const { path } = await storage.locate(name);
      assert.equal(path, join(disk.mountPath, 'images/100/vm-100-disk-0/disk.raw'));
      command('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', 'count=64', 'status=none', 'conv=notrunc,fsync']);
      await storage.snapshot(name, 'first');
      const past = await storage.locate(name, 'first');
      assert.deepEqual(past, { path: join(disk.mountPath, 'images/100/vm-100-disk-0@first/disk.raw'), format: 'raw' });
      assert.match(command('btrfs', ['property', 'get', join(past.path, '..'), 'ro']), /ro=true/);
      assert.equal(statSync(join(path, '..')).ino, 256, 'the root of a subvolume');
      // Three times the data would not fit without sharing.
      for (const from of [past, await storage.locate(name)])
        for (const _ of [1, 2]) await storage.clone(from, { vmid: 101, format: 'raw' });
      await storage.rollback(name, 'first');
      command('sync', ['-f', disk.mountPath]);
      const { used } = await storage.status();
      assert.ok(used < 100 * MIB, `${used} bytes are used`);
    },
    { fileSystem: 'btrfs' },
  );
});

test('a path that is not on btrfs makes the storage inactive', async () => {
  const path = mkdtempSync(join(tmpdir(), 'hf-no-btrfs-'));
  try {
    const status = await open(path).status();
    assert.equal(status.active, false);
    assert.match(status.reason ?? '', /not on btrfs/);
    await assert.rejects(open(path).list(), { code: 'target-unfit' });
  } finally {
    rmSync(path, { recursive: true });
  }
});
