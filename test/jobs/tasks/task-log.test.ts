// Logs: bounded lines and files, pages by number, changes that are waited for, and disks that take nothing more.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineIndex } from '../../../src/jobs/tasks/line-index.ts';
import { bounded, localTime, logLines, MAX_LINE_BYTES } from '../../../src/jobs/tasks/log-line.ts';
import { indexLog, readLines } from '../../../src/jobs/tasks/read-log.ts';
import { TaskLog } from '../../../src/jobs/tasks/task-log.ts';
import { SmallDisk, skipSmallDisk } from '../../support/small-disk.ts';
import { BEGIN_MS, gate, TaskFixture, untilAborted } from './fixture.ts';

const TASK = { type: 'verify', id: 'store1', authId: 'root@pam' };
const now = (): number => BEGIN_MS;

test('a line stays one line of bounded length, whatever it is made of', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 9000 }), (text) => {
      for (const line of logLines(BEGIN_MS, text)) {
        assert.ok(Buffer.byteLength(line) <= MAX_LINE_BYTES);
        assert.match(line, /^\S{25}: [^\p{Cc}\u2028\u2029]*\n$/u);
      }
    }),
  );
  assert.equal(bounded('x'.repeat(100), 50), `${'x'.repeat(38)} … (cut)`);
  assert.equal(bounded('x'.repeat(50), 50), 'x'.repeat(50));
  assert.equal(bounded('\u001b[31mred\u0000'), '\\u001b[31mred\\u0000');
  assert.equal(logLines(BEGIN_MS, 'x\n'.repeat(5000)).length, 1001);
});

test('the local time is the moment that it was made of', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
      assert.equal(Date.parse(localTime(seconds * 1000)), seconds * 1000);
    }),
  );
});

test('any page of a log is the same lines of the file', async () => {
  using fixture = new TaskFixture();
  const path = join(fixture.directory, 'some.log');
  const lines = Array.from({ length: 1500 }, (_, place) => `line ${place} ${'ä'.repeat((place * 37) % 200)}`);
  writeFileSync(path, `${lines.join('\n')}\nunfinished`);
  const index = await indexLog(path);
  assert.equal(index.lines, 1500);
  await fc.assert(
    fc.asyncProperty(fc.nat(1600), fc.nat(700), async (start, limit) => {
      const first = Math.max(1, start);
      const end = limit === 0 ? 1500 : first - 1 + limit;
      assert.deepEqual(
        await readLines(path, index, start, limit),
        lines.slice(first - 1, end).map((t, place) => ({ n: first + place, t })),
      );
    }),
    { numRuns: 60 },
  );
});

test('an index is the same in whatever pieces the file comes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 5 }), { maxLength: 900 }),
      fc.integer({ min: 1, max: 400 }),
      (lines, step) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const [whole, pieces] = [new LineIndex(), new LineIndex()];
        whole.push(bytes);
        for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.subarray(at, at + step));
        assert.deepEqual([pieces.lines, pieces.bytes], [whole.lines, whole.bytes]);
        for (const line of [0, 255, 256, 700]) assert.deepEqual(pieces.before(line), whole.before(line));
      },
    ),
  );
});

test('pages of a running task and of one that has ended are those of the file', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const { opened, open } = gate();
  const task = tasks.start(TASK, async ({ log }) => {
    for (let line = 1; line <= 1000; line++) log(`line ${line}`);
    await opened;
  });
  const numbers = async (start: number, limit: number): Promise<number[]> =>
    (await tasks.log(task.upid, start, limit)).lines.map(({ n }) => n);
  const live = await tasks.log(task.upid, 999, 50);
  assert.deepEqual(
    live.lines.map(({ n, t }) => `${n} ${t.slice(27)}`),
    ['999 line 999', '1000 line 1000'],
  );
  assert.deepEqual([live.total, live.active], [1000, true]);
  assert.deepEqual(await numbers(0, 2), [1, 2]);
  assert.deepEqual(await numbers(1, 2), [1, 2]);
  assert.deepEqual(await numbers(1001, 5), []);
  assert.equal((await numbers(0, 0)).length, 1000);
  open();
  await task.done;
  const end = await tasks.log(task.upid, 1001, 50);
  assert.deepEqual(
    end.lines.map(({ n, t }) => `${n} ${t.slice(27)}`),
    ['1001 TASK OK'],
  );
  assert.deepEqual([end.total, end.active], [1001, false]);
});

