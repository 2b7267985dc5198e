// Why a snapshot stays or goes, in a sentence, of what the keep rules chose. Pure, as they are.
import { formatTime } from '../../schema/names.ts';
import type { Periods } from './calendar.ts';
import { type Choice, KEEP_RULES, type KeepCounts, type KeepRule, periodIn } from './keep-rules.ts';

/** The snapshots of a group, by time. */
export interface Explained {
  /** Those that the rules chose from. */
  readonly counting: readonly number[];
  /** Those that take nobody's place, such as protected ones. */
  readonly aside: readonly number[];
}

/**
 * What says why a counting snapshot stays or goes by the rules; other snapshots that it names are kept by them. `calendar` is asked often: give
 * one that remembers.
 */
export function explainChoice(
  { counting, aside }: Explained,
  counts: KeepCounts,
  { kept, passedOver }: Choice,
  calendar: (time: number) => Periods,
): (time: number) => string {
  const active = KEEP_RULES.filter((rule) => (counts[rule] ?? 0) > 0);
  const all = [...counting, ...aside];
  const periodOf = (rule: KeepRule, time: number): string => periodIn(rule, time, calendar(time));
  // Of each rule's kept periods the newest snapshot that is there at all.
  const newest = new Map(
    active.map((rule) => {
      const own = [...kept].filter(([, by]) => by.rule === rule).map(([time]) => periodOf(rule, time));
      const periods = new Set(own);
      const inThem = all.filter((time) => periods.has(periodOf(rule, time)));
      return [rule, newestByPeriod(inThem, (time) => periodOf(rule, time))];
    }),
  );
  // Of each rule what earlier ones keep: in their periods it keeps nothing more.
  const covered = new Map(
    active.map((rule) => {
      const earlier = [...kept].filter(([, by]) => KEEP_RULES.indexOf(by.rule) < KEEP_RULES.indexOf(rule));
      return [
        rule,
        newestByPeriod(
          earlier.map(([time]) => time),
          (time) => periodOf(rule, time),
        ),
      ];
    }),
  );

  const whyKept = (time: number, rule: KeepRule, place: number): string => {
    const count = counts[rule] ?? 0;
    const begin = `${rule} ${place} of ${count}`;
    if (rule === 'keep-last') {
      const among = place === 1 ? 'the newest' : `one of the ${count} newest`;
      const isPassed = aside.some((other) => other > time);
      return `${begin}: ${among}${isPassed ? (place === 1 ? ' that counts' : ' that count') : ''}`;
    }
    const period = periodOf(rule, time);
    const which = newest.get(rule)?.get(period) === time ? 'the newest' : 'the newest that still counts';
    return `${begin}: ${which} of ${periodText(rule, period)}`;
  };
  const whyGone = (time: number): string => {
    const passed = passedOver.get(time);
    if (passed !== undefined) {
      const period = periodText(passed.rule, periodOf(passed.rule, time));
      return `${passed.rule} keeps the newer ${formatTime(passed.keptInstead)} of ${period}`;
    }
    if (active.length === 0) return 'every rule is 0 and keeps nothing';
    const beyond: string[] = [];
    const already: string[] = [];
    const keepers: number[] = [];
    for (const rule of active) {
      const period = periodOf(rule, time);
      const keeper = covered.get(rule)?.get(period);
      if (keeper === undefined) beyond.push(`the ${reachText(rule, counts[rule] as number)} of ${rule}`);
      // What has the day has its week and month too: said once.
      else if (!keepers.some((other) => periodOf(rule, other) === period)) {
        keepers.push(keeper);
        already.push(`${periodText(rule, period)} has ${formatTime(keeper)} already (${kept.get(keeper)?.rule})`);
      }
    }
    const outside = beyond.length === 0 ? [] : [`beyond ${listText(beyond)}`];
    return [...outside, ...already].join('; ');
  };
  return (time) => {
    const by = kept.get(time);
    return by === undefined ? whyGone(time) : whyKept(time, by.rule, by.place);
  };
}

function newestByPeriod(times: readonly number[], periodOf: (time: number) => string): Map<string, number> {
  const newest = new Map<string, number>();
  for (const time of times) {
    const period = periodOf(time);
    newest.set(period, Math.max(time, newest.get(period) ?? time));
  }
  return newest;
}

/** `the week from 2026-11-16`; of `keep-last` there is none to name. */
function periodText(rule: KeepRule, period: string): string {
  if (rule === 'keep-hourly') return `the hour from ${period}`;
  return rule === 'keep-weekly' ? `the week from ${period}` : period;
}

const UNIT: Readonly<Record<Exclude<KeepRule, 'keep-last'>, string>> = {
  'keep-hourly': 'hour',
  'keep-daily': 'day',
  'keep-weekly': 'week',
  'keep-monthly': 'month',
  'keep-yearly': 'year',
};

/** `7 days`. */
function reachText(rule: KeepRule, count: number): string {
  if (rule === 'keep-last') return `${count} newest`;
  return `${count} ${UNIT[rule]}${count === 1 ? '' : 's'}`;
}

/** `a, b and c`. */
function listText(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;
}
