// Whether jobs keep their times: over failed runs, restarts, changes of the job and of the clock.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Zone } from '../../../src/jobs/calendar/zone.ts';
import { JobDesk } from '../../../src/jobs/schedule/job-desk.ts';
import type { JobPunctuality } from '../../../src/jobs/schedule/missed-slots.ts';
import { JobTables } from '../../../src/state/job-tables.ts';
import { MIGRATIONS } from '../../../src/state/migrations/all.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { temporaryDirectory } from '../../auth/access-fixture.ts';
import { ACTOR, DAY, ScheduleFixture } from './fixture.ts';

const KEY = { kind: 'sync', id: 'offsite' };
const NEVER = undefined;
const UTC = new Zone('UTC');

function fixture(t: TestContext, at: string) {
  const jobs = new ScheduleFixture({ zone: UTC });
  t.after(() => jobs[Symbol.dispose]());
  jobs.at(at);
  const { book, store } = jobs;
  const run = () => assert.fail('nothing is run');
  const desk = new JobDesk({ book, store, zone: UTC, clock: () => jobs.nowMs, run, changed: () => {} });
  const one = (): JobPunctuality => desk.punctuality().find(({ job }) => job.id === 'offsite') as JobPunctuality;
  const time = (ms: number | undefined): string | undefined =>
    ms === undefined ? undefined : new Date(ms).toISOString().slice(5, 16);
  const change = (wish: Parameters<typeof book.update>[2]): void => {
    jobs.scheduler.changed(book.update(ACTOR, KEY, wish));
  };
  const add = (schedule: string | null): void => void jobs.add('offsite', { kind: 'sync', schedule });
  return { jobs, change, add, one, missed: () => time(one().missedMs), good: () => time(one().goodMs) };
}

/** All runs fail until the next call. */
async function night(jobs: ScheduleFixture, until: string, isWell: boolean): Promise<void> {
  jobs.isQuick = false;
  await jobs.until(until);
  for (const work of jobs.works.splice(0)) isWell ? work.end() : work.fail();
  await jobs.idle();
}

test('one slot may fail, with the second a job is missed, and a good run makes up for all before its begin', async (t) => {
  const { jobs, add, missed, good } = fixture(t, '2026-03-02T12:00Z');
  add('02:00');
  assert.deepEqual([missed(), good()], ['03-04T02:00', NEVER], 'one that was just made has two nights');
  await night(jobs, '2026-03-03T03:00Z', true);
  assert.deepEqual([missed(), good()], ['03-05T02:00', '03-03T02:00']);
  for (const day of ['04', '05', '06']) await night(jobs, `2026-03-${day}T03:00Z`, false);
  assert.deepEqual([missed(), good()], ['03-05T02:00', '03-03T02:00'], 'failures move nothing');
  jobs.scheduler.runNow(KEY, 'root@pam');
  await jobs.settle();
  for (const work of jobs.works.splice(0)) work.end();
  await jobs.idle();
  assert.deepEqual([missed(), good()], ['03-08T02:00', '03-06T03:00'], 'by hand');
});

test('a weekly job has two weeks; one without a schedule, or disabled, has no times; one with a single date is missed with it', (t) => {
  const { add, change, missed } = fixture(t, '2026-03-02T12:00Z');
  add('sun 02:00');
  assert.equal(missed(), '03-15T02:00');
  change({ enabled: false });
  assert.equal(missed(), NEVER);
  change({ enabled: true, schedule: '2026-04-01 02:00' });
  assert.equal(missed(), '04-01T02:00');
  change({ schedule: null });
  assert.equal(missed(), NEVER);
});

test('a job that is enabled again, or gets another schedule, begins anew; another comment changes nothing', async (t) => {
  const { jobs, add, change, missed } = fixture(t, '2026-03-02T12:00Z');
  add('02:00');
  change({ enabled: false });
  jobs.nowMs += 30 * DAY;
  change({ enabled: true });
  assert.equal(missed(), '04-03T02:00');
  await night(jobs, '2026-04-02T03:00Z', false);
  change({ comment: 'x' });
  assert.equal(missed(), '04-03T02:00');
  change({ schedule: '04:00' });
  assert.equal(missed(), '04-03T04:00');
});

test('a server that was off: the run that makes up for all is there, and its end is the end of it', async (t) => {
  const { jobs, add, missed, one } = fixture(t, '2026-03-02T12:00Z');
  add('02:00');
  jobs.isQuick = false;
  jobs.nowMs += 10 * DAY;
  await jobs.killAndStart();
  await jobs.tick();
  assert.deepEqual([missed(), one().active?.reason, one().active?.state], ['03-04T02:00', 'late', 'running']);
  for (const work of jobs.works.splice(0)) work.end();
  await jobs.idle();
  assert.deepEqual([missed(), one().active, one().last?.state], ['03-14T02:00', undefined, 'ok']);
});

test('a clock that was ahead makes no job good for the time until then', async (t) => {
  const { jobs, add, missed, good, one } = fixture(t, '2027-03-02T12:00Z');
  const year = (): number => new Date(one().missedMs ?? 0).getUTCFullYear();
  add('02:00');
  await night(jobs, '2027-03-03T03:00Z', true);
  jobs.at('2026-03-03T12:00Z');
  await jobs.tick();
  assert.deepEqual([missed(), good(), year()], ['03-05T02:00', '03-03T12:00', 2026]);
  jobs.at('2027-03-03T12:00Z');
  jobs.scheduler.changed(jobs.book.update(ACTOR, KEY, { schedule: '04:00' }));
  jobs.at('2026-03-03T13:00Z');
  await jobs.killAndStart();
  assert.deepEqual([missed(), year()], ['03-05T04:00', 2026]);
});

test('a database of before knows the last good runs that its history has, and jobs are due from what was settled', (t) => {
  const path = join(temporaryDirectory(t), 'state.db');
  const old = StateDatabase.open(path, MIGRATIONS.slice(0, 6));
  old.db.exec(`INSERT INTO jobs VALUES ('sync', 'offsite', '02:00', 1, '', '{}', 0, 1000, 1000, 5000, NULL),
    ('gc', 'new', '02:00', 1, '', '{}', 0, 1000, 1000, 6000, NULL);
    INSERT INTO notify_alarms VALUES ('absence:main:vm/1', 7, 'vm/1 has no good backup');`);
  for (const [state, start] of [
    ['ok', 100],
    ['warning', 200],
    ['error', 300],
  ])
    old.db.exec(`INSERT INTO job_runs (kind, id, reason, state, attempt, auth_id, queued_ms, start_ms, end_ms, message)
      VALUES ('sync', 'offsite', 'hand', '${state}', 0, 'root@pam', ${start}, ${start}, 900, '')`);
  old.close();
  const state = StateDatabase.open(path);
  t.after(() => state.close());
  const records = new JobTables(state).list();
  assert.deepEqual(
    records.map(({ job, sinceMs, goodMs }) => [job.id, sinceMs, goodMs]),
    [
      ['new', 6000, null],
      ['offsite', 5000, 200],
    ],
  );
});
