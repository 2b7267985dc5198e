// Which snapshots of a group the keep rules keep: exactly as Proxmox Backup Server counts them. Pure: times in, times out.
import type { Periods } from './calendar.ts';

/** The rules in the order in which they choose: what one keeps, the next finds kept. */
export const KEEP_RULES = [
  'keep-last',
  'keep-hourly',
  'keep-daily',
  'keep-weekly',
  'keep-monthly',
  'keep-yearly',
] as const;
export type KeepRule = (typeof KEEP_RULES)[number];

/** How many periods each rule keeps; a rule that is absent, or 0, keeps none. */
export type KeepCounts = Readonly<Partial<Record<KeepRule, number>>>;

/** Rules were given, and all of them are 0. No rule at all is something else: it keeps everything. */
export function keepsNothing(counts: KeepCounts): boolean {
  const given = KEEP_RULES.map((rule) => counts[rule]).filter((count) => count !== undefined);
  return given.length > 0 && given.every((count) => count === 0);
}

export function isWithoutRules(counts: KeepCounts): boolean {
  return KEEP_RULES.every((rule) => counts[rule] === undefined);
}

/**
 * The snapshots that the rules keep, by time, each with the rule that chose it. `times` are Unix seconds of the snapshots that count, in any
 * order, none twice; `calendar` says in which periods a time lies. Of each period the newest snapshot is taken.
 */
export function keptByRules(
  times: readonly number[],
  counts: KeepCounts,
  calendar: (time: number) => Periods,
): Map<number, KeepRule> {
  const kept = new Map<number, KeepRule>();
  // A snapshot beside a kept one of its period is out for good: a later rule must not take it up again, though its own period may differ
  // (the week of a kept snapshot may reach into the month before).
  const passedOver = new Set<number>();
  const newestFirst = [...times].sort((a, b) => b - a).map((time) => ({ time, periods: calendar(time) }));
  for (const rule of KEEP_RULES) {
    const count = counts[rule] ?? 0;
    if (count === 0) continue;
    const periodOf = PERIOD_OF[rule];
    const covered = new Set(newestFirst.filter(({ time }) => kept.has(time)).map(periodOf));
    const taken = new Set<string>();
    for (const snapshot of newestFirst) {
      if (kept.has(snapshot.time) || passedOver.has(snapshot.time)) continue;
      const period = periodOf(snapshot);
      if (covered.has(period)) continue;
      if (taken.has(period)) {
        passedOver.add(snapshot.time);
        continue;
      }
      if (taken.size === count) break;
      taken.add(period);
      kept.set(snapshot.time, rule);
    }
  }
  return kept;
}

const PERIOD_OF: Readonly<Record<KeepRule, (snapshot: { time: number; periods: Periods }) => string>> = {
  'keep-last': ({ time }) => `${time}`,
  'keep-hourly': ({ periods }) => periods.hour,
  'keep-daily': ({ periods }) => periods.day,
  'keep-weekly': ({ periods }) => periods.week,
  'keep-monthly': ({ periods }) => periods.month,
  'keep-yearly': ({ periods }) => periods.year,
};
