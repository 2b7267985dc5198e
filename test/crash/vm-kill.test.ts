// Kill -9 of the backup of a guest that writes all the time.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { GuestAgent } from '../../src/guests/qmp/guest-agent.ts';
import { withMonitor } from '../../src/guests/vm/machine-state.ts';
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
    await lab.assertThawed();
  });

  test('an NBD server and a limit that a killed backup left are ended, with nothing else of it there', async () => {
    await withMonitor(lab.vms.node.node, lab.id, async (monitor) => {
      const path = lab.vms.node.node.directory.run(lab.id).exports;
      await monitor.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } });
      await monitor.execute('object-add', { 'qom-type': 'throttle-group', id: 'hf-limit' });
    });
    await lab.assertOneInstant(await lab.vms.backup(lab.id, { bytesPerSecond: 1 << 30 }));
  });

  test('fleece images that were left are deleted, whatever disk they are of', async () => {
    const storage = await lab.vms.node.node.storages.get('local');
    for (const key of ['scsi10', 'scsi1', 'scsi0'])
      await storage.allocate({ vmid: lab.id, sizeBytes: 65_536, format: 'raw', name: `vm-${lab.id}-fleece-${key}` });
    await lab.assertOneInstant(await lab.vms.backup(lab.id));
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
      await lab.assertGoesOn();
    });
    await lab.assertOneInstant(await lab.vms.backup(lab.id));
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
      await lab.assertGoesOn();
    });
    await lab.assertOneInstant(await lab.vms.backup(lab.id));
    await lab.vms.assertTidy(lab.id, KEYS);
    await lab.assertEveryByte();
  });
});
