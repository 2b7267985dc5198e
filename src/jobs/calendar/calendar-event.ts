// Calendar events: the schedules of Proxmox and systemd.timer, `[WEEKDAYS] [[YEARS-]MONTHS-DAYS] [[HOURS:]MINUTES[:SECONDS]] [ZONE]`, each part a list of
// numbers, ranges `a..b` and steps `a/n`, `a..b/n`, `*/n`. Days after `~` count from the end of the month. What systemd refuses and Proxmox takes is minutes alone
// (`*/5`) and a step after `*`. docs/operations.md ("Schedules") is the same for readers.
import { HoldfastError } from '../../util/errors.ts';
import { isZone } from './zone.ts';

/** What systemd counts to. */
export const LAST_YEAR = 2199;
const FIRST_YEAR = 1970;
/** What Proxmox's API takes. */
const MAX_LENGTH = 128;

export interface CalendarEvent {
  readonly text: string;
  /** 0 = Sunday; undefined for every day. */
  readonly weekdays: ReadonlySet<number> | undefined;
  readonly years: readonly Span[];
  readonly months: readonly number[];
  readonly days: readonly Span[];
  /** Days count from the end of the month: 1 is its last, and steps begin at the one that is farthest from it. */
  readonly isFromMonthEnd: boolean;
  readonly hours: readonly number[];
  readonly minutes: readonly number[];
  readonly seconds: readonly number[];
  /** IANA name; undefined for the zone of whoever keeps the schedule. */
  readonly zone: string | undefined;
}

/** `start`, `start + step`, … up to `stop`. */
export interface Span {
  readonly start: number;
  readonly stop: number;
  readonly step: number;
}

interface Bounds {
  readonly what: string;
  readonly least: number;
  readonly most: number;
}

const YEAR: Bounds = { what: 'year', least: FIRST_YEAR, most: LAST_YEAR };
const MONTH: Bounds = { what: 'month', least: 1, most: 12 };
const DAY: Bounds = { what: 'day', least: 1, most: 31 };
const HOUR: Bounds = { what: 'hour', least: 0, most: 23 };
const MINUTE: Bounds = { what: 'minute', least: 0, most: 59 };
const SECOND: Bounds = { what: 'second', least: 0, most: 59 };

const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

const WORDS: Readonly<Record<string, string>> = {
  minutely: '*-*-* *:*:00',
  hourly: '*-*-* *:00:00',
  daily: '*-*-* 00:00:00',
  weekly: 'mon *-*-* 00:00:00',
  monthly: '*-*-01 00:00:00',
  quarterly: '*-01,04,07,10-01 00:00:00',
  semiannually: '*-01,07-01 00:00:00',
  yearly: '*-01-01 00:00:00',
};
const SAME_WORDS: Readonly<Record<string, string>> = {
  'semi-annually': 'semiannually',
  biannually: 'semiannually',
  'bi-annually': 'semiannually',
  annually: 'yearly',
  anually: 'yearly',
};

/** @throws `bad-argument` that names the part that is wrong. */
export function parseCalendarEvent(text: string): CalendarEvent {
  const refuse = (why: string): never => {
    const help = 'a schedule is like "02:30", "sat 18:15", "mon..fri 8..17:0/15", "*-*-01 03:00" or "daily"';
    const schedule = text.slice(0, MAX_LENGTH);
    throw new HoldfastError('bad-argument', `schedule "${schedule}": ${why}; ${help}`, { data: { schedule } });
  };
  if (text.length > MAX_LENGTH) refuse(`more than ${MAX_LENGTH} characters`);
  const [first = '', ...others] = text.trim().split(/\s+/);
  if (first === '') refuse('there is no day and no time in it');
  const word = first.toLowerCase();
  const known = WORDS[SAME_WORDS[word] ?? word];
  const parts = known === undefined ? [first, ...others] : [...known.split(' '), ...others];
  const weekdays = /^[a-z]/i.test(parts[0] ?? '') ? readWeekdays(parts.shift()!, refuse) : undefined;
  const date = /^[^:/a-z]*[\d*][^:a-z]*[-~]/i.test(parts[0] ?? '') ? parts.shift() : undefined;
  const time = /^[\d*]/.test(parts[0] ?? '') ? parts.shift() : undefined;
  const zone = parts.shift();
  if (zone !== undefined && !isZone(zone)) refuse(`"${zone}" is no time zone, nor a date or time in its place`);
  if (parts.length > 0) refuse(`"${parts.join(' ')}" is too much`);
  return { text, weekdays, ...readDate(date ?? '*-*-*', refuse), ...readTime(time ?? '0:0', refuse), zone };
}

