// The limit of what a backup reads of a guest's disks (`--bwlimit`): it holds whether the guest runs or not, and does not hold up the end of an aborted backup.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dropBitmapRecords } from '../../../src/guests/bitmaps/bitmap-records.ts';
import { withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { run } from '../../../src/util/run.ts';
import { nodeQemuOf, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { storageDaemons } from '../../support/guests/storage-daemons.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const FORMATS = { scsi0: 'qcow2', scsi1: 'raw' } as const;
const KEYS = Object.keys(FORMATS);
const DATA_BYTES = 4 * MIB;
/** Of both disks at once. */
const BYTES_PER_SECOND = 4 * MIB;
const CRAWL = { bytesPerSecond: 16 * 1024 };
/** Two disks of 4 MiB take eight minutes at that. */
const ENDS_WITHIN_MS = 6_000;

for (const [place, build] of qemuBuilds.entries()) {
  const skip = build.skip || (await reasonToSkipGuest());
  suite(`a backup with a limit, ${build.name}`, { skip, timeout: 240_000 }, () => {
    let vms: VmBackups;
    let id: GuestId;

    before(async () => {
      vms = await VmBackups.create({ qemu: nodeQemuOf(build) });
      const disks = Object.entries(FORMATS).map(([key, format]) => [key, { format, sizeMiB: 8 }] as const);
      id = await vms.addVm(151 + place, { disks: Object.fromEntries(disks) });
      await vms.node.node.directory.prepare(id);
      const { config } = await vms.node.node.configs.read(id);
      for (const key of KEYS) {
        const source = join(vms.node.path, 'data');
        writeFileSync(source, Buffer.concat([randomBytes(DATA_BYTES), Buffer.alloc(8 * MIB - DATA_BYTES)]));
        const volume = config.values.get(key)?.split(',')[0] as string;
        const { path, format } = await vms.node.node.storages.volume(volume);
        await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', format, source, path]);
      }
    });

    after(async () => await vms?.remove());

    for (const state of ['stopped', 'running'])
      suite(`of a ${state} guest`, () => {
        before(async () => {
          if (state === 'stopped') return;
          await startVm(vms.node.node, id, {}, new KeptReport());
          // Its kernel reads nothing of the disks then, and writes nothing.
          await withMonitor(vms.node.node, id, async (monitor) => await monitor.execute('stop'));
        });
        after(async () => {
          if (state === 'running') await stopVm(vms.node.node, id, {}, new KeptReport());
        });

        // Each reads in full.
        beforeEach(async () => await dropBitmapRecords(vms.node.node.directory, id));

        test('it reads no faster, all disks together', async () => {
          const started = performance.now();
          const result = await vms.backup(id, { bytesPerSecond: BYTES_PER_SECOND });
          const seconds = (performance.now() - started) / 1000;
          // QEMU lets a tenth of a second through at once.
          const least = (2 * DATA_BYTES) / BYTES_PER_SECOND - 0.2;
          assert.ok(seconds >= least, `${seconds} s, with the limit ${least} s at least`);
          assert.equal(result.statistics.bytesRead >= 2 * DATA_BYTES, true);
        });

        test('it is aborted within seconds, however low the limit', async () => {
          const controller = new AbortController();
          const abort = async (): Promise<number> => {
            // By then as much waits in QEMU as is asked of it at once.
            await sleep(3_000);
            controller.abort(new Error('stopped by the test'));
            return performance.now();
          };
          let aborted: Promise<number> | undefined;
          const report = new KeptReport();
          report.log = (line) => {
            if (line.startsWith('scsi0: read in full')) aborted ??= abort();
          };
          await assert.rejects(vms.backup(id, { ...CRAWL, signal: controller.signal, report }));
          const tookMs = performance.now() - ((await aborted) as number);
          assert.ok(tookMs > 0 && tookMs < ENDS_WITHIN_MS, `it ended ${tookMs} ms after it was aborted`);
          assert.deepEqual(report.warnings, []);
          assert.deepEqual(storageDaemons(vms.node.node.directory.run(id).path), []);
          if (state === 'running') await vms.assertTidy(id, []);
        });
      });
  });
}
