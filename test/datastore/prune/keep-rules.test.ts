// What the keep rules keep: the recorded plans of a Proxmox Backup Server, and properties in other time zones.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { localPeriods, type Periods } from '../../../src/datastore/prune/calendar.ts';
import {
  isWithoutRules,
  KEEP_RULES,
  type KeepCounts,
  type KeepRule,
  keepsNothing,
  keptByRules,
} from '../../../src/datastore/prune/keep-rules.ts';
import { intlPeriods, inZone, ZONES } from './zones.ts';

interface Vectors {
  readonly series: Readonly<Record<string, { times: number[]; cases: { options: KeepCounts; keep: number[] }[] }>>;
}
const { series } = JSON.parse(
  readFileSync(new URL('../../vectors/prune-plans.json', import.meta.url), 'utf8'),
) as Vectors;

const keep = (times: readonly number[], counts: KeepCounts): number[] =>
  [...keptByRules(times, counts, localPeriods).keys()].sort((a, b) => a - b);

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

/**
 * The rules told in another way: of what no rule has spoken of and lies in no kept period, the newest of each period is a candidate; the
 * newest candidates are kept, and whatever else lies in their periods is spoken for.
 */
function expectedKept(
  times: readonly number[],
  counts: KeepCounts,
  periods: (time: number) => Periods,
): Map<number, KeepRule> {
  const kept = new Map<number, KeepRule>();
  let open = [...times].sort((a, b) => b - a);
  for (const rule of KEEP_RULES) {
    const period = (time: number): string => (rule === 'keep-last' ? String(time) : periods(time)[PERIOD[rule]]);
    const covered = new Set([...kept.keys()].map(period));
    const free = open.filter((time) => !covered.has(period(time)));
    const candidates = free.filter((time) => !free.some((other) => other > time && period(other) === period(time)));
    const chosen = new Set(candidates.slice(0, counts[rule] ?? 0));
    const chosenPeriods = new Set([...chosen].map(period));
    for (const time of chosen) kept.set(time, rule);
    open = open.filter((time) => !chosen.has(time) && !(free.includes(time) && chosenPeriods.has(period(time))));
  }
  return kept;
}

const PERIOD = {
  'keep-hourly': 'hour',
  'keep-daily': 'day',
  'keep-weekly': 'week',
  'keep-monthly': 'month',
  'keep-yearly': 'year',
} as const;

const countsArbitrary: fc.Arbitrary<KeepCounts> = fc.record(
  Object.fromEntries(KEEP_RULES.map((rule) => [rule, fc.integer({ min: 0, max: 6 })])),
  { requiredKeys: [] },
);

/** Series as backups make them, dense and sparse, around a change of summer time, of the year, or anywhere. */
const timesArbitrary = fc
  .tuple(
    fc.constantFrom('2025-03-30T01:00:00Z', '2025-10-26T01:00:00Z', '2025-11-02T06:00:00Z', '2024-12-31T12:00:00Z'),
    fc.constantFrom(1200, 3600, 6 * 3600, 24 * 3600, 5 * 24 * 3600),
    fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }),
  )
  .map(([centre, step, gaps]) => {
    const all = gaps.reduce((sum, gap) => sum + gap, 0);
    let time = Date.parse(centre) / 1000 - Math.floor((all * step) / 40);
    return gaps.map((gap) => {
      time += Math.ceil((gap * step) / 20);
      return time;
    });
  });

for (const zone of ZONES) {
  test(`local periods of ${zone}: days of every length, ISO weeks, months`, () => {
    const periods = intlPeriods(zone);
    inZone(zone, () =>
      fc.assert(
        fc.property(timesArbitrary, countsArbitrary, (times, counts) => {
          const kept = keptByRules(times, counts, localPeriods);
          const expected = expectedKept(times, counts, periods);
          assert.deepEqual(
            [...kept].sort(([a], [b]) => a - b),
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
    assert.deepEqual(
      [...keptByRules([earlier, sameWeek, newest], counts, localPeriods)],
      [
        [newest, 'keep-weekly'],
        [earlier, 'keep-monthly'],
      ],
    );
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
