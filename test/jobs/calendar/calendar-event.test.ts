// The grammar: what Proxmox takes beyond systemd, what both refuse, and zones.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { parseCalendarEvent } from '../../../src/jobs/calendar/calendar-event.ts';
import { nextEvent } from '../../../src/jobs/calendar/next-event.ts';
import { Zone } from '../../../src/jobs/calendar/zone.ts';
import { without } from '../../agent/nbd/servers.ts';

const UTC = new Zone('UTC');
const START = Date.UTC(2026, 10, 22, 8, 7, 30);

function nextOf(text: string): string | undefined {
  const next = nextEvent(parseCalendarEvent(text), START, UTC);
  return next === undefined ? undefined : new Date(next).toISOString().slice(0, 19);
}

test("Proxmox's minutes alone and steps after a star are the hours' longer words", () => {
  for (const [short, long] of [
    ['*', '*:*'],
    ['*/5', '*:0/5'],
    ['0/5', '*:0/5'],
    ['5', '*:5'],
    ['mon..wed 30/10', 'mon..wed *:30/10'],
    ['*/2:15', '0/2:15'],
    ['*-*/2-1', '*-1/2-1'],
  ] as const)
    assert.equal(nextOf(short), nextOf(long), short);
});

test('a zone at the end is the zone of the schedule', () => {
  assert.equal(parseCalendarEvent('02:30 Europe/Berlin').zone, 'Europe/Berlin');
  assert.equal(parseCalendarEvent('daily UTC').zone, 'UTC');
  assert.equal(parseCalendarEvent('mon').zone, undefined);
});

test('what is no schedule is refused with the part that is wrong', () => {
  for (const [text, why] of [
    ['', /no day and no time/],
    ['25:00', /"25" is no hour of 0 to 23/],
    ['12:60', /"60" is no minute/],
    ['1:2:60', /"60" is no second/],
    ['1:2:3:4', /no time/],
    ['10..5:00', /"10..5" ends before it begins/],
    ['fri..mon', /a week begins on Monday/],
    ['Mon..', /"" is no day of the week/],
    ['someday', /"someday" is no day of the week/],
    ['*:0/0', /"0\/0" is no step/],
    ['*-13-1', /"13" is no month/],
    ['*-*-32', /"32" is no day/],
    ['1969-1-1', /"1969" is no year/],
    ['*-*~*/10', /cannot be counted from the end/],
    ['*-*-7..2', /ends before it begins/],
    ['02:30 Europe/Nowhere', /"Europe\/Nowhere" is no time zone/],
    ['02:30 UTC now', /"now" is too much/],
    ['9:00:00.5', /"00.5" is no second/],
    ['@1395716396', /no time zone/],
    ['-1:00', /no time zone/],
    [`${' '.repeat(200)}1:00`, /more than 128/],
    ['8..:00', /"8.." is no hour/],
    ['a'.repeat(129), /more than 128/],
  ] as const)
    assert.throws(() => parseCalendarEvent(text), { code: 'bad-argument', message: why }, text);
});

test('of words made from the letters of schedules we take nothing that systemd refuses, but what Proxmox takes', {
  skip: without('systemd-analyze'),
}, () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % below;
  };
  const pick = (from: readonly string[]): string => from[random(from.length)] as string;
  const number = (): string =>
    pick(['*', '0', '1', '7', '12', '30', '1..5', '5..1', '2,4', '0/2', '3/4', '1..9/2', '29', '60', 'x', '']);
  let taken = 0;
  for (let round = 0; round < 100; round++) {
    const words = [
      ...(random(3) === 0 ? [pick(['mon', 'Sat,sun', 'tue..fri', 'fri..tue', 'monday', 'mo', 'wed..'])] : []),
      ...(random(2) === 0
        ? [pick([`*-${number()}-${number()}`, `${number()}-${number()}`, `*-*~${pick(['1', '3', '7/2', '2..4'])}`])]
        : []),
      `${number()}:${number()}${random(2) === 0 ? `:${number()}` : ''}`,
    ];
    const text = words.join(' ');
    const theirs = systemdTakes(text);
    let ours = true;
    try {
      parseCalendarEvent(text);
    } catch {
      ours = false;
    }
    assert.equal(ours, theirs, text);
    taken += Number(ours);
  }
  assert.ok(taken > 10, String(taken));
});

function systemdTakes(text: string): boolean {
  try {
    execFileSync('systemd-analyze', ['calendar', text], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
