// Jobs of a datastore that is removed, over a real scheduler and list: they go with it wholly or not at all, and no run of them that waits comes to
// another datastore of that name.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { DatastoreList } from '../../../src/daemon/datastore-list.ts';
import { removeStoreJobs } from '../../../src/daemon/jobs/server-jobs.ts';
import { Zone } from '../../../src/jobs/calendar/zone.ts';
import { JobDesk } from '../../../src/jobs/schedule/job-desk.ts';
import { DatastoreTables } from '../../../src/state/datastore-tables.ts';
import { ScheduleFixture } from '../../jobs/schedule/fixture.ts';
import { ROOT } from '../list-fixture.ts';

const LIMITS = { all: 1, node: 1, datastore: 1 };

function fixture(t: TestContext) {
  const jobs = new ScheduleFixture({ limits: LIMITS });
  t.after(() => jobs[Symbol.dispose]());
  jobs.at('2026-03-02T12:00:00Z');
  const { book, store } = jobs;
  const desk = new JobDesk({
    ...{ book, store, zone: new Zone('UTC'), clock: () => jobs.nowMs },
    run: (key, authId) => jobs.scheduler.runNow(key, authId).upid,
    changed: (key) => jobs.scheduler.changed(key),
  });
  const made = { isFull: false };
  const list = new DatastoreList({
    table: new DatastoreTables(jobs.files.db),
    audit: {
      append: () => {
        if (made.isFull) throw new Error('the disk is full');
      },
    },
    transactions: store,
    stateDirectory: '/nowhere',
    removeJobs: (actor, name) => removeStoreJobs(desk, actor, name),
  });
  new DatastoreTables(jobs.files.db).add({ name: 'main', path: '/backup', comment: undefined, options: {} });
  return Object.assign(made, { jobs, list, desk });
}

test('when a datastore cannot be removed its jobs run on', async (t) => {
  const made = fixture(t);
  const { jobs, list } = made;
  jobs.add('nightly', { kind: 'prune' });
  made.isFull = true;
  assert.throws(() => list.remove(ROOT, 'main'), /the disk is full/);
  await jobs.until('2026-03-03T02:00:00Z');
  assert.deepEqual(jobs.ids(), ['nightly']);
  made.isFull = false;
  list.remove(ROOT, 'main');
  await jobs.until('2026-03-04T02:00:00Z');
  assert.deepEqual(jobs.ids(), ['nightly'], 'and no more');
});

test('a run that waits has no turn when its job goes with the datastore; what runs ends as it began', async (t) => {
  const { jobs, list } = fixture(t);
  jobs.isQuick = false;
  for (const kind of ['prune', 'gc', 'backup']) jobs.add(kind, { kind, options: { store: 'main' } });
  await jobs.until('2026-03-03T02:00:00Z');
  assert.deepEqual(jobs.ids(), ['backup']);
  list.remove(ROOT, 'main');
  assert.deepEqual(jobs.history(), [
    'backup/backup schedule running',
    'gc/gc schedule skipped',
    'prune/prune schedule skipped',
  ]);
  assert.match(jobs.store.runs({ kind: 'gc' }).rows[0]?.message ?? '', /^skipped: the job was removed$/);
  jobs.works[0]?.end();
  await jobs.idle();
  assert.deepEqual(jobs.ids(), ['backup'], 'nothing of them begins');
});

test('a run by hand that waits ends with its task when its job is removed, by this process or another', async (t) => {
  const { jobs, desk } = fixture(t);
  jobs.isQuick = false;
  for (const id of ['works', 'here', 'there', 'later']) jobs.add(id, { schedule: null });
  for (const id of ['works', 'here', 'there']) desk.run({ kind: 'backup', id }, 'root@pam');
  await jobs.settle();
  desk.remove(ROOT, { kind: 'backup', id: 'here' });
  jobs.store.remove({ kind: 'backup', id: 'there' });
  jobs.scheduler.changed({ kind: 'backup', id: 'there' });
  await jobs.ended(2);
  assert.deepEqual(jobs.ends.map(({ id, state, message }) => `${id} ${state} ${message}`).sort(), [
    'here error skipped: the job was removed',
    'there error skipped: the job was removed',
  ]);
  desk.remove(ROOT, { kind: 'backup', id: 'works' });
  await jobs.settle();
  assert.equal(jobs.history({ id: 'works' })[0], 'backup/works hand running', 'what works goes on');
  desk.run({ kind: 'backup', id: 'later' }, 'root@pam');
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['works'], 'and has its place still');
  jobs.works[0]?.end();
  await jobs.ended(3);
  assert.equal(jobs.history({ id: 'works' })[0], 'backup/works hand ok');
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['works', 'later']);
  jobs.works[1]?.end();
  await jobs.idle();
});

test('a job that another process removed has no turn, though nobody has looked yet', async (t) => {
  const { jobs } = fixture(t);
  jobs.isQuick = false;
  for (const id of ['a', 'b']) jobs.add(id);
  await jobs.until('2026-03-03T02:00:00Z');
  jobs.store.remove({ kind: 'backup', id: 'b' });
  jobs.works[0]?.end();
  await jobs.idle();
  assert.deepEqual([jobs.ids(), jobs.history()[0]], [['a'], 'backup/b schedule skipped']);
});

test('times of a job that are too long or too short are refused in words for people', (t) => {
  const { desk } = fixture(t);
  const create = (more: object) => () =>
    desk.create(ROOT, { kind: 'prune', id: 'x', options: { store: 'main' }, ...more });
  for (const [more, message] of [
    [{ retryDelayMs: 7200_000 }, 'retry-delay is from 1 s to 1 h, not 2 h'],
    [{ retryDelayMs: 0 }, 'retry-delay is from 1 s to 1 h, not 0 s'],
    [{ timeoutMs: 15 * 24 * 3600_000 }, 'timeout is from 1 s to 14 d, not 15 d'],
    [{ timeoutMs: Number.NaN }, 'timeout is from 1 s to 14 d'],
  ] as const)
    assert.throws(create(more), { code: 'bad-argument', message });
});
