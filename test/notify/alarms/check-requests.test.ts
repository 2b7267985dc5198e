// A look that a command asks for: whoever asked before it began is answered by it, and nobody by one that began before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckRequests } from '../../../src/notify/alarms/check-requests.ts';

function requests(): CheckRequests {
  const kept = new Map<string, string>();
  return new CheckRequests({
    setting: (name) => kept.get(name),
    putSetting: (name, value) => void kept.set(name, value),
  });
}

test('each command has a number, and a look answers those up to its own', () => {
  const made = requests();
  assert.deepEqual([made.asked(), made.hasBegun(1), made.endOf(1)], [0, false, undefined]);
  assert.deepEqual([made.ask(), made.ask(), made.asked()], [1, 2, 2]);
  made.begin(2);
  assert.equal(made.ask(), 3);
  assert.deepEqual([made.hasBegun(1), made.hasBegun(2), made.hasBegun(3)], [true, true, false]);
  made.end(2, { unknown: ['slow'] });
  assert.deepEqual(
    [made.endOf(1), made.endOf(2), made.endOf(3)],
    [{ unknown: ['slow'] }, { unknown: ['slow'] }, undefined],
  );
});

test('one that failed says why', () => {
  const made = requests();
  made.end(made.ask(), { unknown: [], problem: 'the disk is gone' });
  assert.deepEqual(made.endOf(1), { unknown: [], problem: 'the disk is gone' });
});
