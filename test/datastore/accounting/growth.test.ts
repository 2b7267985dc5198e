import assert from 'node:assert/strict';
import { test } from 'node:test';
import { growthOf, type StoredAt } from '../../../src/datastore/accounting/growth.ts';

const NOW = Date.UTC(2026, 10, 21, 12) / 1000;
const DAY = 86_400;
const ago = (days: number, bytesStored: number | null, suspectClock = false): StoredAt => ({
  time: NOW - days * DAY,
  bytesStored,
  suspectClock,
});

test('a steady growth gives its slope and the day on which the space ends', () => {
  const steady = [4, 3, 2, 1, 0].map((days) => ago(days, 100));
  assert.deepEqual(growthOf(steady, 1000, NOW), { bytesPerDay: 100, days: 5, fullOn: '2026-12-01' });
});

test('several snapshots of a day count together, and days without any stay gaps', () => {
  const twice = [ago(4, 50), ago(4, 50), ago(2, 200), ago(0, 200)];
  assert.equal(growthOf(twice, 1000, NOW).bytesPerDay, 100);
});

test('the line is one of least squares, not one from the first to the last point', () => {
  // Sums 0, 300, 300, 300 on days 0 to 3: slope 90 by hand, 100 from end to end.
  assert.equal(growthOf([ago(3, 0), ago(2, 300), ago(1, 0), ago(0, 0)], 1000, NOW).bytesPerDay, 90);
});

test('too little history is said so, whatever clocks and the future claim', () => {
  const none = { bytesPerDay: null, fullOn: null };
  assert.deepEqual(growthOf([], 1000, NOW), { ...none, days: 0 });
  assert.deepEqual(growthOf([ago(1, 5), ago(0, 5)], 1000, NOW), { ...none, days: 2 });
  assert.deepEqual(growthOf([ago(2, 5, true), ago(1, 5), ago(0, 5)], 1000, NOW), { ...none, days: 2 });
  assert.deepEqual(growthOf([ago(-3, 5), ago(1, null), ago(90, 5), ago(0, 5)], 1000, NOW), { ...none, days: 1 });
});

test('nothing new, or an end beyond ten years, names no day', () => {
  const flat = [ago(2, 0), ago(1, 0), ago(0, 0)];
  assert.deepEqual(growthOf(flat, 1000, NOW), { bytesPerDay: 0, days: 3, fullOn: null });
  const slow = [ago(2, 1), ago(1, 1), ago(0, 1)];
  assert.equal(growthOf(slow, 3651, NOW).fullOn, null);
  assert.notEqual(growthOf(slow, 3650, NOW).fullOn, null);
});
