// Disks that nobody can write to, of guests that do not run: they are read in full, and what was known of them before is not believed when they can be written to again.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import { run } from '../../../src/util/run.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { refusal } from '../../support/guests/vm-restores.ts';
import { skipSmallDisk, withSmallDisk } from '../../support/small-disk.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const skip = await reasonToSkipGuest();

suite('backups of disks that cannot be written to', { skip, timeout: 120_000 }, () => {
  let vms: VmBackups;

  before(async () => {
    vms = await VmBackups.create();
  });

  after(async () => {
    await vms?.remove();
  });

  async function makeDisks(qcow2: string, raw: string): Promise<void> {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', qcow2, '4M']);
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 64k 1M', qcow2]);
    writeFileSync(raw, randomBytes(MIB));
  }

  const kept = (number: number) => readdirSync(join(vms.node.path, 'guests', String(number))).sort();

  test('a file system that is mounted read-only', { skip: skipSmallDisk() }, async () => {
    await withSmallDisk(64 * MIB, async (place) => {
      const [qcow2, raw] = [join(place.mountPath, 'a.qcow2'), join(place.mountPath, 'b.raw')];
      await makeDisks(qcow2, raw);
      const lines = [`scsi0: ${qcow2},format=qcow2`, `scsi1: ${raw}`, 'scsi2: local:7401/vm-7401-disk-0.raw'];
      const id = await vms.addPlainVm(7401, lines);
      writeFileSync(join(vms.imagesOf(7401), 'vm-7401-disk-0.raw'), randomBytes(MIB));
      await vms.backup(id);
      const wanted = { scsi0: await rawOf(qcow2), scsi1: readFileSync(raw) };
      place.remountReadOnly();
      for (let count = 0; count < 2; count++) {
        const result = await vms.backup(id);
        assert.deepEqual(result.report.warnings, []);
        const said = result.report.logs.join('\n');
        for (const key of ['scsi0', 'scsi1']) {
          assert.match(said, new RegExp(`${key}: '/.*' cannot be written to \\(EROFS\\), so it is opened read-only`));
          assert.match(said, new RegExp(`${key}: read in full, for it is read-only and has no bitmap`));
        }
        assert.match(said, /scsi2: incremental since/);
        for (const [key, bytes] of Object.entries(wanted))
          assert.deepEqual(readFileSync(await vms.restored(result, key)), bytes, key);
        assert.deepEqual(
          kept(7401).filter((name) => name.startsWith('bitmaps-')),
          ['bitmaps-scsi2.qcow2'],
        );
      }
      place.remountWritable();
      const again = async () => (await vms.backup(id)).report.logs.join('\n');
      const first = await again();
      for (const key of ['scsi0', 'scsi1']) assert.match(first, new RegExp(`${key}: read in full`));
      const second = await again();
      for (const key of ['scsi0', 'scsi1', 'scsi2']) assert.match(second, new RegExp(`${key}: incremental since`));
    });
  });

  async function rawOf(qcow2: string): Promise<Buffer> {
    const copy = join(vms.node.path, 'copy.raw');
    await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', qcow2, copy]);
    return readFileSync(copy);
  }

  test('a disk that was written to before and is ro=1 now keeps its bitmap to itself, off and running', async () => {
    const names = ['vm-7402-disk-0.qcow2', 'vm-7402-disk-1.raw', 'vm-7402-disk-2.raw'];
    const lines = names.map((name, index) => `scsi${index}: local:7402/${name}`);
    const id = await vms.addPlainVm(7402, lines);
    const [qcow2, ...raws] = names.map((name) => join(vms.imagesOf(7402), name)) as [string, string, string];
    await makeDisks(qcow2, raws[0] as string);
    writeFileSync(raws[1] as string, randomBytes(MIB));
    await vms.backup(id);
    const { node } = vms.node;
    await node.configs.write(id, vms.plainConfig(lines.map((line, index) => (index < 2 ? `${line},ro=1` : line))));
    const backUp = async (): Promise<void> => {
      const { report } = await vms.backup(id);
      assert.deepEqual(report.warnings, []);
      const said = report.logs.join('\n');
      for (const key of ['scsi0', 'scsi1']) assert.match(said, new RegExp(`${key}: read in full, for it is read-only`));
      assert.match(said, /scsi2: incremental since/);
    };
    for (let count = 0; count < 2; count++) await backUp();
    const report = new KeptReport();
    await startVm(node, id, {}, report);
    assert.deepEqual(report.warnings, []);
    await backUp();
    await vms.assertTidy(id, ['scsi2']);
    await stopVm(node, id, {}, new KeptReport());
    await backUp();
    await node.configs.write(id, vms.plainConfig(lines));
    assert.match((await vms.backup(id)).report.logs.join('\n'), /scsi0: read in full/);
    assert.match((await vms.backup(id)).report.logs.join('\n'), /scsi0: incremental since/);
  });

  test('what is no file is refused at once, and not waited for', async () => {
    const pipe = join(vms.node.path, 'pipe.raw');
    await run('mkfifo', [pipe]);
    for (const path of [pipe, vms.node.path, '/dev/null']) {
      const id = await vms.addPlainVm(7403, [`scsi0: ${path}`]);
      const message = await refusal(vms.backup(id), 'bad-argument');
      assert.match(message, /scsi0: '.*' is neither a file nor a block device/);
      await vms.node.node.configs.remove(id);
    }
  });
});
