// Backups of a real guest that writes all the time: what is restored must be exactly what its disks were at one instant.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DiskBitmap, listBitmaps } from '../../../src/guests/bitmaps/qemu-bitmaps.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { shutdownVm } from '../../../src/guests/vm/shutdown.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import type { GuestPort } from '../../support/guests/guest-port.ts';
import { writtenBlocks } from '../../support/guests/test-blocks.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';
import { WritingGuest } from './writing-guest.ts';

const MIB = 1 << 20;
const KEYS = ['scsi0', 'scsi1'];
/** Incrementals in a row while the guest writes; the soak does sixty. */
const ROUNDS = Number(process.env.HOLDFAST_VM_ROUNDS ?? 12);
const skip = await reasonToSkipGuest();

suite('the backup of a virtual machine', { skip, timeout: 300_000 }, () => {
  let guest: WritingGuest;
  let vms: VmBackups;
  let id: GuestId;
  let port: GuestPort;
  /** The guest's names of scsi0 and scsi1. */
  let a: string;
  let b: string;

  before(async () => {
    const load = { offset: 32 * MIB, length: 16 * MIB };
    guest = await WritingGuest.create({
      number: 101,
      sizeMiB: 64,
      load,
      settings: { name: 'counter', description: 'x' },
    });
    ({ vms, id } = guest);
    await start();
  });

  after(async () => await guest?.remove());

  async function start(report = new KeptReport()): Promise<void> {
    await guest.start(report);
    port = guest.port;
    [a, b] = [guest.nameOf('scsi0'), guest.nameOf('scsi1')];
  }

  test('the first is full, says so, and has everything', async () => {
    await port.ask(`write ${a} ${8 * MIB} ${2 * MIB} 7`);
    const result = await vms.backup(id);
    assert.deepEqual(result.report.warnings, []);
    assert.ok(result.report.logs.includes('scsi0: read in full, for it is the first backup of this guest there'));
    const restored = await vms.restored(result, 'scsi0');
    assert.equal(statSync(restored).size, 64 * MIB);
    assert.ok(
      readFileSync(restored)
        .subarray(8 * MIB, 10 * MIB)
        .equals(writtenBlocks(8 * MIB, 2 * MIB, 7)),
    );
    const config = await vms.restoredConfig(result);
    assert.match(config, /^name: counter$/m);
    assert.match(config, /^#qmdump#map:scsi0:drive-scsi0:local:qcow2:$/m);
    assert.doesNotMatch(config, /^lock:/m);
    await vms.assertTidy(id, KEYS);
  });

  test('the next read what was written, and a sample', async () => {
    await port.ask(`write ${a} ${20 * MIB} ${MIB} 8`);
    const before = await readBytes();
    const result = await vms.backup(id);
    assert.match(result.report.logs.join('\n'), /scsi0: incremental since vm\/101\/.*, 1048576 of 67108864 bytes/);
    assert.match(result.report.logs.join('\n'), /scsi1: incremental since .*, 0 of 67108864 bytes/);
    const { bytesRead, bytesSampled } = result.statistics;
    assert.ok(bytesRead >= MIB && bytesRead < 2 * MIB, `${bytesRead} bytes were read`);
    // Nothing else was read from below, but the edges of chunks and QEMU's own tables.
    const more = (await readBytes()) - before;
    assert.ok(
      more >= MIB && more <= bytesRead + bytesSampled + MIB,
      `QEMU read ${more} bytes for ${bytesRead} and ${bytesSampled}`,
    );
    const restored = readFileSync(await vms.restored(result, 'scsi0'));
    assert.ok(restored.subarray(20 * MIB, 21 * MIB).equals(writtenBlocks(20 * MIB, MIB, 8)));
    assert.ok(restored.subarray(8 * MIB, 10 * MIB).equals(writtenBlocks(8 * MIB, 2 * MIB, 7)));
  });

  test('while it reads, the new bitmaps record and the old ones do not', async () => {
    let seen: Promise<DiskBitmap[]> | undefined;
    const look = async (): Promise<DiskBitmap[]> => await withMonitor(vms.node.node, id, listBitmaps);
    const onProgress = (name: string): void => {
      if (name.endsWith('.img')) seen ??= look();
    };
    await vms.backup(id, { backup: { ...vms.parts(id), onProgress } });
    const bitmaps = (await seen) as DiskBitmap[];
    for (const key of KEYS) {
      const ours = bitmaps.filter((bitmap) => bitmap.key === key).sort((x, y) => x.number - y.number);
      assert.deepEqual(
        ours.map(({ isRecording }) => isRecording),
        [false, true],
        key,
      );
    }
  });

  test(`${ROUNDS} in a row under a writing guest: each is of one instant on both disks`, async () => {
    await guest.write();
    let last = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const result = await vms.backup(id);
      assert.deepEqual(result.report.warnings, []);
      assert.match(result.report.logs.join('\n'), /scsi0: incremental/);
      const counter = await guest.assertOneInstant(result);
      assert.ok(counter > last, `round ${round}: ${counter} after ${last}`);
      last = counter;
    }
    await guest.assertGoesOn();
    await port.ask('load STOP');
    await port.ask('counter STOP');
    await vms.assertTidy(id, KEYS);
  });

  test('a guest that stands still is backed up exactly', async () => {
    await guest.assertEveryByte();
  });

  test('two targets have bitmaps of their own', async () => {
    const other = await VmBackups.create();
    try {
      const first = await vms.backup(id, {}, other.store);
      assert.match(first.report.logs.join('\n'), /scsi0: read in full, for it is the first/);
      await port.ask(`write ${b} ${4 * MIB} 65536 9`);
      const here = await vms.backup(id);
      assert.match(here.report.logs.join('\n'), /scsi1: incremental since .*, 65536 of/);
      const there = await vms.backup(id, {}, other.store);
      assert.match(there.report.logs.join('\n'), /scsi1: incremental since .*, 65536 of/);
    } finally {
      await other.remove();
    }
  });

  test('bitmaps outlive power cycles: stop, shutdown, and a guest that powers itself off', async () => {
    await vms.backup(id);
    await port.ask(`write ${a} ${5 * MIB} 65536 10`);
    await stopVm(vms.node.node, id, {}, new KeptReport());
    assert.equal((await lookAtMachine(vms.node.node, id)).status, 'stopped');
    await start();
    await port.ask(`write ${b} ${5 * MIB} 65536 11`);
    await shutdownVm(vms.node.node, id, { timeoutMs: 30_000 }, new KeptReport());
    await start();
    await port.ask(`write ${b} ${6 * MIB} 65536 12`);
    await port.ask('poweroff');
    for (let tries = 0; (await lookAtMachine(vms.node.node, id)).status !== 'shutdown'; tries++) {
      assert.ok(tries < 150, 'the guest powers itself off');
      await sleep(200);
    }
    await start();
    const result = await vms.backup(id);
    const said = result.report.logs.join('\n');
    assert.match(said, /scsi0: incremental since .*, 65536 of/, said);
    assert.match(said, /scsi1: incremental since .*, 131072 of/, said);
    assert.ok(
      readFileSync(await vms.restored(result, 'scsi0'))
        .subarray(5 * MIB, 5 * MIB + 65536)
        .equals(writtenBlocks(5 * MIB, 65536, 10)),
    );
    const image = readFileSync(await vms.restored(result, 'scsi1'));
    assert.ok(image.subarray(5 * MIB, 5 * MIB + 65536).equals(writtenBlocks(5 * MIB, 65536, 11)));
    assert.ok(image.subarray(6 * MIB, 6 * MIB + 65536).equals(writtenBlocks(6 * MIB, 65536, 12)));
  });

  test('a guest that does not run is backed up too, and its bitmaps go on', async () => {
    await port.ask(`write ${a} ${9 * MIB} 65536 13`);
    await shutdownVm(vms.node.node, id, { timeoutMs: 30_000 }, new KeptReport());
    const result = await vms.backup(id);
    assert.match(result.report.logs.join('\n'), /scsi0: incremental since .*, 65536 of/);
    assert.match(result.report.logs.join('\n'), /scsi1: incremental since .*, 0 of/);
    for (const key of KEYS)
      assert.ok(
        readFileSync(await vms.node.rawCopy(id, key)).equals(readFileSync(await vms.restored(result, key))),
        key,
      );
    const again = await vms.backup(id);
    assert.match(
      again.report.logs.join('\n'),
      /scsi0: incremental since .*, 0 of[\s\S]*scsi1: incremental since .*, 0 of/,
    );
    await start();
    await port.ask(`write ${b} ${3 * MIB} 65536 14`);
    const running = await vms.backup(id);
    assert.match(
      running.report.logs.join('\n'),
      /scsi0: incremental since .*, 0 of[\s\S]*scsi1: incremental since .*, 65536 of/,
    );
  });

  test('QEMU that is killed costs a full read of what was in doubt, and says why', async () => {
    await port.ask(`counter START ${a} ${b}`);
    const { pid } = await lookAtMachine(vms.node.node, id);
    process.kill(pid as number, 'SIGKILL');
    while ((await lookAtMachine(vms.node.node, id)).pid !== undefined) await sleep(50);
    const report = new KeptReport();
    await start(report);
    assert.match(report.warnings.join('\n'), /scsi0: QEMU had ended without storing what changed/);
    const result = await vms.backup(id);
    assert.match(result.report.logs.join('\n'), /scsi0: read in full, for its bitmap is gone/);
    assert.match(result.report.logs.join('\n'), /scsi1: read in full, for its bitmap is gone/);
    await vms.assertTidy(id, KEYS);
  });

  /** What QEMU has read from its files, by the kernel's count; what comes over sockets is not in it. */
  async function readBytes(): Promise<number> {
    const { pid } = await lookAtMachine(vms.node.node, id);
    return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
  }
});
