// The simulation beside one that is told in another way: a list of what happens, and the rules as the tests have them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { localPeriods } from '../../../src/datastore/prune/calendar.ts';
import { isWithoutRules, type KeepCounts } from '../../../src/datastore/prune/keep-rules.ts';
import { MAX_SIMULATED, simulatePrune } from '../../../src/datastore/prune/simulate.ts';
import { countsArbitrary, expectedKept, timesArbitrary } from './naive-rules.ts';
import { intlPeriods, inZone, ZONES } from './zones.ts';

const DAY = 24 * 3600;
const FIRST = Date.parse('2026-03-02T02:00:00Z') / 1000;
const daily = (count: number, every = DAY): number[] => Array.from({ length: count }, (_, n) => FIRST + n * every);

/** What is there after each thing that happens; at the same second the backup is first. */
function naive(
  backups: readonly number[],
  prunes: readonly number[] | null,
  counts: KeepCounts,
  calendar: typeof localPeriods,
): number[][] {
  const happens = [
    ...backups.map((time) => ({ time, what: 'backup' })),
    ...(prunes ?? backups).map((time) => ({ time, what: 'prune' })),
  ].sort((a, b) => a.time - b.time || a.what.localeCompare(b.what));
  let there: number[] = [];
  return happens.map(({ time, what }) => {
    if (what === 'backup') there = [...there, time];
    else if (!isWithoutRules(counts)) {
      const kept = expectedKept(there, counts, calendar);
      there = there.filter((each) => kept.has(each));
    }
    return there;
  });
}

for (const zone of ZONES) {
  test(`steps through time as a naive simulation does, in ${zone}`, () => {
    const calendar = intlPeriods(zone);
    inZone(zone, () =>
      fc.assert(
        fc.property(timesArbitrary, fc.option(timesArbitrary), countsArbitrary, (backups, prunes, counts) => {
          const { made, pruned, most, snapshots } = simulatePrune({ backups, prunes, counts });
          const steps = naive(backups, prunes, counts, calendar);
          const end = steps.at(-1) ?? [];
          assert.deepEqual(
            snapshots.map(({ time }) => time),
            end,
          );
          assert.equal(most, Math.max(0, ...steps.map(({ length }) => length)));
          assert.deepEqual([made, pruned], [backups.length, (prunes ?? backups).length]);
          const next = expectedKept(end, counts, calendar);
          for (const { time, keep, rule, reason } of snapshots) {
            assert.equal(rule, isWithoutRules(counts) ? 'keep-all' : (next.get(time) ?? null));
            assert.equal(keep, rule !== null);
            assert.ok(reason !== '');
          }
        }),
        { numRuns: 60 },
      ),
    );
  });
}

test('many prunes leave other snapshots than one at the end would', () => {
  inZone('UTC', () => {
    const counts = { 'keep-weekly': 1, 'keep-monthly': 1 };
    const backups = daily(40);
    const days = (prunes: number[] | null): string[] =>
      simulatePrune({ backups, prunes, counts }).snapshots.map(({ time }) => localPeriods(time).day);
    assert.deepEqual(days([backups.at(-1) as number]), ['2026-03-31', '2026-04-10']);
    // On 1 April the rule of weeks passed the last of March over, for it was of the same week.
    assert.deepEqual(days(null), ['2026-04-10']);
    assert.equal(simulatePrune({ backups, prunes: [], counts }).snapshots.length, 40);
  });
});

test('a prune at the second of a backup comes after it, and what is made later waits for the next', () => {
  inZone('UTC', () => {
    const backups = daily(3);
    const counts = { 'keep-last': 1 };
    const left = (prunes: number[]): (string | null)[] =>
      simulatePrune({ backups, prunes, counts }).snapshots.map(({ rule }) => rule);
    assert.deepEqual(left([FIRST + 2 * DAY]), ['keep-last']);
    assert.deepEqual(left([FIRST + 2 * DAY - 1]), [null, 'keep-last']);
    assert.deepEqual(left([FIRST - 1, FIRST + 9 * DAY]), ['keep-last']);
    assert.deepEqual(simulatePrune({ backups: [], prunes: [FIRST], counts }), {
      made: 0,
      pruned: 1,
      most: 0,
      snapshots: [],
    });
  });
});

test('ten years of nights take a second or two, and what is too much is refused', () => {
  inZone('Europe/Berlin', () => {
    const counts = { 'keep-last': 3, 'keep-daily': 14, 'keep-weekly': 8, 'keep-monthly': 12, 'keep-yearly': 10 };
    const begun = performance.now();
    const { snapshots, most } = simulatePrune({ backups: daily(3653), prunes: null, counts });
    assert.ok(performance.now() - begun < 5000);
    assert.ok(snapshots.length > 30 && snapshots.length <= 47 && most <= 48, `${snapshots.length} of ${most}`);
    const tooMany = daily(MAX_SIMULATED + 1);
    const few = { counts, backups: daily(2), prunes: null };
    assert.throws(() => simulatePrune({ ...few, backups: tooMany }), { code: 'too-many', message: /20000 backups/ });
    assert.throws(() => simulatePrune({ ...few, prunes: tooMany }), { code: 'too-many', message: /20000 prunes/ });
    const all = { backups: daily(MAX_SIMULATED), prunes: null };
    assert.throws(() => simulatePrune({ ...all, counts: { 'keep-last': 1_000_000 } }), { code: 'too-large' });
    assert.equal(simulatePrune({ ...all, counts: {} }).snapshots.length, MAX_SIMULATED);
  });
});
