// Spans of days and years, as users write them (`30d`) and read them (`29 d 23 h`).
import { HoldfastError } from './errors.ts';

const SECOND_MS = 1000;
const DAY_MS = 24 * 3600 * SECOND_MS;

/** A year is 365 days. */
const UNIT_MS: Readonly<Record<string, number>> = {
  s: SECOND_MS,
  min: 60 * SECOND_MS,
  h: 3600 * SECOND_MS,
  d: DAY_MS,
  w: 7 * DAY_MS,
  y: 365 * DAY_MS,
};
/** No span that somebody means is longer, and sums of two stay exact. */
const MAX_DURATION_MS = 1000 * 365 * DAY_MS;

/** Reads `90d`, `12h`, `1y`; `what` names the option in the message. @throws `bad-argument`. */
export function parseDurationMs(text: string, what: string): number {
  const [, count, unit] = /^(\d{1,9})(s|min|h|d|w|y)$/.exec(text) ?? [];
  const ms = Number(count) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
  if (!(ms <= MAX_DURATION_MS)) {
    throw new HoldfastError(
      'bad-argument',
      `${what} takes a whole number and a unit, such as 12h, 30d, 8w or 1y (also s and min; at most 1000y), not ${JSON.stringify(text)}`,
    );
  }
  return ms;
}

/** The two largest units of a span, rounded up to a second: `29 d 23 h`, `5 min 1 s`, `0 s`. */
export function durationText(ms: number): string {
  let restMs = Math.ceil(Math.max(0, ms) / SECOND_MS) * SECOND_MS;
  const parts: string[] = [];
  for (const unit of ['y', 'd', 'h', 'min', 's']) {
    const unitMs = UNIT_MS[unit] as number;
    const count = Math.floor(restMs / unitMs);
    restMs -= count * unitMs;
    if (parts.length > 0 || count > 0) parts.push(count > 0 ? `${count} ${unit}` : '');
    if (parts.length === 2) break;
  }
  return parts.filter((part) => part !== '').join(' ') || '0 s';
}
