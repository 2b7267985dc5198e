import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modeString, timeText } from '../../src/cli/tree-row.ts';

test('modes as ls has them', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0o100644, '-rw-r--r--'],
    [0o104755, '-rwsr-xr-x'],
    [0o104644, '-rwSr--r--'],
    [0o102755, '-rwxr-sr-x'],
    [0o041777, 'drwxrwxrwt'],
    [0o041776, 'drwxrwxrwT'],
    [0o120777, 'lrwxrwxrwx'],
    [0o020600, 'crw-------'],
    [0o060660, 'brw-rw----'],
    [0o010000, 'p---------'],
    [0o140755, 'srwxr-xr-x'],
  ];
  for (const [mode, text] of cases) assert.equal(modeString(mode), text);
});

test('times before 1970, with nanoseconds, and where no calendar reaches', () => {
  assert.equal(timeText(1_790_000_000_123_456_789n, true), '2026-09-21T14:13:20.123456789Z');
  assert.equal(timeText(1_790_000_000_999_999_999n, false), '2026-09-21T14:13:20Z');
  assert.equal(timeText(-1n, true), '1969-12-31T23:59:59.999999999Z');
  assert.equal(timeText(2n ** 63n * 1000n, false), `@${Number((2n ** 63n * 1000n) / 1_000_000_000n)}`);
});
