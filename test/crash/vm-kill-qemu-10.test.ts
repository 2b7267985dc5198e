// The same on QEMU 10, in short: backups under load, kills, and a power cycle with sidecars.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { ciPlan, describeFindings } from '../support/crash/plan.ts';
import { nodeQemuOf, qemu10 } from '../support/guests/qemu-builds.ts';
import { reasonToSkipGuest } from '../support/guests/test-guest.ts';
import { KEYS, runVmKills, VmKillLab } from './vm-kills.ts';

const skip = skipWithoutBuild() || qemu10.skip || (await reasonToSkipGuest('mkfs.ext4'));
if (skip !== false) console.log(`skipped QEMU 10: ${skip}`);

suite(`backups of virtual machines on ${qemu10.name}`, { skip, timeout: 600_000 }, () => {
  let lab: VmKillLab;
  before(async () => {
    lab = await VmKillLab.create(172, nodeQemuOf(qemu10));
  });
  after(async () => await lab?.close());

  test('a full one and incrementals under load, and kills', async (t) => {
    const { kills, seed } = ciPlan();
    // Right after the filters are in, and frozen.
    const report = await runVmKills(lab, Math.ceil(kills / 10), seed);
    t.diagnostic(`seed ${seed}; ${report.notes}`);
    assert.equal(report.findings.length, 0, describeFindings(report));
  });

  test('bitmaps outlive a power cycle', async () => {
    await lab.vms.backup(lab.id);
    await lab.powerCycle();
    const result = await lab.vms.backup(lab.id);
    for (const key of KEYS) assert.match(result.report.logs.join('\n'), new RegExp(`${key}: incremental`));
    await lab.guest.assertOneInstant(result);
    await lab.vms.assertTidy(lab.id, KEYS);
  });
});
