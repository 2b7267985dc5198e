// The life of a task: started, asked about, ended in each way.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TaskEnd } from '../../../src/jobs/tasks/task.ts';
import { parseUpid } from '../../../src/schema/upid.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { BEGIN_MS, gate, TaskFixture, untilAborted } from './fixture.ts';

const VERIFY = { type: 'verify', id: 'store1:vm/100', authId: 'admin@pbs!ci' };

async function texts(tasks: ReturnType<TaskFixture['tasks']>, upid: string): Promise<string[]> {
  return (await tasks.log(upid, 0, 0)).lines.map(({ t }) => t.replace(/^\S+: /, ''));
}

test('a task can be asked about the moment that its UPID is there, and when it has ended', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const { opened, open } = gate();
  const task = tasks.start(VERIFY, async ({ log }) => {
    log('verify store1');
    await opened;
    return { data: { chunks: 3 } };
  });
  const upid = parseUpid(task.upid);
  assert.deepEqual(
    { ...upid, pstart: 0, taskId: 0 },
    {
      node: 'vm',
      pid: process.pid,
      pstart: 0,
      taskId: 0,
      starttime: BEGIN_MS / 1000,
      type: 'verify',
      id: 'store1:vm/100',
      user: 'admin@pbs!ci',
    },
  );
  assert.ok(upid.pstart > 0);
  assert.deepEqual(tasks.status(task.upid), { upid: task.upid, ...upid, status: 'running' });
  assert.equal(tasks.get(task.upid)?.status, null);
  assert.deepEqual(
    tasks.list({ running: true }).rows.map((row) => row.upid),
    [task.upid],
  );
  assert.equal(tasks.list({ ended: true }).total, 0);
  assert.deepEqual(await texts(tasks, task.upid), ['verify store1']);
  assert.equal((await tasks.log(task.upid, 0, 0)).active, true);
  fixture.nowMs += 5500;
  open();
  const end = await task.done;
  assert.deepEqual(end, {
    upid: task.upid,
    outcome: 'ok',
    status: 'OK',
    endtime: BEGIN_MS / 1000 + 5,
    data: { chunks: 3 },
  });
  assert.deepEqual(tasks.status(task.upid), {
    upid: task.upid,
    ...upid,
    status: 'stopped',
    exitstatus: 'OK',
    endtime: BEGIN_MS / 1000 + 5,
  });
  assert.deepEqual(tasks.get(task.upid)?.data, { chunks: 3 });
  assert.deepEqual(await texts(tasks, task.upid), ['verify store1', 'TASK OK']);
  assert.equal(tasks.runningCount, 0);
  assert.deepEqual(tasks.list({ running: true }), { rows: [], total: 0 });
  assert.equal(tasks.list({ ended: true }).total, 1);
});

test('lines have the local time with its offset, as Proxmox writes them', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const task = tasks.start(VERIFY, async ({ log }) => log('a\nb'));
  await task.done;
  const text = readFileSync(fixture.logPath(task.upid), 'utf8');
  const stamps = text
    .trimEnd()
    .split('\n')
    .map((line) => /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d): /.exec(line)?.[1]);
  assert.equal(stamps.length, 3);
  for (const stamp of stamps) assert.equal(Date.parse(stamp ?? ''), BEGIN_MS);
});

test('warnings are counted, those that the result tells too', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const task = tasks.start(VERIFY, async ({ warn }) => {
    warn('one');
    warn('two');
    return { warnings: 3 };
  });
  assert.deepEqual((({ outcome, status }) => ({ outcome, status }))(await task.done), {
    outcome: 'warning',
    status: 'WARNINGS: 5',
  });
  assert.deepEqual(await texts(tasks, task.upid), ['WARN: one', 'WARN: two', 'TASK WARNINGS: 5']);
});

test('what the work throws is the status, on one line; the log has all of it', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const status = async (thrown: unknown): Promise<string> => {
    const task = tasks.start(VERIFY, () => {
      throw thrown;
    });
    const end = await task.done;
    assert.equal(end.outcome, 'error');
    assert.equal(end.error, thrown);
    assert.equal((await texts(tasks, task.upid)).at(-1), `TASK ERROR: ${end.status}`);
    return end.status;
  };
  assert.equal(await status(new HoldfastError('not-found', 'no such store')), 'no such store');
  assert.equal(await status(new HoldfastError('not-found', 'first\nsecond')), 'first');
  assert.equal(await status(new Error('OK')), 'failed: OK');
  assert.equal(await status(new Error('')), 'failed: ');
  assert.equal(await status('text'), 'text');
  assert.match(await status(new Error('x'.repeat(5000))), /^x{900,1020} … \(cut\)$/);
  const bug = tasks.start(VERIFY, async () => {
    throw new TypeError('a bug');
  });
  await bug.done;
  assert.match((await texts(tasks, bug.upid)).join('\n'), /a bug\n.*tasks\.test/);
});

