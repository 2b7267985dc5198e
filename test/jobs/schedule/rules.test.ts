// Rules that hold when several things come together: stops and retries, kills of what is made again, disabled jobs, limits, clocks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Zone } from '../../../src/jobs/calendar/zone.ts';
import { JobDesk } from '../../../src/jobs/schedule/job-desk.ts';
import { JobTables } from '../../../src/state/job-tables.ts';
import { ACTOR, DAY, HOUR, LIGHT_TASKS, MINUTE, ScheduleFixture } from './fixture.ts';

const MAIN = { store: 'main' };
const AT_TWO = '2026-11-22T01:00:00Z';
const ONE = { all: 1, node: 1, datastore: 1 };

function night(more: ConstructorParameters<typeof ScheduleFixture>[0] = {}): ScheduleFixture {
  const jobs = new ScheduleFixture(more);
  jobs.isQuick = false;
  jobs.at('2026-11-21T12:00:00Z');
  return jobs;
}

function deskOf(jobs: ScheduleFixture): JobDesk {
  const { book, store } = jobs;
  const run = () => assert.fail('nothing is run');
  return new JobDesk({ book, store, zone: new Zone('UTC'), clock: () => jobs.nowMs, run, changed: () => undefined });
}

test('a run by its schedule that somebody stops is not tried again', async () => {
  using jobs = night();
  const key = jobs.add('stopped', { retries: 3 });
  await jobs.until(AT_TWO, HOUR);
  jobs.tasks.abort(jobs.store.runs({}).rows[0]?.upid as string, 'stopped by ann');
  await jobs.ended(1);
  assert.deepEqual(jobs.history(), ['backup/stopped schedule error']);
  assert.equal(jobs.book.get(key).state.owed, null);
});

test('what is made again and cut off by an orderly stop waits for its next slot', async () => {
  using jobs = night();
  const key = jobs.add('weekly', { schedule: 'sun 02:00' });
  await jobs.until(AT_TWO, HOUR);
  for (const ends of [1, 2]) {
    jobs.scheduler.stop();
    await jobs.tasks.drain(0);
    await jobs.ended(ends);
    await jobs.killAndStart();
    await jobs.tick();
  }
  assert.deepEqual(jobs.history(), ['backup/weekly resume interrupted', 'backup/weekly schedule interrupted']);
  assert.equal(jobs.book.get(key).state.owed, null);
});

test('what is to be made again and had not begun when the server was killed again is still made', async () => {
  using jobs = night({ limits: ONE });
  for (const id of ['a', 'b']) jobs.add(id, { schedule: 'sun 02:00' });
  await jobs.until(AT_TWO, HOUR);
  await jobs.killAndStart();
  await jobs.tick();
  assert.deepEqual(jobs.history().slice(0, 2), ['backup/b resume queued', 'backup/a resume running']);
  await jobs.killAndStart();
  await jobs.tick();
  assert.deepEqual(jobs.ids(), ['b'], 'a had begun twice');
});

test('a job that was disabled while it ran leaves nothing to be made again, whether it failed or was cut off', async () => {
  using jobs = night();
  const [fails, cut] = ['fails', 'cut'].map((id) => jobs.add(id, { retries: 1 }));
  await jobs.until(AT_TWO, HOUR);
  for (const job of [fails, cut]) {
    assert.ok(job !== undefined);
    jobs.book.update(ACTOR, job, { enabled: false });
    jobs.scheduler.changed(job);
  }
  jobs.works[0]?.fail();
  await jobs.ended(1);
  await jobs.killAndStart();
  assert.deepEqual(jobs.history(), ['backup/cut schedule interrupted', 'backup/fails schedule error']);
  assert.deepEqual(
    jobs.book.list().map(({ state }) => state.owed),
    [null, null],
  );
});

test('a job that another process removes in the moment in which it is due does not run', async () => {
  using jobs = night({ tasks: LIGHT_TASKS });
  const { default: Database } = await import('better-sqlite3');
  const db = new Database(jobs.files.db.name);
  const other = new JobTables({ db, atomically: (work) => db.transaction(work).immediate() });
  const [gone] = ['gone', 'stays'].map((id) => jobs.add(id));
  await jobs.tick();
  jobs.at(AT_TWO);
  const atomically = jobs.store.atomically.bind(jobs.store);
  jobs.store.atomically = (work) => {
    jobs.store.atomically = atomically;
    other.remove(gone as NonNullable<typeof gone>);
    return atomically(work);
  };
  await jobs.tick();
  assert.deepEqual(jobs.ids(), ['stays']);
  db.close();
});

test('a retry does not wait for a clock that was far ahead', async () => {
  using jobs = night({ tasks: LIGHT_TASKS });
  jobs.add('fails', { options: { ...MAIN, fails: true }, retries: 1 });
  await jobs.until(AT_TWO, HOUR);
  jobs.nowMs -= 10 * DAY;
  await jobs.tick();
  jobs.nowMs += MINUTE;
  await jobs.tick();
  assert.deepEqual(jobs.history(), ['backup/fails retry error', 'backup/fails schedule error']);
});

test('a retry waits for an hour at most', async () => {
  using jobs = night({ tasks: LIGHT_TASKS });
  jobs.add('fails', { options: { ...MAIN, fails: true }, retries: 2, retryDelayMs: HOUR });
  await jobs.until('2026-11-22T03:00:00Z', HOUR / 2);
  const starts = jobs.store.runs({}).rows.map(({ startMs }) => new Date(startMs as number).toISOString().slice(11, 16));
  assert.deepEqual(starts, ['03:00', '02:00', '01:00']);
});

