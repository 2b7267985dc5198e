// Progress: share, rate over the last half minute, time left, and lines for the log that are few.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Progress } from '../../../src/jobs/tasks/progress.ts';

const MIB = 1024 * 1024;

test('rate and time left come from what the last half minute brought', () => {
  const progress = new Progress(0);
  assert.equal(progress.at(0), undefined);
  // A slow minute, then a faster one.
  for (let second = 0; second <= 60; second++)
    progress.update({ what: 'read', bytesDone: second * MIB, bytesTotal: 1000 * MIB }, second * 1000);
  for (let second = 61; second <= 120; second++)
    progress.update({ what: 'read', bytesDone: (60 + (second - 60) * 5) * MIB, bytesTotal: 1000 * MIB }, second * 1000);
  const now = progress.at(120_000);
  assert.equal(now?.percent, 36);
  assert.equal(now?.bytesPerSecond, 5 * MIB);
  assert.equal(now?.etaSeconds, 128);
});

test('without a total there is no share and no end in sight', () => {
  const progress = new Progress(0);
  progress.update({ what: 'read', bytesDone: 0, bytesTotal: undefined }, 0);
  progress.update({ what: 'read', bytesDone: 4 * MIB, bytesTotal: undefined }, 2000);
  assert.deepEqual(progress.at(2000), {
    what: 'read',
    bytesDone: 4 * MIB,
    bytesTotal: undefined,
    percent: undefined,
    bytesPerSecond: 2 * MIB,
    etaSeconds: undefined,
  });
  progress.update({ what: 'empty', bytesDone: 0, bytesTotal: 0 }, 3000);
  assert.equal(progress.at(3000)?.percent, undefined);
});

test('another phase, a step back and a clock that is set back begin anew', () => {
  const progress = new Progress(100_000);
  const at = (what: string, bytesDone: number, ms: number) => {
    progress.update({ what, bytesDone, bytesTotal: 100 }, ms);
    return progress.at(ms)?.bytesPerSecond;
  };
  at('read', 0, 100_000);
  assert.equal(at('read', 10, 101_000), 10);
  assert.equal(at('check', 50, 102_000), undefined);
  assert.equal(at('check', 60, 104_000), 5);
  assert.equal(at('check', 0, 105_000), undefined);
  assert.equal(at('check', 10, 20_000), undefined);
  assert.equal(at('check', 30, 22_000), 10);
});

test('lines are a tenth apart, or a minute, and never less than two seconds', () => {
  const lines: string[] = [];
  const run = (totalSeconds: number, percentASecond: number): string[] => {
    const progress = new Progress(0);
    lines.length = 0;
    for (let ms = 0; ms <= totalSeconds * 1000; ms += 100) {
      const bytesDone = Math.min(100, (ms / 1000) * percentASecond) * MIB;
      const line = progress.update({ what: 'read', bytesDone, bytesTotal: 100 * MIB }, ms);
      if (line !== undefined) lines.push(line);
    }
    return lines;
  };
  assert.equal(run(1, 100).length, 0, 'a short task has none');
  assert.equal(run(10, 10).length, 5);
  assert.equal(run(100, 1).length, 10);
  assert.equal(run(600, 0.01).length, 10, 'one a minute');
  assert.equal(run(100, 1)[0], 'read: 10.0% (10.0 MiB of 100 MiB), 1.00 MiB/s, 0:01:30 left');
});
