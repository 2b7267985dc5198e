import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { labelTime } from '../../../src/datastore/snapshots/label-time.ts';
import { formatTime, MAX_TIME, parseTime } from '../../../src/schema/names.ts';

const at = (text: string) => parseTime(`${text}T02:00:00Z`);
const good = (time: number) => ({ time, suspect: false, warning: undefined });

test('a clock that goes on is believed, also after months without a backup', () => {
  assert.deepEqual(labelTime(at('2026-11-20'), undefined, undefined), good(at('2026-11-20')));
  assert.deepEqual(labelTime(at('2026-11-20'), undefined, at('2026-11-19')), good(at('2026-11-20')));
  assert.deepEqual(labelTime(at('2028-11-20'), undefined, at('2026-11-19')), good(at('2028-11-20')));
  assert.deepEqual(labelTime(at('2040-01-01'), undefined, undefined), good(at('2040-01-01')));
});

test('a clock that went back, or stands, is said, and the label goes on by a second (rule D8)', () => {
  const last = at('2026-11-20');
  for (const now of [at('2026-11-19'), last - 60, at('2026-01-02')]) {
    const label = labelTime(now, undefined, last);
    assert.equal(label.time, last + 1);
    assert.ok(label.suspect);
    assert.match(label.warning!, /2026-11-20T02:00:00Z.*2026-11-20T02:00:01Z/);
  }
  assert.deepEqual(labelTime(last + 1, undefined, last), good(last + 1));
});

test('snapshots in quick succession run a little ahead of the clock, which is no fault of it', () => {
  const last = at('2026-11-20');
  for (const behind of [0, 1, 59]) assert.deepEqual(labelTime(last - behind, undefined, last), good(last + 1));
  assert.ok(labelTime(last, last, last).suspect, 'a wanted time is meant as it is');
});

test('a clock that cannot be right is said, and the backup goes on', () => {
  for (const [now, last] of [
    [at('1970-01-01'), undefined],
    [at('2025-12-31'), undefined],
    [at('2071-01-01'), undefined],
    [at('2031-01-01'), at('2026-11-20')],
  ] as const) {
    const label = labelTime(now, undefined, last);
    assert.equal(label.time, now);
    assert.ok(label.suspect);
    assert.match(label.warning!, /check it/);
  }
});

test('a wanted time is taken as it is, unless it is not after the last one', () => {
  const last = at('2026-11-20');
  assert.deepEqual(labelTime(at('2026-12-01'), at('1999-01-01'), undefined), good(at('1999-01-01')));
  assert.deepEqual(labelTime(at('2026-12-01'), at('2026-11-21'), last), good(at('2026-11-21')));
  const label = labelTime(at('2026-12-01'), at('2026-11-01'), last);
  assert.equal(label.time, last + 1);
  assert.ok(label.suspect);
  assert.match(label.warning!, /--time 2026-11-01/);
});

test('labels always rise, whatever clock and user do', () => {
  const times = fc.array(fc.tuple(fc.nat(2 ** 32), fc.option(fc.nat(2 ** 32), { nil: undefined })), { maxLength: 30 });
  fc.assert(
    fc.property(times, (steps) => {
      let last: number | undefined;
      for (const [now, wanted] of steps) {
        const { time, suspect, warning } = labelTime(now, wanted, last);
        assert.ok(last === undefined || time > last);
        assert.ok(time >= (wanted ?? now));
        assert.equal(warning !== undefined, suspect);
        last = time;
      }
    }),
  );
});

test('behind the last label that can be written there is none: an error, not a snapshot that no list shows', () => {
  assert.deepEqual(labelTime(at('2026-11-20'), MAX_TIME, undefined), good(MAX_TIME));
  assert.throws(() => labelTime(at('2026-11-20'), undefined, MAX_TIME), {
    code: 'bad-argument',
    message: /9999-12-31/,
  });
  assert.equal(formatTime(MAX_TIME).length, 20);
});
