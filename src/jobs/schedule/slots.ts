// When a job is due: computed from what is settled of it, which survives restarts, and never from when the server happened to look.
import { type CalendarEvent, parseCalendarEvent } from '../calendar/calendar-event.ts';
import { nextEvent } from '../calendar/next-event.ts';
import type { Zone } from '../calendar/zone.ts';
import type { Job, JobState } from './job.ts';
import { LIMITS } from './job.ts';

const DAY_MS = 24 * 3600 * 1000;
/** A slot that is seen this much after its time was missed; the tick comes every minute. */
const LATE_AFTER_MS = 5 * 60 * 1000;

/** Undefined for a job that nothing but a hand starts. @throws `bad-argument`. */
export function eventOf({ schedule, enabled }: Job): CalendarEvent | undefined {
  return schedule === null || !enabled ? undefined : parseCalendarEvent(schedule);
}

/** The next slot that is not settled; in the past when it is due. */
export function nextSlot(event: CalendarEvent | undefined, { settledMs }: JobState, zone: Zone): number | undefined {
  return event === undefined ? undefined : nextEvent(event, settledMs, zone);
}

/** Whether one run makes up for slots that nobody saw in time. */
export function isLate(slotMs: number, nowMs: number): boolean {
  return nowMs - slotMs > LATE_AFTER_MS;
}

/**
 * What is settled when the clock was set back. A little: the slots that come a second time are settled, and do not run twice. By more than
 * lies between two slots, or a day: it was the clock that was wrong, and the job must not wait until the clock is there again.
 */
export function afterClock(state: JobState, event: CalendarEvent | undefined, nowMs: number, zone: Zone): JobState {
  const { owed, settledMs } = state;
  const isOwedTooFar = owed !== null && owed.dueMs - nowMs > LIMITS.maxRetryDelayMs;
  const settled = settledMs > nowMs && settledMs - nowMs > periodOf(event, settledMs, zone) ? nowMs : settledMs;
  if (!isOwedTooFar && settled === settledMs) return state;
  return { settledMs: settled, owed: isOwedTooFar ? { ...owed, dueMs: nowMs } : owed };
}

function periodOf(event: CalendarEvent | undefined, atMs: number, zone: Zone): number {
  const first = event === undefined ? undefined : nextEvent(event, atMs, zone);
  const second = first === undefined ? undefined : nextEvent(event as CalendarEvent, first, zone);
  return second === undefined ? 0 : Math.min(DAY_MS, second - (first as number));
}

/** What a new attempt waits: twice as long as the one before. */
export function retryDelay({ retryDelayMs }: Job, attempt: number): number {
  return Math.min(LIMITS.maxRetryDelayMs, retryDelayMs * 2 ** attempt);
}

/** Coming slots after `fromMs` and up to `untilMs`, as many as there are, `count` at most. @throws `bad-argument`. */
export function comingSlots(
  schedule: string,
  fromMs: number,
  count: number,
  zone: Zone,
  untilMs = Number.POSITIVE_INFINITY,
): number[] {
  const event = parseCalendarEvent(schedule);
  const slots: number[] = [];
  for (let at: number | undefined = fromMs; slots.length < count; ) {
    at = nextEvent(event, at, zone);
    if (at === undefined || at > untilMs) break;
    slots.push(at);
  }
  return slots;
}
