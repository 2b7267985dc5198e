// Everything at once, in random interleavings: short runs with seeds that are said, so that a finding can be looked at again.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { ciPlan } from '../support/crash/plan.ts';
import { runInterleaving } from './interleavings.ts';

const { seed: FIRST_SEED } = ciPlan();
const SCALE = Number(process.env.HOLDFAST_CRASH_SCALE ?? 1);
const STEPS = 600;

suite('everything at once', { skip: skipWithoutBuild() }, () => {
  const done = new Map<string, number>();
  for (const [damages, runs] of [
    [false, 8],
    [true, 4],
  ] as const) {
    for (let run = 0; run < Math.ceil(runs * SCALE); run++) {
      const seed = FIRST_SEED * 1000 + run;
      test(`seed ${seed}${damages ? ', with damage' : ''}`, async (t) => {
        const report = await runInterleaving({ seed, steps: STEPS, damages });
        t.diagnostic(JSON.stringify(report.done));
        for (const [what, times] of Object.entries(report.done)) done.set(what, (done.get(what) ?? 0) + times);
      });
    }
  }

  test('nothing was left out', () => {
    const wanted = [
      'commit',
      'commit encrypted',
      'suspend',
      'forget',
      'prune',
      'verify',
      'gc',
      'packs dropped',
      'packs rewritten',
      'crash',
      'reopen',
    ];
    for (const what of [...wanted, 'read', 'read beside', 'damage'])
      assert.ok((done.get(what) ?? 0) > 0, `${what} was never done: ${JSON.stringify([...done])}`);
  });
});
