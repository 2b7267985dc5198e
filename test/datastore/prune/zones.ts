// Runs a test in a time zone, and tells calendar periods by another way than the program: through Intl, which takes the zone by name.
import type { Periods } from '../../../src/datastore/prune/calendar.ts';

/** Zones with what makes calendars hard: changes by an hour, by half an hour, at midnight, odd offsets, a day that never was. */
export const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'America/Sao_Paulo',
  'Pacific/Apia',
  'Africa/Casablanca',
] as const;

/** Node takes a change of TZ while it runs. */
export function inZone<Result>(zone: string, run: () => Result): Result {
  const before = process.env.TZ;
  process.env.TZ = zone;
  try {
    return run();
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
}

export function intlPeriods(zone: string): (time: number) => Periods {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    weekday: 'short',
  });
  return (time) => {
    const part = Object.fromEntries(format.formatToParts(time * 1000).map(({ type, value }) => [type, value]));
    const weekday = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'].indexOf(part.weekday as string);
    const monday = new Date(Date.UTC(Number(part.year), Number(part.month) - 1, Number(part.day) - weekday));
    const day = `${part.year}-${part.month}-${part.day}`;
    return {
      hour: `${day} ${part.hour}`,
      day,
      week: monday.toISOString().slice(0, 10),
      month: `${part.year}-${part.month}`,
      year: part.year as string,
    };
  };
}
