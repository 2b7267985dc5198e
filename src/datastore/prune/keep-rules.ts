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

export function isKeepRule(name: string): name is KeepRule {
  return (KEEP_RULES as readonly string[]).includes(name);
}

/** How many periods each rule keeps; a rule that is absent, or 0, keeps none. */
export type KeepCounts = Readonly<Partial<Record<KeepRule, number>>>;

/** The rules that are given, out of options that may have others beside them. */
export function givenCounts(options: KeepCounts): KeepCounts {
  const given = KEEP_RULES.filter((rule) => options[rule] !== undefined).map((rule) => [rule, options[rule]]);
  return Object.fromEntries(given);
}

/** Rules were given, and all of them are 0. No rule at all is something else: it keeps everything. */
export function keepsNothing(counts: KeepCounts): boolean {
  const given = KEEP_RULES.map((rule) => counts[rule]).filter((count) => count !== undefined);
  return given.length > 0 && given.every((count) => count === 0);
}

export function isWithoutRules(counts: KeepCounts): boolean {
  return KEEP_RULES.every((rule) => counts[rule] === undefined);
}

/** What the rules make of the snapshots of a group; whatever is in neither map goes, and no rule ever came to it. */
export interface Choice {
  /** By time. */
  readonly kept: ReadonlyMap<
    number,
    { readonly rule: KeepRule /** Of the rule's periods, from 1. */; readonly place: number }
  >;
  /** Beside a kept one of its period: out for good. */
  readonly passedOver: ReadonlyMap<number, { readonly rule: KeepRule; readonly keptInstead: number }>;
}

/**
 * What the rules keep. `times` are Unix seconds of the snapshots that count, in any order, none twice; `calendar` says in which periods a
 * time lies. Of each period the newest snapshot is taken.
 */
export function chooseByRules(
  times: readonly number[],
  counts: KeepCounts,
  calendar: (time: number) => Periods,
): Choice {
  const kept = new Map<number, { rule: KeepRule; place: number }>();
  // A snapshot beside a kept one of its period is out for good: a later rule must not take it up again, though its own period may differ
  // (the week of a kept snapshot may reach into the month before).
  const passedOver = new Map<number, { rule: KeepRule; keptInstead: number }>();
  const newestFirst = [...times].sort((a, b) => b - a).map((time) => ({ time, periods: calendar(time) }));
  for (const rule of KEEP_RULES) {
    const count = counts[rule] ?? 0;
    if (count === 0) continue;
    const periodOf = ({ time, periods }: { time: number; periods: Periods }) => periodIn(rule, time, periods);
    const covered = new Set(newestFirst.filter(({ time }) => kept.has(time)).map(periodOf));
    const taken = new Map<string, number>();
    for (const snapshot of newestFirst) {
      const { time } = snapshot;
      if (kept.has(time) || passedOver.has(time)) continue;
      const period = periodOf(snapshot);
      if (covered.has(period)) continue;
      const keptInstead = taken.get(period);
      if (keptInstead !== undefined) {
        passedOver.set(time, { rule, keptInstead });
        continue;
      }
      if (taken.size === count) break;
      taken.set(period, time);
      kept.set(time, { rule, place: taken.size });
    }
  }
  return { kept, passedOver };
}

/** The period of a rule in which a time lies; of `keep-last` each time is one. */
export function periodIn(rule: KeepRule, time: number, periods: Periods): string {
  return rule === 'keep-last' ? `${time}` : periods[PERIOD_OF[rule]];
}

const PERIOD_OF = {
  'keep-hourly': 'hour',
  'keep-daily': 'day',
  'keep-weekly': 'week',
  'keep-monthly': 'month',
  'keep-yearly': 'year',
} as const satisfies Readonly<Record<Exclude<KeepRule, 'keep-last'>, keyof Periods>>;
