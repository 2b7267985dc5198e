// How tasks end when the server does: waited for, aborted, given up; and what the next start makes of those that a kill cut off.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { BEGIN_MS, gate, TaskFixture, untilAborted } from './fixture.ts';

const GC = { type: 'garbage_collection', id: 'store1', authId: 'root@pam' };

test('a drain starts nothing more, and waits for what runs', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const { opened, open } = gate();
  const task = tasks.start(GC, async () => await opened);
  const drained = tasks.drain(60_000);
  assert.throws(() => tasks.start(GC, async () => {}), { code: 'task-failed', message: /stopping/ });
  open();
  assert.deepEqual(await drained, { aborted: 0, interrupted: 0 });
  assert.equal((await task.done).status, 'OK');
});

test('after the deadline, or when told to, a drain aborts what is left', async () => {
  using fixture = new TaskFixture();
  const one = fixture.tasks();
  const task = one.start(GC, untilAborted);
  assert.deepEqual(await one.drain(20), { aborted: 1, interrupted: 0 });
  assert.equal((await task.done).status, 'aborted: the server is stopping');
  // As after a restart: another second, for the process is the same.
  fixture.nowMs += 1000;
  const two = fixture.tasks();
  two.start(GC, untilAborted);
  const hurry = new AbortController();
  const drained = two.drain(600_000, hurry.signal);
  hurry.abort();
  assert.deepEqual(await drained, { aborted: 1, interrupted: 0 });
});

test('what listens to no abort is given up after some seconds, as interrupted', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const { opened, open } = gate();
  const task = tasks.start(GC, async () => await opened);
  assert.deepEqual(await tasks.drain(0), { aborted: 1, interrupted: 1 });
  assert.equal(tasks.status(task.upid).exitstatus, 'interrupted: the server stopped');
  open();
  await task.done;
});

test('tasks of one datastore are aborted and waited for, some seconds at most; others go on', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const { opened, open } = gate();
  const session = tasks.start({ type: 'backup', id: 'store1:vm/1', authId: 'root@pam' }, untilAborted);
  const other = tasks.start({ ...GC, id: 'store10' }, async () => await opened);
  assert.equal(await tasks.abortAll('store1', 'it goes offline'), true);
  assert.equal((await session.done).status, 'aborted: it goes offline');
  assert.equal(tasks.status(other.upid).status, 'running');
  assert.equal(await tasks.abortAll('store10', 'it goes offline'), false, 'it listens to no abort');
  open();
  await other.done;
  assert.equal(await tasks.abortAll('store10', 'it goes offline'), true);
});

test('tasks of a process that was killed are ended as interrupted, with a line of their own in the log', async () => {
  using fixture = new TaskFixture();
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', fileURLToPath(new URL('killed-process.ts', import.meta.url)), fixture.directory],
    { stdio: ['ignore', 'pipe', 'inherit'], cwd: fileURLToPath(new URL('../../..', import.meta.url)) },
  );
  let said = '';
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (said.includes('\n')) break;
  }
  child.kill('SIGKILL');
  const [running, ended] = said.trim().split(' ');
  const tasks = fixture.tasks({ clock: () => Date.now() });
  assert.equal(tasks.status(running).status, 'running');
  const path = fixture.logPath(running);
  // Half a line is what a kill leaves at worst.
  appendFileSync(path, 'half a li');
  const diedAt = Math.floor(Date.now() / 1000) - 1;
  utimesSync(path, diedAt, diedAt);
  assert.equal(await tasks.markInterrupted(), 1);
  const status = tasks.status(running);
  assert.equal(status.exitstatus, 'interrupted: the server stopped');
  assert.ok(status.endtime === diedAt || status.endtime === status.starttime, 'it lived as long as its log grew');
  const { lines } = await tasks.log(running, 0, 0);
  assert.match(lines[0].t, /: still at work 0$/);
  assert.equal(lines.at(-2)?.t, 'half a li');
  assert.match(lines.at(-1)?.t ?? '', /^20.*: TASK ERROR: interrupted: the server stopped$/);
  assert.equal(tasks.status(ended).exitstatus, 'OK');
  assert.equal(await tasks.markInterrupted(), 0);
});

test('a task that runs in this process is not interrupted, and a log that is gone keeps nobody from starting', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const task = tasks.start(GC, async (work) => {
    work.log('begun');
    await untilAborted(work);
  });
  assert.equal(await tasks.markInterrupted(), 0);
  const next = fixture.tasks();
  await tasks.log(task.upid, 0, 0);
  rmSync(`${fixture.directory}/log`, { recursive: true });
  assert.equal(await next.markInterrupted(), 1);
  assert.equal(next.status(task.upid).endtime, BEGIN_MS / 1000);
  assert.match((await next.log(task.upid, 0, 0)).lines.map(({ t }) => t).join('\n'), /no content\n.*interrupted/);
  tasks.abort(task.upid, 'x');
  await task.done;
});

test('history is kept for its days, and no more than its count', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const upids: string[] = [];
  for (let day = 0; day < 10; day++) {
    const { upid, done } = tasks.start(GC, async () => {});
    await done;
    upids.push(upid);
    fixture.nowMs += 86_400_000;
  }
  const running = tasks.start(GC, untilAborted);
  const paths = upids.map((upid) => fixture.logPath(upid));
  assert.equal(await tasks.prune({ maxAgeDays: 7, maxCount: 100 }), 3);
  assert.equal(await tasks.prune({ maxAgeDays: 7, maxCount: 2 }), 5);
  assert.deepEqual(
    tasks.list({}).rows.map(({ upid }) => upid),
    [running.upid, upids[9], upids[8]],
  );
  for (const [place, path] of paths.entries()) {
    if (place < 8) assert.throws(() => readFileSync(path), { code: 'ENOENT' });
    else assert.match(readFileSync(path, 'utf8'), /TASK OK/);
  }
  tasks.abort(running.upid, 'x');
  await running.done;
  await setTimeout(0);
});
