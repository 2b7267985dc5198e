// Due runs run once: at their time, after a time without a server, after one that was killed, and whatever the clock does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY, HOUR, LIGHT_TASKS, MINUTE, nightsIn, ScheduleFixture } from './fixture.ts';

test('a job runs at its slot and not before, once, and again the next night', async () => {
  using jobs = new ScheduleFixture();
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('nightly');
  await jobs.tick();
  await jobs.until('2026-11-22T00:59:00Z', HOUR);
  assert.deepEqual(jobs.ids(), [], 'a new job makes up for nothing');
  await jobs.until('2026-11-22T01:05:00Z');
  await jobs.ended(1);
  assert.deepEqual(jobs.history(), ['backup/nightly schedule ok'], '02:00 in Rome is 01:00 in UTC');
  await jobs.until('2026-11-23T01:05:00Z');
  await jobs.ended(2);
  const [run] = jobs.store.runs({}).rows;
  assert.equal(run?.slotMs, Date.parse('2026-11-23T01:00:00Z'));
  assert.match(run?.upid ?? '', /:backupjob:main\\x3anightly:root@pam:$/);
  assert.equal(jobs.tasks.status(run?.upid as string).exitstatus, 'OK');
});

test('nights without a server are made up for by one run', async () => {
  using jobs = new ScheduleFixture();
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('nightly');
  jobs.at('2026-12-01T12:00:00Z');
  await jobs.killAndStart();
  for (let ticks = 0; ticks < 3; ticks++) await jobs.tick();
  await jobs.idle();
  assert.deepEqual(jobs.history(), ['backup/nightly late ok']);
  await jobs.until('2026-12-02T01:05:00Z', MINUTE * 5);
  await jobs.idle();
  assert.deepEqual(jobs.history(), ['backup/nightly schedule ok', 'backup/nightly late ok']);
});

test('a run that a kill cuts off is interrupted, and made again once, also two days later', async () => {
  using jobs = new ScheduleFixture();
  jobs.isQuick = false;
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('nightly');
  jobs.add('weekly', { schedule: 'sun 02:00' });
  await jobs.until('2026-11-22T01:00:00Z', HOUR);
  assert.deepEqual(jobs.ids(), ['nightly', 'weekly']);
  jobs.nowMs += 2 * DAY;
  await jobs.killAndStart();
  assert.deepEqual(jobs.history(), ['backup/weekly schedule interrupted', 'backup/nightly schedule interrupted']);
  assert.match(jobs.ends[0]?.message ?? '', /cut off/);
  await jobs.tick();
  assert.deepEqual(jobs.ids(), ['nightly', 'weekly']);
  assert.deepEqual(jobs.history().slice(0, 2), ['backup/weekly resume running', 'backup/nightly late running']);
  // What cuts the server off again is not made again: it waits for its slot.
  await jobs.killAndStart();
  await jobs.tick();
  assert.deepEqual(jobs.ids(), ['nightly'], 'the run of nightly was one by its slot, and is made again once');
  await jobs.killAndStart();
  await jobs.tick();
  assert.deepEqual(jobs.ids(), []);
});

test('an orderly stop leaves what waits and what it aborted to the next start', async () => {
  using jobs = new ScheduleFixture({ limits: { all: 1, node: 1, datastore: 1 } });
  jobs.isQuick = false;
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('one');
  jobs.add('two');
  jobs.add('by-hand', { schedule: null });
  await jobs.until('2026-11-22T01:00:00Z', HOUR);
  jobs.scheduler.runNow({ kind: 'backup', id: 'by-hand' }, 'root@pam');
  assert.deepEqual(jobs.ids(), ['one']);
  jobs.scheduler.stop();
  await jobs.tasks.drain(0);
  await jobs.ended(2);
  assert.deepEqual(jobs.history(), [
    'backup/by-hand hand interrupted',
    'backup/two schedule queued',
    'backup/one schedule interrupted',
  ]);
  jobs.isQuick = true;
  await jobs.killAndStart();
  await jobs.tick();
  await jobs.ended(5);
  assert.deepEqual(jobs.ids(), ['one', 'two']);
  assert.deepEqual(jobs.history().slice(0, 2), ['backup/two resume ok', 'backup/one resume ok']);
});

