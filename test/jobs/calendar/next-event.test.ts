// Next runs against `systemd-analyze calendar`, and what it skips: the nights on which the clocks change.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type CalendarEvent, parseCalendarEvent } from '../../../src/jobs/calendar/calendar-event.ts';
import { nextEvent } from '../../../src/jobs/calendar/next-event.ts';
import { Zone } from '../../../src/jobs/calendar/zone.ts';
import { without } from '../../agent/nbd/servers.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const TEN_YEARS = [Date.UTC(2026, 0, 1), Date.UTC(2036, 0, 1)] as const;
/** Clocks that move at 2, at midnight, by half an hour, with Ramadan, in the other half of the year, and never. */
const ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'America/Santiago',
  'Asia/Beirut',
  'Australia/Lord_Howe',
  'Africa/Casablanca',
  'Pacific/Auckland',
  'Asia/Kolkata',
  'UTC',
];

function runsBetween(event: CalendarEvent, from: number, to: number, zone: Zone, count = Infinity): number[] {
  const runs: number[] = [];
  for (let at = nextEvent(event, from - 1, zone); at !== undefined && at < to && runs.length < count; ) {
    runs.push(at);
    at = nextEvent(event, at, zone);
  }
  return runs;
}

test('next runs are those of systemd-analyze for each of the list, from several days on', {
  skip: without('systemd-analyze'),
}, () => {
  const expressions = readFileSync('test/vectors/calendar-events.txt', 'utf8').trim().split('\n');
  assert.ok(expressions.length >= 60);
  const zone = new Zone('UTC');
  for (const text of expressions) {
    const event = parseCalendarEvent(text);
    for (const base of ['2026-02-28 23:59:59', '2027-12-31 12:34:56']) {
      const after = Date.parse(`${base.replace(' ', 'T')}Z`);
      assert.deepEqual(runsBetween(event, after + 1, Infinity, zone, 8), ofSystemd(text, base), `${text} from ${base}`);
    }
  }
});

function ofSystemd(text: string, base: string): number[] {
  const args = ['calendar', '--iterations=8', `--base-time=${base}`, text];
  const env = { ...process.env, TZ: 'UTC', LC_ALL: 'C' };
  const said = execFileSync('systemd-analyze', args, { encoding: 'utf8', env });
  const runs = said.matchAll(/(?:Next elapse|Iter\. #\d+): \w+ (\S+) (\S+) UTC/g);
  return [...runs].map(([, day, time]) => Date.parse(`${day}T${time}Z`));
}

for (const name of ZONES) {
  test(`${name}: ten years of nights, each of them once`, () => {
    const zone = new Zone(name);
    const date = new Intl.DateTimeFormat('en-CA', { timeZone: name });
    // Noon is on its day whatever the clocks do at night.
    const nights: string[] = [];
    for (let noon = TEN_YEARS[0] + DAY_MS / 2; noon < TEN_YEARS[1]; noon += DAY_MS)
      nights.push(new Date(noon).toISOString().slice(0, 10));
    for (const text of ['00:00', '00:30', '02:00', '02:30', '03:00', '23:30']) {
      const event = parseCalendarEvent(text);
      const runs = runsBetween(event, TEN_YEARS[0] - 2 * DAY_MS, TEN_YEARS[1] + 2 * DAY_MS, zone);
      const dates = runs.map((run) => date.format(run));
      const [first, last] = [dates.indexOf(nights[0] as string), dates.indexOf(nights.at(-1) as string)];
      assert.deepEqual(dates.slice(first, last + 1), nights, text);
    }
  });

  test(`${name}: ten years of hours and two of their quarters, each of them once`, () => {
    const zone = new Zone(name);
    // In a zone that is half an hour off, full hours move against UTC when its clocks change by half an hour.
    const isOdd = name === 'Australia/Lord_Howe';
    // The finer ones where clocks move by an hour, and by half of one.
    const texts = isOdd ? ['*:0/30', '*:0/15'] : name === 'Europe/Berlin' ? ['hourly', '*:30', '*:0/15'] : ['hourly'];
    for (const text of texts) {
      const stepMs = text === '*:0/15' ? 15 * MINUTE_MS : isOdd ? 30 * MINUTE_MS : HOUR_MS;
      const [from, to] = stepMs < HOUR_MS ? [TEN_YEARS[0], Date.UTC(2028, 0, 1)] : TEN_YEARS;
      const runs = runsBetween(parseCalendarEvent(text), from, to, zone);
      assert.equal(runs.length, (to - from) / stepMs, text);
      assert.ok(
        runs.every((run, index) => index === 0 || run - (runs[index - 1] as number) === stepMs),
        text,
      );
    }
  });
}

test('an event with a zone of its own comes by the clocks there, wherever the host is', () => {
  const [from, to] = [Date.parse('2026-03-28T00:00:00Z'), Date.parse('2026-03-31T00:00:00Z')];
  for (const host of ZONES) {
    const zone = new Zone(host);
    const runs = (text: string): string[] =>
      runsBetween(parseCalendarEvent(text), from, to, zone).map((run) => new Date(run).toISOString().slice(8, 16));
    assert.deepEqual(runs('04:00 Europe/Berlin'), ['28T03:00', '29T02:00', '30T02:00'], host);
    assert.deepEqual(runs('sun 22:30 America/New_York'), ['30T02:30'], host);
    assert.deepEqual(runs('hourly Asia/Kolkata').slice(0, 2), ['28T00:30', '28T01:30'], host);
  }
  const host = new Zone('UTC');
  assert.equal(host.other('Asia/Tokyo'), host.other('Asia/Tokyo'), 'what it has found out is kept');
});

test('a time that the clocks jump over comes at the jump, one that they show twice at the first', () => {
  const zone = new Zone('Europe/Berlin');
  const runsOn = (text: string, day: string): string[] => {
    const noon = Date.parse(`${day}T12:00:00Z`);
    const runs = runsBetween(parseCalendarEvent(text), noon - 13 * HOUR_MS, noon - 7 * HOUR_MS, zone);
    return runs.map((run) => new Date(run).toISOString().slice(11, 16));
  };
  assert.deepEqual(runsOn('02:30', '2026-03-29'), ['01:00']);
  assert.deepEqual(runsOn('02:15,45', '2026-03-29'), ['01:00'], 'once, not twice');
  assert.deepEqual(runsOn('2..3:30', '2026-03-29'), ['01:00', '01:30']);
  assert.deepEqual(runsOn('02:30', '2026-10-25'), ['00:30']);
  assert.deepEqual(runsOn('2..3:30', '2026-10-25'), ['00:30', '02:30']);
  assert.deepEqual(runsOn('*:30', '2026-10-25'), ['23:30', '00:30', '01:30', '02:30', '03:30', '04:30']);
  // From within the hour that comes again.
  const again = Date.parse('2026-10-25T01:10:00Z');
  assert.equal(nextEvent(parseCalendarEvent('*:0/15'), again, zone), Date.parse('2026-10-25T01:15:00Z'));
  assert.equal(nextEvent(parseCalendarEvent('02:30'), again, zone), Date.parse('2026-10-26T01:30:00Z'));
});

test('what never comes is undefined, and soon said', () => {
  const zone = new Zone('Europe/Berlin');
  for (const text of ['*-02-30', '2015-10-21', 'mon 2026-11-22'])
    assert.equal(nextEvent(parseCalendarEvent(text), TEN_YEARS[0] + 330 * DAY_MS, zone), undefined, text);
});
