// What runs beside what: limits, the order of a night, one run of a job at a time, time-outs, retries, and jobs that change while they run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job } from '../../../src/jobs/schedule/job.ts';
import { ACTOR, HOUR, LIGHT_TASKS, MINUTE, ScheduleFixture } from './fixture.ts';

const MAIN = { store: 'main' };

function night(more: ConstructorParameters<typeof ScheduleFixture>[0] = {}): ScheduleFixture {
  const jobs = new ScheduleFixture({ tasks: LIGHT_TASKS, ...more });
  jobs.isQuick = false;
  jobs.at('2026-11-21T12:00:00Z');
  return jobs;
}

const AT_TWO = '2026-11-22T01:00:00Z';

test('a night on a datastore goes backup, prune, gc, verify, sync; other datastores do not wait for it', async () => {
  using jobs = night();
  for (const kind of ['sync', 'verify', 'gc', 'prune', 'backup']) jobs.add(kind, { kind, options: MAIN });
  jobs.add('second-backup', { options: MAIN });
  jobs.add('elsewhere', { kind: 'verify', options: { store: 'other' } });
  await jobs.until(AT_TWO, HOUR);
  assert.deepEqual(jobs.ids().sort(), ['backup', 'elsewhere', 'second-backup']);
  jobs.works.find(({ job }) => job.id === 'second-backup')?.end();
  await jobs.settle();
  assert.equal(jobs.works.length, 3, 'the other backup still runs');
  jobs.works.find(({ job }) => job.id === 'backup')?.fail();
  for (const next of ['prune', 'gc', 'verify', 'sync']) {
    await jobs.settle();
    assert.equal(jobs.works.at(-1)?.job.id, next);
    jobs.works.at(-1)?.end();
  }
});

test('what comes before in a night is waited for, but not for ever', async () => {
  using jobs = night({ times: { stageWaitMs: 3 * HOUR } });
  jobs.add('endless', { options: MAIN });
  jobs.add('prune', { kind: 'prune', options: MAIN });
  await jobs.until('2026-11-22T03:59:00Z', HOUR / 4);
  assert.deepEqual(jobs.ids(), ['endless']);
  await jobs.until('2026-11-22T04:01:00Z');
  assert.deepEqual(jobs.ids(), ['endless', 'prune']);
});

test('limits of nodes and datastores hold, first come first served, and who needs something else passes by', async () => {
  using jobs = night({ limits: { all: 10, node: 2, datastore: 3 } });
  for (let n = 1; n <= 4; n++) jobs.add(`a${n}`, { options: { store: 'main', node: 'one' } });
  for (let n = 1; n <= 3; n++) jobs.add(`b${n}`, { options: { store: 'main', node: 'two' } });
  jobs.add('c', { options: { store: 'other', node: 'two' } });
  await jobs.until(AT_TWO, HOUR);
  assert.deepEqual(jobs.ids(), ['a1', 'a2', 'b1', 'c'], 'a3 and a4 wait for their node, b2 and b3 for the datastore');
  const running = () => jobs.works.filter(({ job }) => !jobs.ends.some(({ id }) => id === job.id));
  for (const next of ['a3', 'a4', 'b2', 'b3']) {
    running()
      .find(({ job }) => job.id !== 'c' && job.id[0] === next[0])
      ?.end();
    await jobs.settle();
    assert.equal(jobs.works.at(-1)?.job.id, next);
    assert.ok(running().filter(({ job }) => job.options.node === 'one').length <= 2, next);
    assert.ok(running().filter(({ job }) => job.options.store === 'main').length <= 3, next);
  }
});