test('a job that is disabled owes no retry any more', async () => {
  using jobs = night({ tasks: LIGHT_TASKS });
  const key = jobs.add('fails', { options: { ...MAIN, fails: true }, retries: 1 });
  await jobs.until(AT_TWO, HOUR);
  assert.equal(jobs.book.get(key).state.owed?.reason, 'retry');
  jobs.book.update(ACTOR, key, { enabled: false });
  assert.equal(jobs.book.get(key).state.owed, null);
});

test('a job outside of the order of a night waits for none, and the limit of all holds beside the others', async () => {
  using jobs = night({ tasks: LIGHT_TASKS, limits: { all: 2, node: 4, datastore: 4 } });
  jobs.add('a', { options: MAIN });
  jobs.add('other', { kind: 'other', options: MAIN });
  for (const id of ['b', 'c']) jobs.add(id, { options: { store: id } });
  await jobs.until(AT_TWO, HOUR);
  assert.deepEqual(jobs.ids(), ['a', 'other'], 'two of all, though the backup a still runs');
  jobs.works[1]?.end();
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['a', 'other', 'b']);
});

test('a stop ends what waits by hand at once, and nothing becomes due after it', async () => {
  using jobs = night({ limits: ONE });
  const keys = ['runs', 'waits'].map((id) => jobs.add(id, { schedule: null }));
  for (const key of keys) jobs.scheduler.runNow(key, 'root@pam');
  jobs.add('nightly');
  await jobs.settle();
  jobs.scheduler.stop();
  await jobs.ended(1);
  assert.deepEqual(jobs.history(), ['backup/waits hand interrupted', 'backup/runs hand running']);
  await jobs.until(AT_TWO, HOUR);
  assert.equal(jobs.store.runs({}).total, 2);
});

test('old runs are forgotten as time goes by', async () => {
  using jobs = night({ tasks: LIGHT_TASKS, history: { perJob: 2, all: 100 } });
  jobs.isQuick = true;
  jobs.add('hourly', { schedule: 'hourly' });
  await jobs.until('2026-11-21T18:30:00Z', HOUR / 2);
  assert.equal(jobs.works.length, 6);
  assert.equal(jobs.store.runs({}).total, 2);
});

test('what goes wrong while a run is aborted at its time-out does not hide that it was too long', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  using jobs = night({ tasks: LIGHT_TASKS });
  jobs.add('slow', { options: { ...MAIN, hangs: true }, timeoutMs: MINUTE });
  await jobs.until(AT_TWO, HOUR);
  t.mock.timers.tick(MINUTE);
  jobs.works[0]?.fail('the connection was cut');
  await jobs.ended(1);
  assert.match(jobs.ends[0]?.message ?? '', /longer than its time-out of 60 s/);
});

test('one job is looked at without the others, and is as the list has it: its last run that began, and the one under way', async () => {
  using jobs = night();
  const { store } = jobs;
  const desk = deskOf(jobs);
  const key = { kind: 'gc', id: 'one' };
  const options = { store: 'main' };
  jobs.add('one', { kind: 'gc', schedule: 'daily', options });
  jobs.add('other', { kind: 'gc', schedule: 'daily', options });
  const same = (): void =>
    assert.deepEqual(
      desk.find(key),
      desk.list('gc').find(({ id }) => id === 'one'),
    );
  same();
  const past = { reason: 'schedule', slotMs: 0, attempt: 0, authId: 'root@pam', queuedMs: 0, startMs: 0 } as const;
  const row = { ...key, ...past, upid: null, message: '' };
  store.addRun({ ...row, id: 'other', state: 'ok', endMs: 1 });
  for (const state of ['ok', 'warning', 'error', 'interrupted'] as const) {
    const number = store.addRun({ ...row, state, endMs: 1 });
    store.addRun({ ...row, state: 'skipped', endMs: 1 });
    same();
    assert.equal(desk.find(key)?.last?.number, number, state);
  }
  const waiting = store.addRun({ ...row, state: 'queued', endMs: null });
  same();
  assert.equal(desk.get(key).active?.number, waiting);
  const gone = { kind: 'gc', id: 'gone' };
  assert.equal(desk.find(gone), undefined);
  assert.throws(() => desk.get(gone), { code: 'not-found', message: 'there is no job gc/gone' });
});

test('a change that follows from what a job is now finds that out in the transaction that writes it', () => {
  using jobs = night();
  const { store, files } = jobs;
  const desk = deskOf(jobs);
  const key = jobs.add('one', { options: { store: 'main', bwlimit: 1 } });
  const read = store.get.bind(store);
  const wasWriting: boolean[] = [];
  store.get = (...wanted) => {
    wasWriting.push(files.db.inTransaction);
    return read(...wanted);
  };
  const { options } = desk.amend(ACTOR, key, { set: { ns: 'a' }, unset: ['bwlimit'] });
  assert.deepEqual(options, { store: 'main', ns: 'a' });
  assert.equal(wasWriting[0], true, 'no other process changes it between the look and the change');
});

test('5,000 jobs are the limit', () => {
  using jobs = night();
  const job = jobs.add('first');
  jobs.store.atomically(() => {
    for (let n = 1; n < 5000; n++) jobs.store.add({ ...job, id: `j${n}` }, { settledMs: 0, owed: null });
  });
  assert.throws(() => jobs.add('last'), { code: 'too-many', message: /5000 jobs/ });
  jobs.book.remove(ACTOR, job);
  jobs.add('last');
});
