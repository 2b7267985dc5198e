// holdfast prune simulate: what keep rules and a schedule come to, without a datastore.
import type { Command } from 'commander';
import { localZone } from '../../datastore/prune/calendar.ts';
import { isWithoutRules } from '../../datastore/prune/keep-rules.ts';
import { MAX_SIMULATED, type Simulation, simulatePrune } from '../../datastore/prune/simulate.ts';
import { MAX_TIME, parseTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { addKeepOptions, type KeepOptions, keepCounts } from '../keep-options.ts';
import { localText } from '../local-text.ts';
import { print, table } from '../output.ts';
import { type CommonOptions, warn } from '../repository.ts';
import { wholeNumber } from '../whole-number.ts';

const USUAL_SCHEDULE = '02:00';
const USUAL_DAYS = 365;
const MAX_DAYS = 40_000;
/** Of prune itself: commander takes them here too. */
const NOT_TAKEN = ['group', 'allGroups', 'dryRun', 'explain', 'forceEmpty'] as const;

interface SimulateOptions extends CommonOptions, KeepOptions {
  readonly schedule?: string[];
  readonly pruneSchedule?: string[];
  readonly from?: string;
  readonly until?: string;
  readonly days?: string;
}

/** Unix seconds, both included. */
interface Span {
  readonly from: number;
  readonly until: number;
}

export function addSimulateCommand(prune: Command): void {
  const simulate = prune
    .command('simulate')
    .description('which snapshots keep rules would leave of backups by a schedule; needs no datastore')
    .option('--schedule <EVENT...>', `when backups are made: calendar events; ${USUAL_SCHEDULE} without it`)
    .option('--prune-schedule <EVENT...>', 'when prune runs; without it after each backup')
    .option('--from <DATE>', 'the first day, or a time')
    .option('--until <DATE>', 'the last day, or a time; now without it')
    .option('--days <N>', `so many days in place of --from or --until; ${USUAL_DAYS} without any`);
  addKeepOptions(simulate);
  simulate.action(async (_, command: Command) => await simulates(command.optsWithGlobals()));
}

async function simulates(options: SimulateOptions): Promise<void> {
  for (const name of NOT_TAKEN) {
    if (!(name in options)) continue;
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new HoldfastError('bad-argument', `prune simulate works on no datastore: leave --${flag} away`);
  }
  const counts = keepCounts(options);
  const zone = localZone();
  if (zone.warning !== undefined) warn(zone.warning);
  if (isWithoutRules(counts)) warn('no keep rule was given (such as --keep-daily 7): every snapshot is kept');
  const span = spanOf(options, new Date());
  const { schedule = [USUAL_SCHEDULE], pruneSchedule } = options;
  const backups = await slotsOf(schedule, span);
  if (backups.length === 0) warn(`--schedule ${schedule.join(' ')} comes to no backup in this time`);
  const prunes = pruneSchedule === undefined ? null : await slotsOf(pruneSchedule, span);
  const simulation = simulatePrune({ backups, prunes, counts });
  const snapshots = simulation.snapshots.map(({ time, ...rest }) => ({ time, local: localText(time * 1000), ...rest }));
  const summary = { kept: snapshots.length, oldest: snapshots[0]?.time ?? null };
  const result = { zone: zone.name, ...span, ...simulation, ...summary, snapshots };
  print(options.outputFormat, result, () => describe(simulation, span, zone.name));
}

/** Slots of all schedules, each second once; more than can be simulated are not gone through. */
async function slotsOf(schedules: readonly string[], { from, until }: Span): Promise<number[]> {
  const { analyzeSchedule } = await import('../../daemon/jobs/server-jobs.ts');
  const slots = new Set<number>();
  for (const schedule of schedules) {
    const found = analyzeSchedule(schedule, MAX_SIMULATED + 1, from * 1000 - 1, until * 1000).slots;
    for (const ms of found) slots.add(ms / 1000);
    if (slots.size > MAX_SIMULATED) break;
  }
  return [...slots].sort((a, b) => a - b);
}

/** @throws `bad-argument`, `bad-name` for what is no date. */
function spanOf({ from, until, days }: SimulateOptions, now: Date): Span {
  if (from !== undefined && until !== undefined && days !== undefined)
    throw new HoldfastError('bad-argument', 'give two of --from, --until and --days, not all three');
  const count = days === undefined ? undefined : wholeNumber('--days', days, 1, MAX_DAYS);
  const first = from === undefined ? undefined : dayOrTime(from, 0);
  const last =
    until !== undefined
      ? dayOrTime(until, 1)
      : first !== undefined && count !== undefined
        ? shifted(first, count) - 1
        : Math.floor(now.getTime() / 1000);
  const span = { from: first ?? shifted(last, -(count ?? USUAL_DAYS)) + 1, until: last };
  if (span.from > span.until)
    throw new HoldfastError(
      'bad-argument',
      `the simulation would begin at ${localText(span.from * 1000)} and end before it, at ${localText(span.until * 1000)}`,
    );
  if (span.from < 0 || span.until > MAX_TIME)
    throw new HoldfastError('bad-argument', 'a simulation is of the years 1970 to 9999');
  return span;
}

/** A day of the calendar, as its first second or its last one, or a time. Unix seconds. */
function dayOrTime(text: string, daysOn: 0 | 1): number {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text) ?? [];
  if (year === undefined) return parseTime(text);
  const date = new Date(Number(year), Number(month) - 1, Number(day));
  if (date.getFullYear() !== Number(year) || date.getMonth() !== Number(month) - 1 || date.getDate() !== Number(day))
    throw new HoldfastError('bad-argument', `${text} is no day; write one such as 2026-11-22`);
  return Math.floor(date.setDate(date.getDate() + daysOn) / 1000) - daysOn;
}

/** The same time of the day so many days on. */
function shifted(time: number, days: number): number {
  const date = new Date(time * 1000);
  return Math.floor(date.setDate(date.getDate() + days) / 1000);
}

function describe({ made, pruned, most, snapshots }: Simulation, { from, until }: Span, zone: string): string {
  const rows = snapshots.map(({ time, keep, reason }) => [localText(time * 1000), keep ? 'keep' : 'remove', reason]);
  const [oldest] = snapshots;
  const days = oldest === undefined ? 0 : Math.floor((until - oldest.time) / 86_400);
  const age = oldest === undefined ? '' : `, the oldest ${days} ${days === 1 ? 'day' : 'days'} old`;
  const [first, last] = [from, until].map((time) => localText(time * 1000));
  return [
    table(['made', 'next prune', 'reason'], rows),
    '',
    `${made} snapshots made from ${first} to ${last}, pruned ${pruned} times`,
    `${snapshots.length} are there at the end${age}; there were at most ${most}`,
    `days and weeks are those of ${zone}`,
  ].join('\n');
}
