// Kill -9 while file trees go in and come out: a retry takes over what was stored, and `--existing changed` completes a restore.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { ciPlan, describeFindings } from '../support/crash/plan.ts';
import { skipFaults } from '../support/faults/faults.ts';
import { runKillPath } from './kill-paths.ts';
import { TREE_KILL_PATHS, TreeWorld } from './tree-kill-paths.ts';

suite('kill -9 with file trees', { skip: skipWithoutBuild() || skipFaults() }, () => {
  let world: TreeWorld;
  before(async () => {
    world = await TreeWorld.create(ciPlan().seed);
  });
  after(() => world.close());

  for (const path of TREE_KILL_PATHS) {
    test(path.name, async (t) => {
      // Thousands of names to compare after each kill: a fifth of the kills of images.
      const report = await runKillPath(world, path, { ...ciPlan(), kills: Math.ceil(ciPlan().kills / 5) });
      t.diagnostic(report.notes);
      assert.equal(report.findings.length, 0, describeFindings(report));
    });
  }
});