test('a clock that is set back or forward neither doubles a run nor holds a job up for long', async () => {
  using jobs = new ScheduleFixture();
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('nightly');
  await jobs.until('2026-11-22T01:10:00Z', 10 * MINUTE);
  assert.equal(jobs.works.length, 1);
  // By half an hour: 02:00 comes a second time.
  jobs.nowMs -= 30 * MINUTE;
  await jobs.until('2026-11-22T02:00:00Z');
  assert.equal(jobs.works.length, 1, 'the slot is settled');
  // A year ahead: everything is late, once.
  jobs.at('2027-11-22T12:00:00Z');
  await jobs.tick();
  await jobs.tick();
  assert.equal(jobs.works.length, 2);
  // And right again: the next night is not that of next year.
  jobs.at('2026-11-22T12:00:00Z');
  await jobs.tick();
  assert.equal(jobs.works.length, 2, 'no run because of the clock');
  await jobs.until('2026-11-23T01:10:00Z', 10 * MINUTE);
  assert.equal(jobs.works.length, 3);
  // The same while no server runs; a run that it cut off would be made again.
  await jobs.idle();
  jobs.at('2025-01-01T12:00:00Z');
  await jobs.killAndStart();
  await jobs.tick();
  assert.equal(jobs.works.length, 0);
  await jobs.until('2025-01-02T01:10:00Z', 10 * MINUTE);
  assert.equal(jobs.works.length, 1);
});

test('a job of every minute goes on a minute after the clock was set back', async () => {
  using jobs = new ScheduleFixture({ tasks: LIGHT_TASKS });
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('often', { schedule: 'minutely' });
  await jobs.until('2026-11-21T12:03:00Z');
  assert.equal(jobs.works.length, 3);
  jobs.at('2026-11-21T09:00:00Z');
  await jobs.until('2026-11-21T09:02:00Z');
  assert.equal(jobs.works.length, 4, 'the first look finds the clock wrong, the second one runs the job');
});

const TEN_YEARS = 3653;
for (const zone of ['Europe/Rome', 'America/New_York', 'Australia/Lord_Howe'])
  test(`in ten years of ${zone} every night runs once, in spite of summer time and of a server that is away now and then`, async () => {
    const nights = await nightsIn(zone, TEN_YEARS);
    assert.equal(nights.length, TEN_YEARS);
    assert.equal(new Set(nights).size, TEN_YEARS);
  });

test('a job with another schedule, or enabled again, makes up for nothing; one that is disabled does not run', async () => {
  using jobs = new ScheduleFixture();
  jobs.at('2026-11-21T12:00:00Z');
  const job = jobs.add('nightly');
  const actor = { authId: 'root@pam', address: '' };
  const change = (more: object): void => {
    jobs.book.update(actor, job, more);
    jobs.scheduler.changed(job);
  };
  change({ enabled: false });
  jobs.at('2026-11-25T12:00:00Z');
  await jobs.tick();
  change({ enabled: true });
  await jobs.tick();
  change({ schedule: '03:00' });
  await jobs.tick();
  assert.equal(jobs.works.length, 0);
  jobs.at('2026-11-26T02:00:00Z');
  change({ comment: 'not the plan' });
  await jobs.tick();
  assert.equal(jobs.works.length, 1, 'a comment settles nothing');
});

