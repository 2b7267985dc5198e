// Power cuts at flush boundaries and between, with an honest and with a volatile disk: nothing acknowledged is lost, the store opens by itself.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { ciPlan, describeFindings } from '../support/crash/plan.ts';
import { skipFaults } from '../support/faults/faults.ts';
import { skipPowerCut } from '../support/power-cut/rig.ts';
import { leftovers } from '../support/power-cut/scratch.ts';
import { POWER_CUT_PATHS, PowerCutLab } from './power-cut-paths.ts';

suite('power cuts', { skip: skipWithoutBuild() || skipPowerCut() || skipFaults() }, () => {
  let lab: PowerCutLab;
  before(() => {
    lab = new PowerCutLab(ciPlan().seed);
  });
  after(async () => {
    await lab.close();
    assert.deepEqual(leftovers(), []);
  });

  for (const path of POWER_CUT_PATHS) {
    test(path, async (t) => {
      const report = await lab.run(path, ciPlan());
      t.diagnostic(report.notes);
      assert.equal(report.findings.length, 0, describeFindings(report));
    });
  }
});