test('all jobs of 50 guests run within the limits, and one that hangs holds up no other longer than its time-out', async () => {
  using jobs = night({ limits: { all: 10, node: 2, datastore: 4 }, times: { graceMs: 50 } });
  jobs.isQuick = true;
  jobs.add('a-hangs', { options: { store: 'main', node: 'one', hangs: true }, timeoutMs: 1000 });
  for (let n = 10; n < 60; n++) jobs.add(`g${n}`, { options: { store: 'main', node: 'one' } });
  jobs.add('prune', { kind: 'prune', options: MAIN });
  const begun = performance.now();
  await jobs.until(AT_TWO, HOUR);
  await jobs.ended(52);
  const took = performance.now() - begun;
  assert.ok(took < 4000, `${took} ms`);
  assert.deepEqual(jobs.history({ id: 'a-hangs' }), ['backup/a-hangs schedule error']);
  assert.match(jobs.store.runs({ id: 'a-hangs' }).rows[0]?.message ?? '', /longer than its time-out of 1 s/);
  assert.deepEqual(jobs.history({ id: 'prune' }), ['prune/prune schedule ok']);
  // Its work goes on: it is not started beside it.
  jobs.nowMs += 24 * HOUR;
  await jobs.tick();
  assert.deepEqual(jobs.history({ id: 'a-hangs' }), [
    'backup/a-hangs schedule skipped',
    'backup/a-hangs schedule error',
  ]);
  jobs.works.find(({ job }) => job.id === 'a-hangs')?.end();
  await jobs.settle();
  jobs.scheduler.runNow({ kind: 'backup', id: 'a-hangs' }, 'root@pam');
});

test('the place of a run that hangs is free at its time-out: not before, and not only after the grace', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  using jobs = night({ limits: { all: 10, node: 1, datastore: 4 } });
  jobs.add('a-hangs', { options: { ...MAIN, node: 'one', hangs: true }, timeoutMs: MINUTE });
  jobs.add('b-waits', { options: { ...MAIN, node: 'one' } });
  await jobs.until(AT_TWO, HOUR);
  t.mock.timers.tick(MINUTE - 1);
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['a-hangs'], 'a millisecond before');
  t.mock.timers.tick(1);
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['a-hangs', 'b-waits']);
  assert.deepEqual(jobs.history({ id: 'a-hangs' }), ['backup/a-hangs schedule running'], 'it may still end by itself');
  t.mock.timers.tick(9_999);
  await jobs.settle();
  assert.equal(jobs.ends.length, 0);
  t.mock.timers.tick(1);
  await jobs.settle();
  assert.deepEqual(jobs.history({ id: 'a-hangs' }), ['backup/a-hangs schedule error']);
});

test('a run that is stopped keeps its place until it has ended, and no longer than its grace', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  using jobs = new ScheduleFixture({ limits: { all: 10, node: 1, datastore: 4 } });
  jobs.isQuick = false;
  const options = { ...MAIN, node: 'one', hangs: true };
  const keys = ['a', 'b', 'c'].map((id) => jobs.add(id, { schedule: null, options }));
  const [a, b] = keys.map((key) => jobs.scheduler.runNow(key, 'root@pam'));
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['a']);
  jobs.tasks.abort(a?.upid as string, 'stopped');
  t.mock.timers.tick(9_000);
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['a'], 'it is still at work');
  jobs.works[0]?.end();
  await jobs.ended(1);
  assert.deepEqual(jobs.ids(), ['a', 'b']);
  jobs.tasks.abort(b?.upid as string, 'stopped');
  t.mock.timers.tick(9_999);
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['a', 'b'], 'the next one has no place yet');
  t.mock.timers.tick(1);
  await jobs.ended(2);
  assert.deepEqual(jobs.ids(), ['a', 'b', 'c']);
  assert.throws(() => jobs.scheduler.runNow(keys[1] as Job, 'root@pam'), { code: 'exists' }, 'its work goes on');
});

test('runs that wait too long are all skipped, also those that could begin when the others go', async () => {
  const times = { queueWaitMs: HOUR, stageWaitMs: 3 * HOUR };
  using jobs = night({ limits: { all: 10, node: 1, datastore: 4 }, times });
  jobs.add('a-endless', { options: { store: 'other', node: 'one' } });
  jobs.add('b-waits', { options: { ...MAIN, node: 'one' } });
  jobs.add('prune', { kind: 'prune', options: MAIN });
  await jobs.until('2026-11-22T02:01:00Z', HOUR / 2);
  assert.deepEqual(jobs.ids(), ['a-endless']);
  assert.deepEqual(jobs.history(), [
    'prune/prune schedule skipped',
    'backup/b-waits schedule skipped',
    'backup/a-endless schedule running',
  ]);
});

