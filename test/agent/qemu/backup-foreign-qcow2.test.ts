// Somebody writes to a qcow2 disk past QEMU while its guest does not run, or while the disk is not in it: the bitmaps in the image know nothing of that, so the next
// backup reads the disk in full, and has it. Work of ours that changes the file and no byte of the disk costs nothing.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, copyFileSync, openSync, readFileSync, renameSync, statSync, utimesSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { configureVm } from '../../../src/guests/vm/configure.ts';
import { deleteSnapshotVm } from '../../../src/guests/vm/delete-snapshot.ts';
import { rollbackVm } from '../../../src/guests/vm/rollback.ts';
import { snapshotVm } from '../../../src/guests/vm/snapshot.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { nodeQemuOf, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const BLOCK = 64 * 1024;
const IN_FULL = /scsi1: read in full, for its bitmap is gone/;
const INCREMENTAL = /scsi1: incremental since .*, 0 of/;

for (const [place, build] of qemuBuilds.entries()) {
  const skip = build.skip || (await reasonToSkipGuest());
  suite(`a qcow2 disk that somebody else writes to, ${build.name}`, { skip, timeout: 120_000 }, () => {
    let vms: VmBackups;
    let id: GuestId;
    let path: string;

    before(async () => {
      vms = await VmBackups.create({ qemu: nodeQemuOf(build) });
      const disk = { format: 'qcow2', sizeMiB: 4 } as const;
      id = await vms.addVm(171 + place, { disks: { scsi0: disk, scsi1: disk, scsi2: disk }, settings: { agent: '0' } });
      path = await pathOf('scsi1');
      qemuIo('write -P 1 0 4M');
      execFileSync('qemu-img', ['snapshot', '-c', 'old', path]);
      qemuIo('write -P 2 1M 64k');
      await backUp();
    });

    // What is left alone is trusted: else nothing below would tell anything.
    beforeEach(async () => {
      assert.match(await backUp(), INCREMENTAL);
    });

    after(async () => await vms?.remove());

    async function pathOf(key: string): Promise<string> {
      const { config } = await vms.node.node.configs.read(id);
      const volume = config.values.get(key)?.split(',')[0] as string;
      return (await vms.node.node.storages.volume(volume)).path;
    }

    function qemuIo(command: string): void {
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', command, path], { stdio: 'ignore' });
    }

    /** Past everything that knows bitmaps: QEMU's own tools heed those in an image. */
    function poke(): void {
      const map = execFileSync('qemu-img', ['map', '--output=json', '-f', 'qcow2', path], { encoding: 'utf8' });
      const [{ offset }] = (JSON.parse(map) as { offset?: number }[]).filter((each) => each.offset !== undefined) as [
        { offset: number },
      ];
      const file = openSync(path, 'r+');
      writeSync(file, randomBytes(BLOCK), 0, BLOCK, offset);
      closeSync(file);
    }

    const ways: Readonly<Record<string, () => void>> = {
      'in place': poke,
      'in place, and with the old time of change': () => {
        const { atime, mtime } = statSync(path);
        poke();
        utimesSync(path, atime, mtime);
      },
      'by another image in its place, with bitmaps of the same names and its times': () => {
        const { atime, mtime } = statSync(path);
        copyFileSync(path, `${path}.new`);
        renameSync(`${path}.new`, path);
        poke();
        utimesSync(path, atime, mtime);
      },
      'by going back to a snapshot by hand, of which the bitmaps are made to know nothing': () => {
        const info = execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', path], { encoding: 'utf8' });
        const { bitmaps } = JSON.parse(info)['format-specific'].data as { bitmaps: { name: string }[] };
        for (const { name } of bitmaps) execFileSync('qemu-img', ['bitmap', '-f', 'qcow2', '--remove', path, name]);
        execFileSync('qemu-img', ['snapshot', '-a', 'old', path]);
        for (const { name } of bitmaps)
          execFileSync('qemu-img', ['bitmap', '-f', 'qcow2', '--add', '-g', '65536', path, name]);
      },
    };

    for (const [way, write] of Object.entries(ways)) {
      test(`${way}, before the next backup of the stopped guest`, async () => {
        write();
        assert.match(await backUp(), IN_FULL);
      });

      test(`${way}, before the guest is started`, async () => {
        write();
        const report = new KeptReport();
        await startVm(vms.node.node, id, {}, report);
        assert.match(report.warnings.join(), /scsi1: .*something else wrote to it/);
        await stopVm(vms.node.node, id, {}, new KeptReport());
        assert.match(await backUp(), IN_FULL);
      });
    }

    test('a backup that cannot begin leaves the doubt as it was', async () => {
      poke();
      // Whoever has the last disk open keeps the backup from opening it, after those before it.
      const holder = spawn('qemu-io', ['-f', 'qcow2', await pathOf('scsi2')], { stdio: ['pipe', 'pipe', 'ignore'] });
      try {
        await once(holder.stdout, 'data');
        await assert.rejects(vms.backup(id), { code: 'guest-failed', message: /lock/ });
      } finally {
        const ended = once(holder, 'exit');
        holder.stdin.end();
        await ended;
      }
      assert.match(await backUp(), IN_FULL);
    });

    test('while it is taken out of the running guest', async () => {
      await startVm(vms.node.node, id, {}, new KeptReport());
      const drive = (await vms.node.node.configs.read(id)).config.values.get('scsi1') as string;
      await configureVm(vms.node.node, id, { set: {}, remove: ['scsi1'] }, new KeptReport());
      poke();
      await configureVm(vms.node.node, id, { set: { scsi1: drive }, remove: [] }, new KeptReport());
      const { report } = await vms.backup(id);
      assert.match(report.logs.join('\n'), IN_FULL);
      await stopVm(vms.node.node, id, {}, new KeptReport());
      assert.match(await backUp(), INCREMENTAL);
    });

    test('what we do with snapshots of the stopped guest is none of it, but for going back', async () => {
      await snapshotVm(vms.node.node, id, 'ours', {}, new KeptReport());
      assert.match(await backUp(), INCREMENTAL);
      await snapshotVm(vms.node.node, id, 'second', {}, new KeptReport());
      await deleteSnapshotVm(vms.node.node, id, 'ours', {}, new KeptReport());
      assert.match(await backUp(), INCREMENTAL);
      poke();
      await deleteSnapshotVm(vms.node.node, id, 'second', {}, new KeptReport());
      assert.match(await backUp(), IN_FULL);
      await snapshotVm(vms.node.node, id, 'third', {}, new KeptReport());
      await rollbackVm(vms.node.node, id, 'third', {}, new KeptReport());
      assert.match(await backUp(), /scsi1: read in full/);
    });

    /** Returns what it said; it has every byte of the disk. */
    async function backUp(): Promise<string> {
      const result = await vms.backup(id);
      assert.deepEqual(result.report.warnings, []);
      const raw = join(vms.node.path, 'now.raw');
      execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, raw]);
      const restored = readFileSync(await vms.restored(result, 'scsi1'));
      assert.ok(restored.equals(readFileSync(raw)), 'the backup is what the disk is');
      return result.report.logs.join('\n');
    }
  });
}
