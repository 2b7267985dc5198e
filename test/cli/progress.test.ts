import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Progress } from '../../src/cli/progress.ts';

const MiB = 1024 * 1024;

/** A stream that keeps what is written, and a clock that is set by hand. */
function rig(t: TestContext, isTTY: boolean) {
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const lines: string[] = [];
  const stream = { isTTY, write: (text: string) => void lines.push(text) } as unknown as NodeJS.WriteStream;
  const pass = (ms: number): void => {
    now += ms;
  };
  return { stream, lines, pass };
}

test('a log gets a line every ten seconds, the first after ten', (t) => {
  const { stream, lines, pass } = rig(t, false);
  const progress = new Progress(stream, false);
  for (let second = 1; second <= 35; second++) {
    pass(1000);
    progress.update('disk0.img', second * MiB, 70 * MiB);
  }
  progress.end();
  assert.deepEqual(lines, [
    'disk0.img:  14% 10.0 MiB of 70.0 MiB, 1.00 MiB/s\n',
    'disk0.img:  28% 20.0 MiB of 70.0 MiB, 1.00 MiB/s\n',
    'disk0.img:  42% 30.0 MiB of 70.0 MiB, 1.00 MiB/s\n',
  ]);
});

test('a terminal gets a bar ten times a second, drawn over and taken away', (t) => {
  const { stream, lines, pass } = rig(t, true);
  const progress = new Progress(stream, false);
  for (let step = 1; step <= 10; step++) {
    pass(50);
    progress.update('disk0.img', step * MiB, 10 * MiB);
  }
  progress.end();
  progress.end();
  assert.equal(lines.length, 6);
  for (const line of lines) assert.ok(line.startsWith('\r\x1b[K') && !line.includes('\n'));
  assert.equal(lines[0], `\r\x1b[Kdisk0.img [${'#'.repeat(3)}${'.'.repeat(27)}] 10% 1.00 MiB of 10.0 MiB 20.0 MiB/s`);
  assert.equal(lines.at(-1), '\r\x1b[K');
});

test('of a stream nobody knows the end', (t) => {
  const { stream, lines, pass } = rig(t, true);
  const progress = new Progress(stream, false);
  pass(200);
  progress.update('disk0.img', 5 * MiB, undefined);
  assert.match(lines[0], /\[\.{30}\] 5\.00 MiB 25\.0 MiB\/s$/);
});

test('more than all is all, and nothing of nothing is no division by zero', (t) => {
  const { stream, lines, pass } = rig(t, true);
  const progress = new Progress(stream, false);
  progress.update('disk0.img', 5, 0);
  pass(200);
  progress.update('disk0.img', 30 * MiB, 20 * MiB);
  assert.ok(!/NaN|Infinity/.test(lines.join('')));
  assert.match(lines[1], /\[#{30}\]100%/);
});

test('with JSON output nothing is drawn', (t) => {
  for (const isTTY of [true, false]) {
    const { stream, lines, pass } = rig(t, isTTY);
    const progress = new Progress(stream, true);
    pass(60_000);
    progress.update('disk0.img', 1, 2);
    progress.end();
    assert.deepEqual(lines, []);
    t.mock.restoreAll();
  }
});
