// Kill -9 of the backup of a guest that writes all the time.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestAgent } from '../../src/guests/qmp/guest-agent.ts';
import { lookAtMachine, withMonitor } from '../../src/guests/vm/machine-state.ts';
import { resumeVm, suspendVm } from '../../src/guests/vm/pause.ts';
import { watchGuests } from '../../src/guests/watch/watch-guests.ts';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { ciPlan, describeFindings } from '../support/crash/plan.ts';
import { withSmallStorage } from '../support/guests/small-storage.ts';
import { reasonToSkipGuest } from '../support/guests/test-guest.ts';
import { KeptReport } from '../support/guests/vm-node.ts';
import { skipSmallDisk } from '../support/small-disk.ts';
import { KEYS, runVmKills, VmKillLab } from './vm-kills.ts';

const skip = skipWithoutBuild() || (await reasonToSkipGuest('mkfs.ext4'));

suite('kill -9 of the backup of a virtual machine', { skip, timeout: 600_000 }, () => {
  let lab: VmKillLab;
  before(async () => {
    lab = await VmKillLab.create(171);
  });
  after(async () => await lab?.close());

  test('the guest goes on, the next backup is right, nothing is left', async (t) => {
    // Each is judged by two whole backups and a comparison: half of the kills of a command that only stores.
    const { kills, seed } = ciPlan();
    const report = await runVmKills(lab, Math.ceil(kills / 2), seed);
    t.diagnostic(`seed ${seed}; ${report.notes}`);
    assert.equal(report.findings.length, 0, describeFindings(report));
  });

  test('a guest that was left frozen is thawed at once', async () => {
    const run = lab.vms.node.node.directory.run(lab.id);
    const agent = await GuestAgent.connect(run.guestAgent, { label: 'test' });
    assert.equal(await agent.freeze(), 1);
    agent.close();
    writeFileSync(run.frozenMarker, '');
    const { report } = await lab.vms.backup(lab.id);
    assert.match(report.warnings.join('\n'), /^1 file systems were left frozen .*; they are thawed$/);
    lab.assertNotHeld();
  });

  test('and by the watch', async () => {
    const run = lab.vms.node.node.directory.run(lab.id);
    const agent = await GuestAgent.connect(run.guestAgent, { label: 'test' });
    assert.equal(await agent.freeze(), 1);
    agent.close();
    writeFileSync(run.frozenMarker, '');
    const { warnings } = await watched(async () => !existsSync(run.frozenMarker));
    assert.deepEqual(warnings, [
      `VM ${lab.id}: 1 file systems were left frozen by an operation that was killed; they are thawed`,
    ]);
    await lab.guest.assertGoesOn();
  });

  for (const mode of ['suspend', 'stop'] as const) {
    const goesOn = async (): Promise<void> => {
      if (mode === 'stop') {
        await lab.guest.connect();
        await lab.write();
      }
      lab.assertNotHeld();
      await lab.guest.assertUnharmedAndRight();
    };

    test(`mode ${mode}, killed while the guest stands still: the next backup lets it run on`, async () => {
      await lab.killPaused(mode);
      const { report } = await lab.vms.backup(lab.id);
      assert.match(
        report.warnings.join('\n'),
        /^the guest was left paused by an operation that was killed; it runs on/,
      );
      assert.equal((await lookAtMachine(lab.vms.node.node, lab.id)).status, 'running');
      await goesOn();
    });

    test(`mode ${mode}, killed while the guest stands still: the watch lets it run on`, async () => {
      await lab.killPaused(mode);
      const { node } = lab.vms.node;
      const { warnings } = await watched(async () => !existsSync(node.directory.run(lab.id).pausedMarker));
      assert.deepEqual(warnings, [
        `VM ${lab.id}: the guest was left paused by an operation that was killed; it runs on`,
      ]);
      assert.equal((await lookAtMachine(node, lab.id)).status, 'running');
      await goesOn();
    });
  }

  test('a guest that its administrator paused stays so, also where a killed backup had paused it before', async () => {
    const { node } = lab.vms.node;
    await lab.killPaused('suspend');
    await suspendVm(node, lab.id, { skipLock: true });
    let looks = 0;
    await watched(async () => ++looks > 3);
    await lab.vms.backup(lab.id, { mode: 'suspend' });
    assert.equal((await lookAtMachine(node, lab.id)).status, 'paused');
    await resumeVm(node, lab.id, {});
    lab.assertNotHeld();
    await lab.guest.assertUnharmedAndRight();
  });

  test('what a killed operation marked is not believed of the next QEMU', async () => {
    const { frozenMarker, pausedMarker } = lab.vms.node.node.directory.run(lab.id);
    for (const path of [frozenMarker, pausedMarker]) writeFileSync(path, '');
    await lab.powerCycle();
    lab.assertNotHeld();
  });

  test('an NBD server and a limit that a killed backup left are ended, with nothing else of it there', async () => {
    await withMonitor(lab.vms.node.node, lab.id, async (monitor) => {
      const path = lab.vms.node.node.directory.run(lab.id).exports;
      await monitor.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } });
      await monitor.execute('object-add', { 'qom-type': 'throttle-group', id: 'hf-limit' });
    });
    await lab.guest.assertOneInstant(await lab.vms.backup(lab.id, { bytesPerSecond: 1 << 30 }));
  });

  test('fleece images that were left are deleted, whatever disk they are of', async () => {
    const storage = await lab.vms.node.node.storages.get('local');
    for (const key of ['scsi10', 'scsi1', 'scsi0'])
      await storage.allocate({ vmid: lab.id, sizeBytes: 65_536, format: 'raw', name: `vm-${lab.id}-fleece-${key}` });
    await lab.guest.assertOneInstant(await lab.vms.backup(lab.id));
    await lab.vms.assertTidy(lab.id, KEYS);
  });

  test('no room for the fleece: said before anything is done to the guest', { skip: skipSmallDisk() }, async () => {
    await withSmallStorage(lab.vms.node, 64 << 20, async (disk) => {
      const error = await lab.vms.backup(lab.id, { fleeceStorage: 'small' }).then(
        () => assert.fail('the backup succeeded'),
        (failure: unknown) => failure,
      );
      assert.match(String(error), /the fleece needs room, and less than 536870912 bytes are free there/);
      assert.equal((error as { code?: string }).code, 'disk-full');
      assert.deepEqual(
        readdirSync(disk.mountPath, { recursive: true }).filter((name) => /fleece/.test(String(name))),
        [],
      );
      await lab.guest.assertGoesOn();
    });
    await lab.guest.assertOneInstant(await lab.vms.backup(lab.id));
    await lab.vms.assertTidy(lab.id, KEYS);
  });

  test("the fleece's storage fills up meanwhile: the backup fails, no write of the guest does", {
    skip: skipSmallDisk(),
  }, async () => {
    await withSmallStorage(lab.vms.node, 600 << 20, async (disk) => {
      // All is read, slowly; when the disks are open and before they are read, the room is gone and the guest overwrites.
      const report = new KeptReport();
      let isFull = false;
      report.log = (line) => {
        if (isFull || !line.includes('read in full')) return;
        isFull = true;
        disk.fill();
        void lab.overwrite(4).catch(() => undefined);
      };
      const slow = { fleeceStorage: 'small', bytesPerSecond: 4 << 20, target: '00000000', report };
      await assert.rejects(lab.vms.backup(lab.id, slow), /the fleece could not take what the guest overwrote/);
      assert.ok(isFull);
      await lab.guest.assertGoesOn();
    });
    await lab.guest.assertOneInstant(await lab.vms.backup(lab.id));
    await lab.vms.assertTidy(lab.id, KEYS);
    await lab.guest.assertEveryByte();
  });

  /** What a watch of the node says until it is so. */
  async function watched(isSo: () => Promise<boolean>): Promise<KeptReport> {
    const ended = new AbortController();
    const report = new KeptReport();
    const watch = watchGuests(lab.vms.node.node, ended.signal, report, { lookMs: 100 });
    try {
      for (const deadline = performance.now() + 20_000; !(await isSo()); await sleep(100))
        assert.ok(performance.now() < deadline, `the watch did nothing: ${report.warnings.join('; ')}`);
    } finally {
      ended.abort();
      assert.equal(await watch, true);
    }
    return report;
  }
});