test('what another process changes, and wishes to be run, is seen', async () => {
  using jobs = new ScheduleFixture();
  jobs.at('2026-11-21T12:00:00Z');
  const { default: Database } = await import('better-sqlite3');
  const { JobTables } = await import('../../../src/state/job-tables.ts');
  const db = new Database(jobs.files.db.name);
  const other = new JobTables({ db, atomically: (work) => db.transaction(work).immediate() });
  const job = jobs.book.checked({ kind: 'gc', id: 'theirs', schedule: '02:00', options: { store: 'main' } });
  other.add(job, { settledMs: jobs.nowMs, owed: null });
  await jobs.until('2026-11-22T01:00:00Z', HOUR);
  assert.deepEqual(jobs.ids(), ['theirs']);
  await jobs.idle();
  other.request({ kind: 'gc', id: 'theirs', authId: 'ann@pbs' });
  other.request({ kind: 'gc', id: 'nobody', authId: 'ann@pbs' });
  jobs.scheduler.follow();
  await jobs.ended(2);
  assert.deepEqual(jobs.history(), ['gc/theirs hand ok', 'gc/theirs schedule ok']);
  assert.match(jobs.reports.join(), /there is no job gc\/nobody/);
  await jobs.idle();
  other.remove(job);
  await jobs.until('2026-11-23T02:00:00Z', HOUR);
  assert.equal(jobs.works.length, 2);
  db.close();
});

test('what was asked for while no server ran is run by the next one, once', async () => {
  using jobs = new ScheduleFixture();
  jobs.add('asked', { schedule: null });
  jobs.store.request({ kind: 'backup', id: 'asked', authId: 'ann@pbs' });
  await jobs.killAndStart();
  await jobs.ended(1);
  assert.deepEqual(jobs.history(), ['backup/asked hand ok']);
  await jobs.killAndStart();
  await jobs.tick();
  assert.equal(jobs.works.length, 0);
});

test('a change of another process beside the look at the jobs is seen at the next look', async () => {
  using jobs = new ScheduleFixture();
  const { default: Database } = await import('better-sqlite3');
  const { JobTables } = await import('../../../src/state/job-tables.ts');
  const db = new Database(jobs.files.db.name);
  const other = new JobTables({ db, atomically: (work) => db.transaction(work).immediate() });
  jobs.at('2026-11-21T12:00:00Z');
  const job = jobs.add('removed');
  const list = jobs.store.list.bind(jobs.store);
  // As soon as the list is read.
  jobs.store.list = () => {
    jobs.store.list = list;
    const records = list();
    other.remove(job);
    return records;
  };
  await jobs.killAndStart();
  await jobs.until('2026-11-22T01:00:00Z', HOUR);
  assert.equal(jobs.works.length, 0, 'it is gone');
  db.close();
});

test('2,000 jobs cost next to nothing while none is due, and all that are due begin in one tick', async (t) => {
  using jobs = new ScheduleFixture({ tasks: LIGHT_TASKS, limits: { all: 5000, node: 5000, datastore: 5000 } });
  jobs.at('2026-11-21T12:00:00Z');
  jobs.store.atomically(() => {
    for (let n = 0; n < 2000; n++)
      jobs.book.create(
        { authId: 'root@pam', address: '' },
        { kind: 'backup', id: `j${n}`, schedule: '02:00', options: { store: 'main' } },
      );
  });
  await jobs.killAndStart();
  jobs.scheduler.tick();
  const began = process.cpuUsage();
  for (let tick = 0; tick < 100; tick++) {
    jobs.nowMs += 1000;
    jobs.scheduler.tick();
    for (let look = 0; look < 30; look++) jobs.scheduler.follow();
  }
  const { user, system } = process.cpuUsage(began);
  const share = (user + system) / 100 / 60e6;
  t.diagnostic(`${(share * 100).toFixed(4)} % of a core`);
  assert.ok(share < 0.01);
  jobs.at('2026-11-22T01:00:00Z');
  const due = performance.now();
  await jobs.tick();
  await jobs.idle();
  t.diagnostic(`2,000 runs in ${Math.round(performance.now() - due)} ms`);
  assert.equal(jobs.works.length, 2000);
  assert.ok(performance.now() - due < 60_000);
});
