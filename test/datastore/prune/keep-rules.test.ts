// What the keep rules keep: the recorded plans of a Proxmox Backup Server, and properties in other time zones.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { localPeriods } from '../../../src/datastore/prune/calendar.ts';
import {
  chooseByRules,
  isWithoutRules,
  KEEP_RULES,
  type KeepCounts,
  type KeepRule,
  keepsNothing,
} from '../../../src/datastore/prune/keep-rules.ts';
import { countsArbitrary, expectedKept, timesArbitrary } from './naive-rules.ts';
import { intlPeriods, inZone, ZONES } from './zones.ts';

interface Vectors {
  readonly series: Readonly<Record<string, { times: number[]; cases: { options: KeepCounts; keep: number[] }[] }>>;
}
const { series } = JSON.parse(
  readFileSync(new URL('../../vectors/prune-plans.json', import.meta.url), 'utf8'),
) as Vectors;

const ruleByTime = (times: readonly number[], counts: KeepCounts): [number, KeepRule][] =>
  [...chooseByRules(times, counts, localPeriods).kept].map(([time, { rule }]) => [time, rule]);
const keep = (times: readonly number[], counts: KeepCounts): number[] =>
  ruleByTime(times, counts)
    .map(([time]) => time)
    .sort((a, b) => a - b);

test('the plans are those that a Proxmox Backup Server made of the same times', () => {
  let plans = 0;
  inZone('UTC', () => {
    for (const [name, { times, cases }] of Object.entries(series)) {
      for (const { options, keep: expected } of cases) {
        // No rule at all never comes here: it keeps everything, which is the plan's business.
        const kept = isWithoutRules(options) ? times : keep(times, options);
        assert.deepEqual(kept, expected, `${name} with ${JSON.stringify(options)}`);
        plans++;
      }
    }
  });
  assert.equal(plans, 90);
});

for (const zone of ZONES) {
  test(`local periods of ${zone}: days of every length, ISO weeks, months`, () => {
    const periods = intlPeriods(zone);
    inZone(zone, () =>
      fc.assert(
        fc.property(timesArbitrary, countsArbitrary, (times, counts) => {
          const kept = ruleByTime(times, counts);
          const expected = expectedKept(times, counts, periods);
          assert.deepEqual(
            kept.sort(([a], [b]) => a - b),
            [...expected].sort(([a], [b]) => a - b),
          );
        }),
        { numRuns: 150 },
      ),
    );
  });
}

test('what a plan keeps, the same rules keep again: a prune that was broken off goes on where it stopped', () => {
  inZone('Europe/Berlin', () =>
    fc.assert(
      fc.property(timesArbitrary, countsArbitrary, fc.integer({ min: 0 }), (times, counts, seed) => {
        const kept = keep(times, counts);
        const someLeft = times.filter((time, at) => kept.includes(time) || (seed >> (at % 31)) % 2 === 1);
        assert.deepEqual(keep(someLeft, counts), kept);
      }),
      { numRuns: 300 },
    ),
  );
});

test('the newest snapshot stays with any rule, and order does not matter', () => {
  fc.assert(
    fc.property(timesArbitrary, countsArbitrary, (times, counts) => {
      const kept = keep(times, counts);
      assert.deepEqual(keep([...times].reverse(), counts), kept);
      const isActive = KEEP_RULES.some((rule) => (counts[rule] ?? 0) > 0);
      assert.equal(kept.at(-1), isActive ? times.at(-1) : undefined);
    }),
    { numRuns: 100 },
  );
});

test('a week that reaches into the month before takes its snapshots there from the monthly rule', () => {
  inZone('UTC', () => {
    const [earlier, sameWeek, newest] = ['2025-12-20', '2025-12-31', '2026-01-02'].map(
      (day) => Date.parse(`${day}T01:00:00Z`) / 1000,
    ) as [number, number, number];
    const counts = { 'keep-weekly': 1, 'keep-monthly': 2 };
    assert.deepEqual(ruleByTime([earlier, sameWeek, newest], counts), [
      [newest, 'keep-weekly'],
      [earlier, 'keep-monthly'],
    ]);
    const { passedOver } = chooseByRules([earlier, sameWeek, newest], counts, localPeriods);
    assert.deepEqual([...passedOver], [[sameWeek, { rule: 'keep-weekly', keptInstead: newest }]]);
    assert.deepEqual(keep([earlier, sameWeek, newest], { 'keep-monthly': 2 }), [sameWeek, newest]);
  });
});

test('no rule, rules of 0, and others are told apart', () => {
  const of = (counts: KeepCounts): boolean[] => [isWithoutRules(counts), keepsNothing(counts)];
  assert.deepEqual(of({}), [true, false]);
  assert.deepEqual(of({ 'keep-last': 0 }), [false, true]);
  assert.deepEqual(of({ 'keep-last': 0, 'keep-yearly': 0 }), [false, true]);
  assert.deepEqual(of({ 'keep-last': 0, 'keep-yearly': 1 }), [false, false]);
});