test('a log that is full says so once, and still has the end', async () => {
  using fixture = new TaskFixture();
  const log = new TaskLog(join(fixture.directory, 'full.log'), now, 10_000);
  for (let line = 0; line < 1000; line++) log.append(`line ${line}`);
  await log.close('TASK OK');
  const lines = readFileSync(log.path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(27));
  assert.ok(statSync(log.path).size < 10_500);
  assert.equal(lines.at(-1), 'TASK OK');
  const kept = lines.filter((line) => line.startsWith('line')).length;
  assert.deepEqual(lines.slice(-3, -1), [
    'this log is full (10000 bytes): what follows is left out',
    `${1000 - kept} lines were left out`,
  ]);
});

test('lines that come faster than the disk takes them are counted, not kept in memory', async () => {
  using fixture = new TaskFixture();
  const log = new TaskLog(join(fixture.directory, 'fast.log'), now);
  const text = 'x'.repeat(3000);
  for (let line = 0; line < 1000; line++) log.append(text);
  await log.close('TASK OK');
  const written = readFileSync(log.path, 'utf8').trimEnd().split('\n').length - 1;
  assert.ok(written > 300 && written < 400, String(written));
  assert.equal(log.note, `${1000 - written} lines could not be written to the log: the disk is too slow`);
});

test('a log that cannot be made stops no task; the end and the loss can be read all the same', async () => {
  using fixture = new TaskFixture();
  writeFileSync(join(fixture.directory, 'log'), 'a file where the folder should be');
  const tasks = fixture.tasks();
  const task = tasks.start(TASK, async ({ log }) => log('one'));
  assert.equal((await task.done).status, 'OK');
  const { lines, total } = await tasks.log(task.upid, 0, 0);
  assert.deepEqual(
    lines.map(({ n }) => n),
    [1, 2, 3],
  );
  assert.equal(total, 3);
  assert.match(lines[1].t, /^2 lines could not be written to the log: (EEXIST|ENOTDIR)/);
  assert.equal(lines[2].t, 'the task ended: OK');
});

test('on a full disk a task goes on, and what its log misses is said while it runs and after it', {
  skip: skipSmallDisk(),
}, async () => {
  using fixture = new TaskFixture();
  const disk = new SmallDisk(8 * 1024 * 1024);
  try {
    mkdirSync(join(disk.mountPath, 'log'));
    const tasks = fixture.tasks({ directory: join(disk.mountPath, 'log') });
    const full = gate();
    const task = tasks.start(TASK, async (work) => {
      work.log('before');
      await full.opened;
      for (let line = 0; line < 200; line++) work.log('x'.repeat(3000));
      await untilAborted(work).catch(() => undefined);
    });
    await tasks.log(task.upid, 0, 0);
    disk.fill();
    full.open();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const live = await tasks.log(task.upid, 0, 0);
    assert.match(live.lines[0].t, /: before$/);
    assert.match(live.lines.at(-1)?.t ?? '', /^\d+ lines could not be written to the log: ENOSPC/);
    assert.equal(tasks.status(task.upid).status, 'running');
    tasks.abort(task.upid, 'x');
    assert.equal((await task.done).status, 'OK');
    const { lines, total } = await tasks.log(task.upid, 0, 0);
    assert.deepEqual(
      lines.slice(-2).map(({ n, t }) => [n, t.replace(/\d+ lines.*/, 'note')]),
      [
        [total - 1, 'note'],
        [total, 'the task ended: OK'],
      ],
    );
    for (const { t } of lines.slice(0, -2)) assert.match(t, /^20\S+: /, 'no line is torn');
  } finally {
    disk.dispose();
  }
});
