// Rule L2: the store clock advances by the smaller of wall and monotonic time while the store is open, and not at all while it is closed.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { persistedClockMs, StoreClock } from '../../src/datastore/store-clock.ts';
import { temporaryDirectory } from './fixture.ts';

class Times {
  wallMs = 1_800_000_000_000;
  monotonicMs = 5000.25;
  readonly now = () => ({ wallMs: this.wallMs, monotonicMs: this.monotonicMs });
  pass(wallMs: number, monotonicMs = wallMs): void {
    this.wallMs += wallMs;
    this.monotonicMs += monotonicMs;
  }
}

const clockPath = (t: TestContext) => join(temporaryDirectory(t), 'clock.json');

test('it runs with both clocks, and stands still when either does', async (t) => {
  const times = new Times();
  const clock = await StoreClock.start(clockPath(t), times.now);
  const after = (wallMs: number, monotonicMs: number) => {
    times.pass(wallMs, monotonicMs);
    return clock.elapsedMs;
  };
  assert.equal(clock.elapsedMs, 0);
  assert.equal(after(1000, 1000), 1000);
  assert.equal(after(10_000_000, 50), 1050, 'the date was set forward');
  assert.equal(after(-10_000_000, 50), 1050, 'the date was set back');
  assert.equal(after(0, 500), 1050);
  assert.equal(after(200, 300), 1250);
  await clock.stop();
});

test('never faster than either clock, never back, and never lost by asking often', async (t) => {
  const path = clockPath(t);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: -5000, max: 5000 }), fc.integer({ min: 0, max: 5000 })), { maxLength: 50 }),
      async (steps) => {
        const times = new Times();
        const clock = await StoreClock.start(path, times.now);
        const start = clock.elapsedMs;
        let last = start;
        let most = 0;
        for (const [wall, monotonic] of steps) {
          times.pass(wall, monotonic);
          most += Math.max(0, Math.min(wall, monotonic));
          const now = clock.elapsedMs;
          assert.ok(now >= last && now - start <= most);
          last = now;
        }
        assert.equal(last - start, most);
        await clock.stop();
      },
    ),
    { numRuns: 30 },
  );
  const times = new Times();
  const clock = await StoreClock.start(path, times.now);
  const start = clock.elapsedMs;
  for (let n = 0; n < 10_000; n++) {
    times.pass(0.25);
    void clock.elapsedMs;
  }
  assert.equal(clock.elapsedMs - start, 2500);
  await clock.stop();
});

test('it is kept over a stop, stands still while closed, and is whole milliseconds on disk', async (t) => {
  const path = clockPath(t);
  const times = new Times();
  const first = await StoreClock.start(path, times.now);
  times.pass(1234.5);
  await first.stop();
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { elapsedMs: 1234 });
  times.pass(1_000_000);
  const second = await StoreClock.start(path, times.now);
  assert.equal(second.elapsedMs, 1234);
  times.pass(100);
  await second.persist();
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { elapsedMs: 1334 });
  await second.stop();
});

test('what is no clock is refused, not taken for zero: that would let locks last for ever, and hide the damage', async (t) => {
  const path = clockPath(t);
  for (const text of ['', '{}', '{"elapsedMs":-1}', '{"elapsedMs":"5"}', '{"elapsedMs":1.5}']) {
    writeFileSync(path, text);
    await assert.rejects(StoreClock.start(path));
  }
});

test('the real clocks', async (t) => {
  const clock = await StoreClock.start(clockPath(t));
  await new Promise((resolve) => setTimeout(resolve, 30));
  const elapsed = clock.elapsedMs;
  assert.ok(elapsed >= 20 && elapsed < 20_000, `${elapsed}`);
  await clock.stop();
});

test('what is persisted is returned, is on disk by then, and is what others read; many at once do not disturb each other', async (t) => {
  const path = clockPath(t);
  const times = new Times();
  const clock = await StoreClock.start(path, times.now);
  assert.equal(await persistedClockMs(path), 0, 'no file yet');
  const shown: number[] = [];
  const writes = [1000, 2000, 3000].map(async (ms) => {
    times.pass(ms);
    shown.push(await clock.persist());
    assert.ok((await persistedClockMs(path)) >= (shown.at(-1) as number));
  });
  await Promise.all(writes);
  assert.deepEqual(
    shown,
    [...shown].sort((a, b) => a - b),
  );
  assert.equal(await persistedClockMs(path), 6000);
  times.pass(500);
  assert.equal(await persistedClockMs(path), 6000, 'behind the holder, never before it');
  await clock.stop();
  assert.equal(await persistedClockMs(path), 6500);
  writeFileSync(path, '{}');
  await assert.rejects(persistedClockMs(path), { code: 'datastore-damaged' });
});
