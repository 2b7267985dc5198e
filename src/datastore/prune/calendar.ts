// Where a moment falls in the calendar of this process's time zone: what prune counts. Two moments are of one hour, day, week, month or year
// when the names here are equal. As with Proxmox, the hour that a clock shows twice when daylight saving ends is one hour.

/** Names of the periods in which a moment lies, as they are shown; equal ones are one period. */
export interface Periods {
  /** `2026-11-18 21:00`. */
  readonly hour: string;
  /** `2026-11-18`. */
  readonly day: string;
  /** The day of its Monday: an ISO week, whatever the month or the year. */
  readonly week: string;
  readonly month: string;
  readonly year: string;
}

const DAY_MS = 24 * 3600 * 1000;
/** 1970-01-01, day 0, was a Thursday: three days after a Monday. */
const DAY_ZERO_AFTER_MONDAY = 3;

/** The periods of a moment, in Unix seconds, in the local time zone (the environment variable TZ). */
export function localPeriods(time: number): Periods {
  const local = new Date(time * 1000);
  const [year, month, date] = [local.getFullYear(), local.getMonth(), local.getDate()];
  const dayNumber = Date.UTC(year, month, date) / DAY_MS;
  const afterMonday = (((dayNumber + DAY_ZERO_AFTER_MONDAY) % 7) + 7) % 7;
  const nameOfMonth = `${year}-${twoDigits(month + 1)}`;
  const day = `${nameOfMonth}-${twoDigits(date)}`;
  return {
    hour: `${day} ${twoDigits(local.getHours())}:00`,
    day,
    week: new Date((dayNumber - afterMonday) * DAY_MS).toISOString().slice(0, 10),
    month: nameOfMonth,
    year: `${year}`,
  };
}

/** The same for these times, each counted once. */
export function remembered(calendar: (time: number) => Periods, times: readonly number[]): (time: number) => Periods {
  const periods = new Map(times.map((time) => [time, calendar(time)]));
  return (time) => periods.get(time) ?? calendar(time);
}

function twoDigits(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}

const MEANT_AS_UTC = /^:?(Etc\/)?(UTC|UCT|GMT|Zulu|Universal|Greenwich)([+-]?0)?$/i;

/**
 * The name of the time zone in which `localPeriods` counts, and what is wrong with it: a value of TZ that the runtime does not know, such as
 * a misspelt name or a POSIX rule, silently means UTC to it.
 */
export function localZone(): { name: string; warning: string | undefined } {
  const wanted = process.env.TZ ?? '';
  const found = Intl.DateTimeFormat().resolvedOptions().timeZone ?? '';
  const isUtc = found === '' || found === 'Etc/Unknown' || MEANT_AS_UTC.test(found);
  const name = isUtc ? 'UTC' : found;
  const isUnknown = isUtc && wanted !== '' && !MEANT_AS_UTC.test(wanted);
  const warning = isUnknown
    ? `TZ=${wanted} is no time zone that this program knows: days, weeks and months are counted in UTC; write a name such as Europe/Berlin`
    : undefined;
  return { name, warning };
}
