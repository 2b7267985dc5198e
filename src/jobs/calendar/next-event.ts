// When a calendar event comes next. Between two changes of the clocks this is arithmetic with the time on the wall; at a change the rule is that nothing is skipped
// and nothing comes twice: a time that the clocks jump over comes at the jump, a time that they show twice comes at the first, and an event of every hour comes in
// every hour that passes. (systemd skips the first and the last.)
import { type CalendarEvent, isIn, LAST_YEAR } from './calendar-event.ts';
import type { Zone } from './zone.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;
const HOURS_OF_A_DAY = 24;
const DAY_MS = HOURS_OF_A_DAY * HOUR_MS;
/** No change of the clocks has moved them by more, but for the two that skipped a day. */
const LONGEST_CHANGE_MS = 3 * HOUR_MS;

/**
 * The first instant after `after`, both in milliseconds since 1970; undefined when there is none before the year 2200. `host` is the zone of an
 * event that names none.
 */
export function nextEvent(event: CalendarEvent, after: number, host: Zone): number | undefined {
  const zone = event.zone === undefined ? host : host.other(event.zone);
  const once = nextShownFirst(event, after, zone);
  const again = isOfEveryHour(event) ? nextShownAgain(event, after, zone) : undefined;
  return again !== undefined && (once === undefined || again < once) ? again : once;
}

/** Of times on the wall each at the first instant that shows it, or would have shown it. */
function nextShownFirst(event: CalendarEvent, after: number, zone: Zone): number | undefined {
  let wall: number | undefined = after + zone.offsetAt(after);
  for (;;) {
    wall = nextWall(event, wall);
    if (wall === undefined) return undefined;
    const instant = firstInstant(event, wall, zone);
    if (instant !== undefined && instant > after) return instant;
  }
}

/** Undefined for an event of every hour when the clocks jump over the time: no hour passes there. */
function firstInstant(event: CalendarEvent, wall: number, zone: Zone): number | undefined {
  const change = zone.changeBetween(wall - DAY_MS, wall + DAY_MS);
  if (change === undefined) return wall - zone.offsetAt(wall);
  if (wall - change.before < change.at) return wall - change.before;
  if (wall - change.after >= change.at) return wall - change.after;
  return isOfEveryHour(event) ? undefined : change.at;
}

function isOfEveryHour(event: CalendarEvent): boolean {
  return event.hours.length === HOURS_OF_A_DAY;
}

/** In the hour that the clocks show a second time, when `after` is in it or short before it. */
function nextShownAgain(event: CalendarEvent, after: number, zone: Zone): number | undefined {
  const change = zone.changeBetween(after - LONGEST_CHANGE_MS, after + LONGEST_CHANGE_MS);
  if (change === undefined || change.after > change.before) return undefined;
  const wall = nextWall(event, Math.max(after, change.at - 1) + change.after);
  return wall !== undefined && wall < change.at + change.before ? wall - change.after : undefined;
}

/** The first time on the wall after another that the event names. */
function nextWall(event: CalendarEvent, after: number): number | undefined {
  const from = new Date((Math.floor(after / SECOND_MS) + 1) * SECOND_MS);
  const startOfDay = Date.UTC(from.getUTCFullYear(), from.getUTCMonth(), from.getUTCDate());
  const timeOfDay = nextTimeOfDay(event, (from.getTime() - startOfDay) / SECOND_MS);
  let year = from.getUTCFullYear();
  let month = from.getUTCMonth() + 1;
  let day = from.getUTCDate();
  if (timeOfDay === undefined) day += 1;
  for (; year <= LAST_YEAR; year++, month = 1, day = 1) {
    if (!isIn(event.years, year)) continue;
    for (; month <= 12; month++, day = 1) {
      const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
      for (; event.months.includes(month) && day <= length; day++) {
        const date = Date.UTC(year, month - 1, day);
        if (isDay(event, date, day, length)) {
          const isFirst = date === startOfDay;
          const seconds = isFirst ? timeOfDay : nextTimeOfDay(event, 0);
          return date + (seconds as number) * SECOND_MS;
        }
      }
    }
  }
  return undefined;
}

function isDay(event: CalendarEvent, date: number, day: number, length: number): boolean {
  if (event.weekdays !== undefined && !event.weekdays.has(new Date(date).getUTCDay())) return false;
  if (!event.isFromMonthEnd) return isIn(event.days, day);
  const fromStart = event.days.map(({ start, stop, step }) => ({
    start: length + 1 - stop,
    stop: length + 1 - start,
    step,
  }));
  return isIn(fromStart, day);
}

/** Seconds since midnight, at or after others. */
function nextTimeOfDay({ hours, minutes, seconds }: CalendarEvent, from: number): number | undefined {
  const [hour, minute, second] = [Math.floor(from / 3600), Math.floor(from / 60) % 60, from % 60];
  const firstOf = (numbers: readonly number[]): number => numbers[0] as number;
  for (const h of hours.filter((each) => each >= hour)) {
    if (h > hour) return h * 3600 + firstOf(minutes) * 60 + firstOf(seconds);
    for (const m of minutes.filter((each) => each >= minute)) {
      if (m > minute) return h * 3600 + m * 60 + firstOf(seconds);
      const s = seconds.find((each) => each >= second);
      if (s !== undefined) return h * 3600 + m * 60 + s;
    }
  }
  return undefined;
}
