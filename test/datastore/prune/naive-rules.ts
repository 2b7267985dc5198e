// The keep rules told in another way than the program tells them, and what to try them on.
import fc from 'fast-check';
import type { Periods } from '../../../src/datastore/prune/calendar.ts';
import { KEEP_RULES, type KeepCounts, type KeepRule } from '../../../src/datastore/prune/keep-rules.ts';

/**
 * The rules told in another way: of what no rule has spoken of and lies in no kept period, the newest of each period is a candidate; the
 * newest candidates are kept, and whatever else lies in their periods is spoken for.
 */
export function expectedKept(
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

export const PERIOD = {
  'keep-hourly': 'hour',
  'keep-daily': 'day',
  'keep-weekly': 'week',
  'keep-monthly': 'month',
  'keep-yearly': 'year',
} as const;

export const countsArbitrary: fc.Arbitrary<KeepCounts> = fc.record(
  Object.fromEntries(KEEP_RULES.map((rule) => [rule, fc.integer({ min: 0, max: 6 })])),
  { requiredKeys: [] },
);

/** Series as backups make them, dense and sparse, around a change of summer time, of the year, or anywhere. */
export const timesArbitrary = fc
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
