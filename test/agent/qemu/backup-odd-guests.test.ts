// Guests in set-ups that are rare and right: without a disk to back up, with a disc that is gone, with disks of old forms and odd sizes. Each is backed up as any
// other, running and stopped, and what is restored is what was there.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { restoreSingleDisks } from '../../../src/agent/qemu/restore-single-disks.ts';
import { restoreVm } from '../../../src/agent/qemu/restore-vm.ts';
import { sealSidecars, trustedSidecars } from '../../../src/guests/bitmaps/sidecars.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { run } from '../../../src/util/run.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { plainRestore, refusal } from '../../support/guests/vm-restores.ts';
import { snapshotOf } from '../../support/guests/vm-snapshots.ts';
import { VmBackups } from './vm-backups.ts';

const skip = await reasonToSkipGuest();

suite('backups of guests in rare set-ups', { skip, timeout: 120_000 }, () => {
  let vms: VmBackups;

  before(async () => {
    vms = await VmBackups.create();
  });

  after(async () => {
    await vms?.remove();
  });

  const addGuest = async (number: number, lines: string) => await vms.addPlainVm(number, lines.split('\n'));
  const imagesOf = (number: number) => vms.imagesOf(number);
  const isOfBitmaps = (name: string) => name === 'sidecars.json' || name.startsWith('bitmaps-');
  const start = async (id: GuestId) => await startVm(vms.node.node, id, {}, new KeptReport());
  const stop = async (id: GuestId) => await stopVm(vms.node.node, id, {}, new KeptReport());
  const archives = ({ committed }: Awaited<ReturnType<VmBackups['backup']>>) =>
    committed.manifest.client.archives.map(({ name }) => name).sort();

  test('a running guest of which no disk is backed up goes on, and its configuration is stored', async () => {
    const id = await addGuest(7301, 'scsi0: local:7301/vm-7301-disk-0.raw,backup=0');
    writeFileSync(join(imagesOf(7301), 'vm-7301-disk-0.raw'), randomBytes(1 << 20));
    await start(id);
    const { pidFile } = vms.node.node.directory.run(id);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    for (let count = 0; count < 2; count++) assert.deepEqual(archives(await vms.backup(id)), ['qemu-server.conf']);
    assert.ok(process.kill(pid, 0), 'QEMU goes on');
    await vms.assertTidy(id, []);
    await stop(id);
  });

  test('what is not backed up need not be there: a disc, the storage of one, a disk with backup=0', async () => {
    const lines = [
      'scsi0: local:7302/vm-7302-disk-0.raw',
      'scsi1: nowhere:7302/vm-7302-disk-1.raw,backup=0',
      'ide0: local:iso/gone.iso,media=cdrom',
      'ide1: nowhere:iso/gone.iso,media=cdrom',
      'ide2: cdrom,media=cdrom',
    ];
    const id = await addGuest(7302, lines.join('\n'));
    const disk = randomBytes(1 << 20);
    writeFileSync(join(imagesOf(7302), 'vm-7302-disk-0.raw'), disk);
    const result = await vms.backup(id);
    assert.deepEqual(readFileSync(await vms.restored(result, 'scsi0')), disk);
  });

  test('an empty disk, one of an old qcow2, one whose size is odd: incremental, over a start and a stop, and restored as they are', async () => {
    const lines = [
      'scsi0: local:7303/vm-7303-disk-0.raw',
      'scsi1: local:7303/vm-7303-disk-1.qcow2',
      'scsi2: local:7303/vm-7303-disk-2.qcow2',
      'scsi3: local:7303/vm-7303-disk-3.raw,serial=50%off',
    ];
    const id = await addGuest(7303, lines.join('\n'));
    const path = (index: number, ending: string) => join(imagesOf(7303), `vm-7303-disk-${index}.${ending}`);
    writeFileSync(path(0, 'raw'), '');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', path(1, 'qcow2'), '0']);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'compat=0.10', path(2, 'qcow2'), '1M']);
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 64k 300k', path(2, 'qcow2')]);
    const odd = randomBytes((1 << 20) + 512);
    writeFileSync(path(3, 'raw'), odd);
    await vms.backup(id);
    const reports: string[] = [];
    const again = async () => {
      const result = await vms.backup(id);
      assert.deepEqual(result.report.warnings, []);
      reports.push(result.report.logs.join('\n'));
      return result;
    };
    await again();
    await start(id);
    await again();
    await stop(id);
    const result = await again();
    for (const said of reports) {
      assert.match(said, /scsi0: read in full, for it is empty/);
      assert.match(said, /scsi1: read in full, for it is empty/);
      assert.match(said, /scsi2: incremental since/);
      assert.match(said, /scsi3: incremental since/);
    }
    const other = vms.node.expectVm(7304);
    const snapshot = snapshotOf(vms.store, result.committed.manifest);
    await restoreVm(plainRestore(vms.node, other, snapshot));
    const [old, restored] = [await vms.node.rawCopy(id, 'scsi2'), await vms.node.rawCopy(other, 'scsi2')];
    assert.deepEqual(readFileSync(restored), readFileSync(old));
    assert.deepEqual(readFileSync(await vms.node.rawCopy(other, 'scsi3')), odd);
    for (const key of ['scsi0', 'scsi1']) assert.equal(statSync(await vms.node.rawCopy(other, key)).size, 0);
  });

  test('a guest with more disks than Node expects listeners is backed up without a warning of it', async () => {
    const keys = Array.from({ length: 12 }, (_, index) => index);
    const id = await addGuest(7305, keys.map((key) => `scsi${key}: local:7305/vm-7305-disk-${key}.raw`).join('\n'));
    for (const key of keys) writeFileSync(join(imagesOf(7305), `vm-7305-disk-${key}.raw`), randomBytes(4096));
    const warnings: Error[] = [];
    const take = (warning: Error): void => void warnings.push(warning);
    process.on('warning', take);
    try {
      const result = await vms.backup(id, { signal: new AbortController().signal });
      assert.equal(archives(result).length, keys.length + 1);
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(warnings, []);
    } finally {
      process.off('warning', take);
    }
    const snapshot = snapshotOf(vms.store, (await vms.backup(id)).committed.manifest);
    const single = { ...plainRestore(vms.node, id, snapshot), keys: ['scsi29'] };
    const message = await refusal(restoreSingleDisks(single), 'not-found');
    assert.match(message, /has no disk "scsi29"; it has scsi0, scsi1, scsi10/);
  });

  test('an image of several files is incremental while it runs, and read in full after it stood still', async () => {
    const id = await addGuest(7306, 'scsi0: local:7306/vm-7306-disk-0.qcow2\nscsi1: local:7306/vm-7306-disk-1.qcow2');
    const [overlay, external, base, data] = [
      'vm-7306-disk-0.qcow2',
      'vm-7306-disk-1.qcow2',
      'base.qcow2',
      'data.img',
    ].map((name) => join(imagesOf(7306), name)) as [string, string, string, string];
    const create = async (...args: string[]) => await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...args]);
    await create(base, '1M');
    await create('-F', 'qcow2', '-b', base, overlay);
    await create('-o', `data_file=${data},data_file_raw=on`, external, '1M');
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 3 0 1M', external]);
    await vms.backup(id);
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 64k 64k', base]);
    writeFileSync(data, randomBytes(1 << 20));
    const result = await vms.backup(id);
    for (const key of ['scsi0', 'scsi1']) {
      // Samples find what is beside so small a disk's bitmap; of a larger one they may not.
      assert.match(result.report.logs.join('\n'), new RegExp(`${key}: read in full`));
      const [stored, present] = [await vms.restored(result, key), await vms.node.rawCopy(id, key)];
      assert.deepEqual(readFileSync(stored), readFileSync(present), `${key} is backed up as it is now`);
    }
    const { directory } = vms.node.node;
    assert.deepEqual(readdirSync(directory.guestPath(id)).filter(isOfBitmaps), [], 'nothing is kept to be believed');
    // What an earlier version has left of such an image is not believed either, though the file is as it was.
    await sealSidecars(directory, id, {
      scsi0: { key: 'scsi0', path: overlay, storesBitmaps: true, isAlone: true, bitmaps: ['hf-0a1b2c3d-1'] },
    });
    for (const storesBitmaps of [true, false]) {
      const left = [{ key: 'scsi0', path: overlay, storesBitmaps, isAlone: false }];
      assert.deepEqual(await trustedSidecars(directory, id, left), { sidecars: new Map(), doubted: ['scsi0'] });
    }
    await start(id);
    await vms.backup(id);
    const said = (await vms.backup(id)).report.logs.join('\n');
    for (const key of ['scsi0', 'scsi1']) assert.match(said, new RegExp(`${key}: incremental since`));
    await stop(id);
  });
});