test('what work leaves behind is kept with its end, also of work that failed and says so', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const data = { bytesStored: 7, warnings: ['VM 100: its disk is broken'] };
  const well = tasks.start(VERIFY, async () => ({ data }));
  assert.deepEqual((await well.done).data, data);
  const failed = tasks.start(VERIFY, async () => {
    throw new HoldfastError('task-failed', 'job errors', { data: { left: data } });
  });
  assert.deepEqual((await failed.done).data, data);
  assert.deepEqual([tasks.get(failed.upid)?.status, tasks.get(failed.upid)?.data], ['job errors', data]);
  const bare = tasks.start(VERIFY, async () => {
    throw new HoldfastError('task-failed', 'no more than that', { data: { left: 'nothing' } });
  });
  await bare.done;
  assert.equal(tasks.get(bare.upid)?.data, null);
});

test('abort reaches the work, and says who and why', async () => {
  using fixture = new TaskFixture();
  const ends: [string, TaskEnd][] = [];
  const tasks = fixture.tasks({ onEnd: (type, end) => ends.push([type, end]) });
  const task = tasks.start(VERIFY, untilAborted);
  assert.equal(tasks.abort(task.upid, 'asked for by', 'root@pam'), true);
  assert.equal(tasks.abort(task.upid, 'again'), true);
  const end = await task.done;
  assert.equal(end.status, 'aborted: asked for by (root@pam)');
  assert.equal(end.outcome, 'error');
  assert.deepEqual(await texts(tasks, task.upid), [
    'abort requested: asked for by (root@pam)',
    'TASK ERROR: aborted: asked for by (root@pam)',
  ]);
  assert.equal(tasks.abort(task.upid, 'late'), false);
  assert.deepEqual(ends, [['verify', end]]);
  assert.throws(() => tasks.abort(task.upid.replace('vm', 'other'), 'x'), { code: 'not-found' });
});

test('work that fails otherwise while it is aborted says so in the log; work that ends well ended well', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const failing = tasks.start(VERIFY, async (work) => {
    await untilAborted(work).catch(() => {
      throw new Error('could not clean up');
    });
  });
  const ending = tasks.start(VERIFY, async (work) => await untilAborted(work).catch(() => undefined));
  for (const { upid } of [failing, ending]) tasks.abort(upid, 'x');
  assert.equal((await failing.done).status, 'aborted: x');
  assert.ok((await texts(tasks, failing.upid)).includes('while it was being aborted: could not clean up'));
  assert.equal((await ending.done).status, 'OK');
});

test('what work says after its end is not kept', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  let say = (_: string): void => {};
  const task = tasks.start(VERIFY, async ({ warn }) => {
    say = warn;
  });
  await task.done;
  say('late');
  assert.deepEqual(await texts(tasks, task.upid), ['TASK OK']);
  assert.equal(tasks.status(task.upid).exitstatus, 'OK');
});

test('an unknown UPID is stopped and unknown, its log is not found, and what is no UPID is refused', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const upid = 'UPID:vm:00000001:0006D549:00000031:6B00F22F:verify:store1:admin@pbs:';
  assert.deepEqual(tasks.status(upid), { upid, ...parseUpid(upid), status: 'stopped', exitstatus: 'unknown' });
  await assert.rejects(tasks.log(upid, 0, 0), { code: 'not-found' });
  assert.equal(tasks.get(upid), undefined);
  assert.throws(() => tasks.status('UPID:nonsense'), { code: 'bad-name' });
  assert.throws(() => tasks.start({ ...VERIFY, type: 'no type' }, async () => {}), { code: 'bad-name' });
});

test('256 tasks run at once, and no more', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const running = Array.from({ length: 256 }, () => tasks.start(VERIFY, untilAborted));
  assert.equal(new Set(running.map(({ upid }) => upid)).size, 256);
  assert.throws(() => tasks.start(VERIFY, untilAborted), { code: 'too-many' });
  for (const { upid } of running) tasks.abort(upid, 'x');
  await Promise.all(running.map(({ done }) => done));
  assert.equal((await tasks.start(VERIFY, async () => {}).done).status, 'OK');
});

test('a state that cannot be written refuses a start, and keeps an end in memory until it can', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const task = tasks.start(VERIFY, untilAborted);
  fixture.db.pragma('query_only = ON');
  assert.throws(() => tasks.start(VERIFY, untilAborted), { code: 'task-failed', message: /state directory/ });
  tasks.abort(task.upid, 'x');
  await task.done;
  assert.equal(tasks.status(task.upid).exitstatus, 'aborted: x');
  assert.equal(tasks.list({}).rows[0].status, 'aborted: x');
  assert.equal(fixture.store.get(task.upid)?.status, null);
  fixture.db.pragma('query_only = OFF');
  assert.equal(tasks.list({ running: true }).total, 0);
  assert.equal(fixture.store.get(task.upid)?.status, 'aborted: x');
});
