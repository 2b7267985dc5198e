// Somebody writes to a raw disk past QEMU while its guest does not run: no bitmap has it, so the next backup reads the disk in full, and has it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { after, before, beforeEach, suite, test } from 'node:test';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { nodeQemuOf, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const BLOCK = 64 * 1024;

for (const [place, build] of qemuBuilds.entries()) {
  const skip = build.skip || (await reasonToSkipGuest());
  suite(`a raw disk that somebody else writes to, ${build.name}`, { skip, timeout: 120_000 }, () => {
    let vms: VmBackups;
    let id: GuestId;
    let path: string;

    before(async () => {
      vms = await VmBackups.create({ qemu: nodeQemuOf(build) });
      id = await vms.addVm(161 + place, { disks: { scsi0: { format: 'raw', sizeMiB: 4 } } });
      const { config } = await vms.node.node.configs.read(id);
      const volume = config.values.get('scsi0')?.split(',')[0] as string;
      ({ path } = await vms.node.node.storages.volume(volume));
      writeFileSync(path, Buffer.alloc(4 * MIB, 1));
      await backUp();
    });

    // What is left alone is trusted: else nothing below would tell anything.
    beforeEach(async () => {
      assert.match(await backUp(), /scsi0: incremental since .*, 0 of/);
    });

    after(async () => await vms?.remove());

    let fill = 1;
    /** As `dd conv=notrunc` does: in place, and the file keeps size and inode. */
    function dd(): void {
      fill += 1;
      const block = Buffer.alloc(BLOCK, fill);
      execFileSync('dd', [`of=${path}`, `bs=${BLOCK}`, `seek=${fill}`, 'conv=notrunc', 'status=none'], {
        input: block,
      });
    }

    const ways: Readonly<Record<string, () => void>> = {
      'in place': dd,
      'in place, and with the old time of change': () => {
        const { atimeNs, mtimeNs } = statSync(path, { bigint: true });
        dd();
        utimesSync(path, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9);
      },
      'by another file in its place, with its size and times': () => {
        const { atime, mtime } = statSync(path);
        copyFileSync(path, `${path}.new`);
        renameSync(`${path}.new`, path);
        dd();
        utimesSync(path, atime, mtime);
      },
    };

    for (const [way, write] of Object.entries(ways)) {
      test(`${way}, before the next backup of the stopped guest`, async () => {
        write();
        assert.match(await backUp(), /scsi0: read in full, for its bitmap is gone/);
      });

      test(`${way}, before the guest is started`, async () => {
        write();
        await startVm(vms.node.node, id, {}, new KeptReport());
        await stopVm(vms.node.node, id, {}, new KeptReport());
        assert.match(await backUp(), /scsi0: read in full, for its bitmap is gone/);
      });
    }

    test('while a backup of the stopped guest reads it', async () => {
      let isDone = false;
      const log = (line: string): void => {
        if (isDone || !line.startsWith('scsi0: ')) return;
        isDone = true;
        dd();
      };
      const report = Object.assign(new KeptReport(), { log });
      await vms.backup(id, { report });
      assert.match(report.warnings.join(), /scsi0: something else wrote to it while it was read/);
      assert.match(await backUp(), /scsi0: read in full, for its bitmap is gone/);
    });

    /** Returns what it said; it has every byte of the disk. */
    async function backUp(): Promise<string> {
      const result = await vms.backup(id);
      assert.deepEqual(result.report.warnings, []);
      const restored = readFileSync(await vms.restored(result, 'scsi0'));
      assert.ok(restored.equals(readFileSync(path)), 'the backup is what the disk is');
      return result.report.logs.join('\n');
    }
  });
}