type Refuse = (why: string) => never;

function readWeekdays(text: string, refuse: Refuse): ReadonlySet<number> {
  const dayOf = (name: string): number => {
    const wanted = name.toLowerCase();
    const day = WEEKDAYS.findIndex((weekday) => weekday === wanted || weekday.slice(0, 3) === wanted);
    return day < 0 ? refuse(`"${name}" is no day of the week`) : day;
  };
  const days = new Set<number>();
  for (const item of text.split(',')) {
    const [from = '', to = from] = item.split(/\.\.|-/);
    // A week begins on Monday: `fri..sun` is a range, `sun..mon` none.
    const [start, stop] = [dayOf(from) || 7, dayOf(to) || 7];
    if (stop < start) refuse(`"${item}" ends before it begins; a week begins on Monday`);
    for (let day = start; day <= stop; day++) days.add(day % 7);
  }
  return days;
}

type DateParts = Pick<CalendarEvent, 'years' | 'months' | 'days' | 'isFromMonthEnd'>;

function readDate(text: string, refuse: Refuse): DateParts {
  const [, year = '*', month, between, day] = /^(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)$/.exec(text) ?? [];
  if (month === undefined || day === undefined) return refuse(`"${text}" is no date`);
  return {
    years: readSpans(year, YEAR, refuse),
    months: numbersOf(readSpans(month, MONTH, refuse)),
    days: between === '~' ? readFromMonthEnd(day, refuse) : readSpans(day, DAY, refuse),
    isFromMonthEnd: between === '~',
  };
}

/** `7/2` begins seven days before the next month and goes up to its beginning; in what is returned it is all of the days 1 to 7 from there that its steps meet. */
function readFromMonthEnd(text: string, refuse: Refuse): Span[] {
  return readSpans(text, DAY, refuse).map((span, index) => {
    const item = text.split(',')[index] as string;
    if (item.startsWith('*/')) refuse(`"${item}" cannot be counted from the end of a month`);
    return /^\d+\//.test(item) ? { ...span, start: 1, stop: span.start } : span;
  });
}

type TimeParts = Pick<CalendarEvent, 'hours' | 'minutes' | 'seconds'>;

function readTime(text: string, refuse: Refuse): TimeParts {
  const parts = text.split(':');
  if (parts.length > 3) refuse(`"${text}" is no time`);
  const [hour, minute, second = '0'] = parts.length === 1 ? ['*', text] : parts;
  return {
    hours: numbersOf(readSpans(hour as string, HOUR, refuse)),
    minutes: numbersOf(readSpans(minute as string, MINUTE, refuse)),
    seconds: numbersOf(readSpans(second, SECOND, refuse)),
  };
}

function readSpans(text: string, bounds: Bounds, refuse: Refuse): Span[] {
  const { what, least, most } = bounds;
  return text.split(',').map((item) => {
    const match = /^(?:\*|(\d{1,4})(?:\.\.(\d{1,4}))?)(?:\/(\d{1,4}))?$/.exec(item);
    if (match === null) return refuse(`"${item}" is no ${what}`);
    const [, from, to, every] = match;
    const start = from === undefined ? least : Number(from);
    const onlyOne = from !== undefined && every === undefined;
    const stop = to === undefined ? (onlyOne ? start : most) : Number(to);
    const step = every === undefined ? 1 : Number(every);
    if (start < least || stop > most) refuse(`"${item}" is no ${what} of ${least} to ${most}`);
    if (stop < start) refuse(`"${item}" ends before it begins`);
    if (step < 1 || step > most) refuse(`"${item}" is no step of 1 to ${most}`);
    return { start, stop, step };
  });
}

/** Ascending, each once. */
function numbersOf(spans: readonly Span[]): number[] {
  const numbers = new Set<number>();
  for (const { start, stop, step } of spans) for (let value = start; value <= stop; value += step) numbers.add(value);
  return [...numbers].sort((a, b) => a - b);
}

export function isIn(spans: readonly Span[], value: number): boolean {
  return spans.some(({ start, stop, step }) => value >= start && value <= stop && (value - start) % step === 0);
}
