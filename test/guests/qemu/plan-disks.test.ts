// What a plan says of a real block device: nothing tells who wrote to it while its guest was off, so no bitmap of it may be kept, whatever its format is. And
// that whatever is wrong with a volume is said of its drive.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseDrive } from '../../../src/guests/config/drive.ts';
import { planDisk } from '../../../src/guests/qemu/plan-disks.ts';
import { Storages } from '../../../src/guests/storage/storages.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

const missing = reasonForTools('losetup', 'qemu-img');
const skip = process.getuid?.() === 0 ? missing : 'needs root';

for (const format of ['raw', 'qcow2'])
  test(`a block device with ${format} is not alone and keeps no bitmaps; the file is, and does by its format`, {
    skip,
  }, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hft-plan-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'disk');
    execFileSync('qemu-img', ['create', '-q', '-f', format, '-o', 'preallocation=falloc', path, '1M']);
    const planned = async (file: string) => {
      const drive = parseDrive('scsi0', `${file},format=${format}`);
      const { isBlockDevice, isAlone, storesBitmaps } = await planDisk(drive, new Storages(directory), []);
      return { isBlockDevice, isAlone, storesBitmaps };
    };
    assert.deepEqual(await planned(path), { isBlockDevice: false, isAlone: true, storesBitmaps: format === 'qcow2' });
    const device = loopDevice(path);
    if (device === undefined) return t.skip('no loop device can be set up here');
    t.after(() => execFileSync('losetup', ['-d', device]));
    assert.deepEqual(await planned(device), { isBlockDevice: true, isAlone: false, storesBitmaps: false });
  });

test('whatever is wrong with a volume, its drive is named', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hft-plan-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const storages = new Storages(directory);
  writeFileSync(join(directory, 'storage.cfg'), 'dir: off\n\tpath /nowhere\n\tcontent images\n\tdisable 1\n');
  execFileSync('mkfifo', [join(directory, 'pipe')]);
  for (const [file, code, message] of [
    ['none-such:1/vm-1-disk-0.raw', 'not-found', "scsi0: storage 'none-such' does not exist"],
    ['off:1/vm-1-disk-0.raw', 'target-unfit', "scsi0: storage 'off' cannot be used: it is disabled"],
    [`${directory}/gone.raw`, 'not-found', `scsi0: volume '${directory}/gone.raw' does not exist`],
    [`${directory}/pipe`, 'bad-argument', `scsi0: '${directory}/pipe' is neither a file nor a block device`],
    ['/dev/null/disk.raw', 'source-failed', "scsi0: '/dev/null/disk.raw' cannot be looked at: ENOTDIR"],
  ] as const)
    await assert.rejects(
      planDisk(parseDrive('scsi0', file), storages, []),
      (error: HoldfastError) => error.code === code && error.message.startsWith(message),
      message,
    );
});

function loopDevice(path: string): string | undefined {
  try {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    return execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8', stdio }).trim();
  } catch {
    return undefined;
  }
}
