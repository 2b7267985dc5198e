// Spans as users write and read them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { durationText, parseDurationMs } from '../../src/util/duration.ts';

const SECOND = 1000;
const DAY = 86_400 * SECOND;

test('a number and a unit', () => {
  const spans: [string, number][] = [
    ['0d', 0],
    ['1s', SECOND],
    ['5min', 300 * SECOND],
    ['12h', DAY / 2],
    ['30d', 30 * DAY],
    ['8w', 56 * DAY],
    ['1y', 365 * DAY],
    ['1000y', 365_000 * DAY],
  ];
  for (const [text, ms] of spans) assert.equal(parseDurationMs(text, '--for'), ms, text);
});

test('anything else is refused, with the option and an example', () => {
  for (const text of [
    '',
    '30',
    'd',
    '-1d',
    '1.5d',
    '30 d',
    '1d12h',
    '30D',
    '1m',
    '1001y',
    '9999999999s',
    '1e3d',
    '٣d',
  ]) {
    assert.throws(() => parseDurationMs(text, '--for'), { code: 'bad-argument', message: /^--for takes .* 30d/ }, text);
  }
});

test('the two largest units, and never less than it is', () => {
  const spans: [number, string][] = [
    [0, '0 s'],
    [-5, '0 s'],
    [1, '1 s'],
    [59_999, '1 min'],
    [301_000, '5 min 1 s'],
    [DAY - 1, '1 d'],
    [30 * DAY - 3_600_000, '29 d 23 h'],
    [DAY + 5000, '1 d'],
    [400 * DAY, '1 y 35 d'],
  ];
  for (const [ms, text] of spans) assert.equal(durationText(ms), text);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000 }), fc.constantFrom('s', 'min', 'h', 'd', 'y'), (count, unit) => {
      const ms = parseDurationMs(`${Math.min(count, unit === 'y' ? 1000 : count)}${unit}`, 'x');
      const read = durationText(ms)
        .split(/(?<=[a-z]) /)
        .reduce((sum, part) => sum + parseDurationMs(part.replace(' ', ''), 'x'), 0);
      assert.ok(read <= ms && ms - read < ms / 20 + 1, `${ms} is shown as ${read}`);
    }),
  );
});
