// Kill -9 in every path that changes something: what was reported stays, the next command needs no repair, a retry continues.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { ciPlan, describeFindings } from '../support/crash/plan.ts';
import { skipFaults } from '../support/faults/faults.ts';
import { leftovers } from '../support/power-cut/scratch.ts';
import { KILL_PATHS, runKillPath, World } from './kill-paths.ts';

suite('kill -9', { skip: skipWithoutBuild() || skipFaults() }, () => {
  let world: World;
  before(async () => {
    world = await World.create(ciPlan().seed);
  });
  after(async () => {
    await world.close();
    assert.deepEqual(leftovers(), []);
  });

  for (const path of KILL_PATHS) {
    test(path.name, async (t) => {
      const report = await runKillPath(world, path, ciPlan());
      t.diagnostic(report.notes);
      assert.equal(report.findings.length, 0, describeFindings(report));
    });
  }
});