test('a disk that is full for a while: others begin all the same, and each end is noted when there is room', async () => {
  using jobs = night();
  for (const id of ['a', 'b', 'c']) jobs.add(id, { retries: id === 'b' ? 1 : 0 });
  const write = jobs.store.changeRun.bind(jobs.store);
  let isFull = true;
  jobs.store.changeRun = (...change) => {
    if (isFull) throw new Error('disk full');
    write(...change);
  };
  await jobs.until(AT_TWO, HOUR);
  assert.deepEqual(jobs.ids(), ['a', 'b', 'c']);
  jobs.works[0]?.end();
  jobs.works[1]?.fail();
  await jobs.settle();
  assert.equal(jobs.scheduler.activeCount, 1);
  assert.match(jobs.reports.join('\n'), /the end of a run is not noted yet: disk full/);
  isFull = false;
  await jobs.until('2026-11-22T01:01:00Z');
  jobs.works[2]?.end();
  await jobs.settle();
  assert.deepEqual(jobs.ends.map(({ id, state }) => `${id} ${state}`).sort(), ['a ok', 'b error', 'c ok']);
  await jobs.until('2026-11-22T01:06:00Z');
  assert.deepEqual(jobs.history({ id: 'b' }), ['backup/b retry running', 'backup/b schedule error']);
});

test('what cannot be started ends as an error, and takes no other along', async () => {
  const start: typeof LIGHT_TASKS.start = (request, body) => {
    if (request.id === 'main:b') throw new Error('no task can be started');
    return LIGHT_TASKS.start(request, body);
  };
  using jobs = night({
    tasks: { start },
    onRunEnd: () => {
      throw new Error('nobody listens');
    },
  });
  for (const id of ['a', 'b', 'c']) jobs.add(id);
  await jobs.until(AT_TWO, HOUR);
  assert.deepEqual(jobs.ids(), ['a', 'c']);
  assert.deepEqual(jobs.history({ id: 'b' }), ['backup/b schedule error']);
  assert.match(jobs.reports.join('\n'), /the end of a run is not told: nobody listens/);
});

test('a job that runs is not started beside itself: its slots are noted, and by hand it is an error', async () => {
  using jobs = night();
  const key = jobs.add('long', { schedule: 'hourly' });
  await jobs.until('2026-11-21T16:00:00Z', 10 * MINUTE);
  assert.deepEqual(jobs.history(), ['backup/long schedule skipped', 'backup/long schedule running']);
  assert.match(jobs.store.runs({}).rows[0]?.message ?? '', /run 1 of before still runs; 3 slots until 2026-11-21T16/);
  assert.throws(() => jobs.scheduler.runNow(key, 'root@pam'), { code: 'exists', message: /runs already/ });
  jobs.works[0]?.end();
  await jobs.settle();
  jobs.scheduler.runNow(key, 'ann@pbs');
  await jobs.settle();
  assert.equal(jobs.works.length, 2);
  assert.throws(() => jobs.scheduler.runNow({ kind: 'gc', id: 'long' }, 'root@pam'), { code: 'not-found' });
});

test('what failed is tried again after a while that doubles, as often as the job says', async () => {
  using jobs = night();
  jobs.add('fails', { options: { ...MAIN, fails: true }, retries: 2, retryDelayMs: 5 * MINUTE });
  await jobs.until('2026-11-22T02:00:00Z');
  assert.deepEqual(
    jobs.store
      .runs({})
      .rows.map(({ reason, attempt, startMs, message }) => [
        reason,
        attempt,
        new Date(startMs as number).toISOString().slice(11, 16),
        message,
      ]),
    [
      ['retry', 2, '01:15', 'it failed'],
      ['retry', 1, '01:05', 'it failed'],
      ['schedule', 0, '01:00', 'it failed'],
    ],
  );
  const { state } = jobs.book.get({ kind: 'backup', id: 'fails' });
  assert.equal(state.owed, null);
});

test('a retry outlives a restart, and the next slot takes its place', async () => {
  using jobs = night();
  jobs.add('fails', { schedule: 'hourly', options: { ...MAIN, fails: true }, retries: 1, retryDelayMs: HOUR });
  await jobs.until('2026-11-21T13:00:00Z', HOUR);
  await jobs.killAndStart();
  await jobs.until('2026-11-21T14:00:30Z', HOUR);
  assert.deepEqual(jobs.history(), ['backup/fails schedule error', 'backup/fails schedule error']);
});

