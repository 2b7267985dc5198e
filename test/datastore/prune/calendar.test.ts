// Calendar periods in local time, beside two other calendars: Intl's, and that of date(1), which is strftime as Proxmox uses it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { localPeriods, localZone, type Periods } from '../../../src/datastore/prune/calendar.ts';
import { intlPeriods, inZone, ZONES } from './zones.ts';

const at = (text: string): number => Date.parse(text) / 1000;
const PERIODS = ['hour', 'day', 'week', 'month', 'year'] as const;

/** Times from 1971 to 2037, many of them near to each other, near midnight, and near the ends of summer time. */
const moments = fc
  .array(
    fc.oneof(
      fc.integer({ min: at('1971-01-01T00:00:00Z'), max: at('2037-12-31T00:00:00Z') }),
      fc
        .tuple(
          fc.constantFrom(
            '2025-03-30T01:00:00Z',
            '2025-10-26T01:00:00Z',
            '2025-11-02T06:00:00Z',
            '2018-02-18T02:00:00Z',
            '2011-12-30T10:00:00Z',
            '2025-01-01T00:00:00Z',
            '2021-01-03T12:00:00Z',
          ),
          fc.integer({ min: -200_000, max: 200_000 }),
        )
        .map(([near, offset]) => at(near) + offset),
    ),
    { minLength: 2, maxLength: 40 },
  )
  .map((times) => [...new Set(times)]);

/** Which of the times share a period: the names may differ, what they tell apart may not. */
function partition(times: readonly number[], of: (time: number) => string): number[] {
  const names = times.map(of);
  return names.map((name) => names.indexOf(name));
}

function samePartitions(times: readonly number[], other: (time: number) => Periods, zone: string): void {
  for (const period of PERIODS) {
    assert.deepEqual(
      partition(times, (time) => localPeriods(time)[period]),
      partition(times, (time) => other(time)[period]),
      `${period} in ${zone} of ${times}`,
    );
  }
}

for (const zone of ZONES) {
  test(`hours, days, ISO weeks, months and years of ${zone} are those of Intl`, () => {
    const other = intlPeriods(zone);
    inZone(zone, () =>
      fc.assert(
        fc.property(moments, (times) => samePartitions(times, other, zone)),
        { numRuns: 60 },
      ),
    );
  });

  test(`and those of date(1) in ${zone}`, {
    skip: !existsSync(`/usr/share/zoneinfo/${zone}`) && 'the machine has no tzdata',
  }, () => {
    const times = fc.sample(moments, { numRuns: 60, seed: 7 }).flat();
    const { stdout } = spawnSync('date', ['-f', '-', '+%Y/%m/%d/%H %Y/%m/%d %G/%V %Y/%m %Y'], {
      env: { ...process.env, TZ: zone, LC_ALL: 'C' },
      input: times.map((time) => `@${time}\n`).join(''),
      encoding: 'utf8',
    });
    const lines = stdout.trim().split('\n');
    assert.equal(lines.length, times.length);
    const of = new Map(
      times.map((time, row) => {
        const [hour, day, week, month, year] = (lines[row] as string).split(' ') as [
          string,
          string,
          string,
          string,
          string,
        ];
        return [time, { hour, day, week, month, year }];
      }),
    );
    inZone(zone, () => samePartitions(times, (time) => of.get(time) as Periods, zone));
  });
}

test('the hour that comes twice is one hour, and the day of a change is one day', () => {
  inZone('Europe/Berlin', () => {
    const [first, second, after] = ['00:30', '01:30', '02:30'].map((hour) =>
      localPeriods(at(`2025-10-26T${hour}:00Z`)),
    ) as [Periods, Periods, Periods];
    assert.equal(first.hour, second.hour);
    assert.notEqual(second.hour, after.hour);
    const [start, end] = ['2025-10-25T22:00:00Z', '2025-10-26T22:59:59Z'].map((text) => localPeriods(at(text)).day);
    assert.equal(start, end, '25 hours');
    assert.notEqual(localPeriods(at('2025-10-26T23:00:00Z')).day, end);
  });
});

test('a week goes from Monday to Sunday, through the end of a year and before the clock of Unix began', () => {
  inZone('UTC', () => {
    const week = (text: string): string => localPeriods(at(text)).week;
    assert.equal(week('2024-12-30T00:00:00Z'), week('2025-01-05T23:59:59Z'));
    assert.notEqual(week('2024-12-29T23:59:59Z'), week('2024-12-30T00:00:00Z'));
    assert.notEqual(week('2025-01-05T23:59:59Z'), week('2025-01-06T00:00:00Z'));
    assert.equal(week('1970-01-01T00:00:00Z'), week('1970-01-04T00:00:00Z'));
    assert.notEqual(week('1970-01-04T23:00:00Z'), week('1970-01-05T00:00:00Z'));
  });
  inZone('America/New_York', () =>
    assert.equal(localPeriods(0).week, localPeriods(at('1970-01-03T00:00:00Z')).week, '31 December 1969 there'),
  );
});

test('a zone that the runtime takes for UTC without knowing it is said', () => {
  const zone = (name: string): ReturnType<typeof localZone> => inZone(name, localZone);
  assert.deepEqual(zone('Europe/Berlin'), { name: 'Europe/Berlin', warning: undefined });
  for (const utc of ['UTC', 'Etc/UTC', ':UTC', 'GMT', 'GMT0', ''])
    assert.deepEqual(zone(utc), { name: 'UTC', warning: undefined }, utc);
  for (const unknown of ['Europe/Berln', 'CET-1CEST,M3.5.0,M10.5.0/3']) {
    const { name, warning } = zone(unknown);
    assert.equal(name, 'UTC');
    assert.ok(warning?.includes(`TZ=${unknown} is no time zone`), warning);
  }
});
