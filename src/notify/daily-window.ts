// Hours of a day in which a matcher applies, as Proxmox writes them: `8-12`, `mon..fri 8:00-17:30`, `sun,tue-wed 22-6`. Local time of the server.
import { HoldfastError } from '../util/errors.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const DAY_MINUTES = 24 * 60;
export const MAX_WINDOW_LENGTH = 128;

export interface DailyWindow {
  /** 0 is Sunday. */
  readonly days: ReadonlySet<number>;
  /** Minutes since midnight. A window that ends before it starts goes on in the next day. */
  readonly start: number;
  readonly end: number;
}

/** @throws `bad-argument`. */
export function parseDailyWindow(text: string): DailyWindow {
  const [hours, days, ...rest] = text.trim().toLowerCase().split(/\s+/).reverse();
  const [, h1, m1 = '0', h2, m2 = '0'] = /^(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?$/.exec(hours ?? '') ?? [];
  const start = Number(h1) * 60 + Number(m1);
  const end = Number(h2) * 60 + Number(m2);
  const isTime = h1 !== undefined && Number(m1) < 60 && Number(m2) < 60 && start < DAY_MINUTES && end <= DAY_MINUTES;
  if (text.length > MAX_WINDOW_LENGTH || rest.length > 0 || !isTime || start === end) throw bad(text);
  return { days: days === undefined ? new Set(DAYS.keys()) : parseDays(days, text), start, end };
}

/** Whether `time` (Unix seconds) lies in it; the end does not. */
export function isWithin({ days, start, end }: DailyWindow, time: number): boolean {
  const at = new Date(time * 1000);
  const minute = at.getHours() * 60 + at.getMinutes();
  const today = at.getDay();
  if (start < end) return days.has(today) && minute >= start && minute < end;
  // After midnight the day on which it started counts.
  return minute >= start ? days.has(today) : minute < end && days.has((today + 6) % 7);
}

function parseDays(text: string, whole: string): Set<number> {
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const [first = '', last = first, ...more] = part.split(/\.\.|-/);
    const [from, to] = [DAYS.indexOf(first.slice(0, 3)), DAYS.indexOf(last.slice(0, 3))];
    if (from < 0 || to < 0 || more.length > 0 || !isDay(first) || !isDay(last)) throw bad(whole);
    for (let day = from; ; day = (day + 1) % 7) {
      found.add(day);
      if (day === to) break;
    }
  }
  return found;
}

function isDay(text: string): boolean {
  return /^(sun(day)?|mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?)$/.test(text);
}

function bad(text: string): HoldfastError {
  return new HoldfastError(
    'bad-argument',
    `${JSON.stringify(text.slice(0, 100))} is no window of time; write it like 8-12, 22:00-6:30 or mon..fri 8:00-17:00`,
  );
}