test('a job that is edited or removed while it runs ends with what it began with', async () => {
  using jobs = night();
  const key = jobs.add('edited', { comment: 'before' });
  const gone = jobs.add('gone');
  await jobs.until(AT_TWO, HOUR);
  jobs.book.update(ACTOR, key, { options: { store: 'other' }, comment: 'after', schedule: '05:00' });
  jobs.scheduler.changed(key);
  jobs.book.remove(ACTOR, gone);
  jobs.scheduler.changed(gone);
  assert.deepEqual(
    jobs.works.map(({ job }) => [job.id, job.comment, job.options.store]),
    [
      ['edited', 'before', 'main'],
      ['gone', '', 'main'],
    ],
  );
  for (const work of jobs.works) work.end();
  await jobs.settle();
  assert.deepEqual(jobs.history(), ['backup/gone schedule ok', 'backup/edited schedule ok']);
  await jobs.until('2026-11-22T04:00:00Z', HOUR);
  assert.equal(jobs.works.at(-1)?.job.options.store, 'other');
  assert.equal(jobs.works.length, 3);
});

test('what is stopped by hand, waiting or running, is not tried again', async () => {
  using jobs = night({ limits: { all: 1, node: 1, datastore: 1 } });
  const tasks = jobs.tasks;
  using real = night({ tasks, limits: { all: 1, node: 1, datastore: 1 } });
  const first = real.add('first', { retries: 3 });
  const second = real.add('second', { retries: 3 });
  real.scheduler.runNow(first, 'root@pam');
  const { upid } = real.scheduler.runNow(second, 'root@pam');
  await real.settle();
  assert.deepEqual(real.ids(), ['first']);
  tasks.abort(upid, 'not now');
  await real.ended(1);
  assert.deepEqual(real.history({ id: 'second' }), ['backup/second hand error']);
  tasks.abort(real.store.runs({ id: 'first' }).rows[0]?.upid as string, 'stop');
  await real.ended(2);
  assert.equal(real.book.get(first).state.owed, null);
  assert.equal(real.scheduler.activeCount, 0);
});

test('what waits for too long is skipped', async () => {
  using jobs = night({ limits: { all: 1, node: 1, datastore: 1 }, times: { queueWaitMs: 2 * HOUR } });
  jobs.add('a-endless');
  jobs.add('b-waits');
  await jobs.until('2026-11-22T03:01:00Z', HOUR / 2);
  assert.deepEqual(jobs.history({ id: 'b-waits' }), ['backup/b-waits schedule skipped']);
  assert.match(jobs.ends[0]?.message ?? '', /within 2 h/);
});

test('the history is bounded, for each job and for all', () => {
  using jobs = night();
  const run = {
    reason: 'hand',
    slotMs: null,
    attempt: 0,
    authId: 'a@b',
    queuedMs: 1,
    startMs: 1,
    upid: null,
    message: '',
  } as const;
  for (let n = 0; n < 30; n++)
    for (const id of ['a', 'b'])
      jobs.store.addRun({ kind: 'gc', id, state: n === 0 ? 'running' : 'ok', endMs: n === 0 ? null : 2, ...run });
  const kept = (id: string): number[] => jobs.store.runs({ id, states: ['ok'] }).rows.map(({ number }) => number);
  const before = kept('a');
  assert.equal(jobs.store.pruneRuns(10, 1000), 2 * 19);
  assert.deepEqual(kept('a'), before.slice(0, 10), 'the newest of each job');
  assert.equal(jobs.store.pruneRuns(10, 15), 5);
  assert.deepEqual(kept('a'), before.slice(0, 7), 'the newest of all');
  assert.equal(kept('b').length, 8);
  assert.equal(jobs.store.runs({ states: ['running'] }).total, 2, 'what runs stays');
  assert.equal(jobs.store.pruneRuns(10, 15), 0);
});

test('jobs that cannot be are refused with what is wrong', () => {
  using jobs = night();
  const wrong = (more: object, code: string, message: RegExp): void => {
    assert.throws(() => jobs.add('x', more), { code, message });
  };
  wrong({ schedule: 'every blue moon' }, 'bad-argument', /blue|moon|every/);
  wrong({ kind: 'dance' }, 'bad-argument', /take backup, prune/);
  wrong({ id: '-x' }, 'bad-name', /id of a job/);
  wrong({ options: {} }, 'bad-argument', /store is missing/);
  wrong({ comment: 'two\nlines' }, 'bad-argument', /one line/);
  wrong({ timeoutMs: 1 }, 'bad-argument', /timeout/);
  wrong({ options: { store: 'm', long: 'x'.repeat(70_000) } }, 'too-large', /options/);
  jobs.add('x');
  wrong({}, 'exists', /backup\/x/);
  jobs.add('x', { kind: 'gc' });
});
