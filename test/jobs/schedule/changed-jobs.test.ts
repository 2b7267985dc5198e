// A run that waits for its turn while its job is changed: it begins with the job as it is then, or says why not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTOR, HOUR, ScheduleFixture } from './fixture.ts';

const AT_TWO = '2026-11-22T01:00:00Z';
const MAIN = { store: 'main' };

/** One run at a time on a datastore, with one that has begun on `main`. */
async function busy(): Promise<ScheduleFixture> {
  const jobs = new ScheduleFixture({ limits: { all: 10, node: 1, datastore: 1 } });
  jobs.isQuick = false;
  jobs.at('2026-11-21T12:00:00Z');
  jobs.add('first', { options: MAIN });
  await jobs.until('2026-11-22T00:59:00Z', HOUR);
  return jobs;
}

/** Tasks leave files: what follows from an end takes a while. */
async function begun(jobs: ScheduleFixture, count: number): Promise<void> {
  for (const until = performance.now() + 10_000; jobs.works.length < count; await jobs.settle())
    assert.ok(performance.now() < until, jobs.ids().join());
}

const shown = (jobs: ScheduleFixture) => jobs.works.map(({ job }) => [job.id, job.comment, job.options.store]);

test('it runs with the options, comment and time-out that the job has when it begins', async () => {
  using jobs = await busy();
  const key = jobs.add('second', { comment: 'before', timeoutMs: HOUR });
  await jobs.until(AT_TWO);
  const byHand = jobs.add('third', { schedule: null, comment: 'before' });
  const { upid } = jobs.scheduler.runNow(byHand, 'root@pam');
  for (const each of [key, byHand]) {
    jobs.book.update(ACTOR, each, { options: { ...MAIN, more: 'x' }, comment: 'after', timeoutMs: 2 * HOUR });
    jobs.scheduler.changed(each);
  }
  assert.deepEqual(jobs.ids(), ['first']);
  for (const count of [1, 2, 3]) {
    await begun(jobs, count);
    jobs.works[count - 1]?.end();
  }
  await jobs.idle();
  assert.deepEqual(
    jobs.works.slice(1).map(({ job }) => [job.id, job.comment, job.timeoutMs, job.options]),
    ['second', 'third'].map((id) => [id, 'after', 2 * HOUR, { ...MAIN, more: 'x' }]),
  );
  const log = await jobs.tasks.log(upid, 0, 100);
  assert.ok(JSON.stringify(log).includes('the job was changed while this run waited'), JSON.stringify(log));
});

test('another datastore is another place to wait for: it leaves the old one at once', async () => {
  using jobs = await busy();
  const key = jobs.add('second', { options: MAIN });
  await jobs.until(AT_TWO);
  assert.deepEqual(jobs.ids(), ['first']);
  jobs.book.update(ACTOR, key, { options: { store: 'other' } });
  jobs.scheduler.changed(key);
  await begun(jobs, 2);
  assert.deepEqual(shown(jobs).at(-1), ['second', '', 'other']);
});

test('what another process changed in the moment of the turn counts, also where the place is taken', async () => {
  using jobs = await busy();
  jobs.add('elsewhere', { options: { store: 'other' } });
  const key = jobs.add('second', { options: MAIN });
  await jobs.until(AT_TWO);
  assert.deepEqual(jobs.ids(), ['first', 'elsewhere']);
  // Nobody tells this scheduler of it.
  jobs.book.update(ACTOR, key, { options: { store: 'other' } });
  jobs.works[0]?.end();
  await jobs.ended(1);
  await jobs.settle();
  assert.deepEqual(jobs.ids(), ['first', 'elsewhere'], 'it waits for the other datastore now');
  jobs.works[1]?.end();
  await begun(jobs, 3);
  assert.deepEqual(shown(jobs).at(-1), ['second', '', 'other']);
  jobs.works[2]?.end();
  await jobs.idle();
});

test('a job that is disabled while its run waits does not run; one that was asked for by hand does', async () => {
  using jobs = await busy();
  const key = jobs.add('second');
  const byHand = jobs.add('third', { schedule: null });
  await jobs.until(AT_TWO);
  jobs.scheduler.runNow(byHand, 'root@pam');
  for (const each of [key, byHand]) {
    jobs.book.update(ACTOR, each, { enabled: false });
    jobs.scheduler.changed(each);
  }
  jobs.works[0]?.end();
  await begun(jobs, 2);
  assert.deepEqual(jobs.ids(), ['first', 'third']);
  const [row] = jobs.store.runs({ id: 'second' }).rows;
  assert.deepEqual([row?.state, row?.message], ['skipped', 'skipped: the job was disabled']);
});

test('a job that cannot run as it is now says so, and keeps nobody from their turn', async () => {
  using jobs = await busy();
  const key = jobs.add('second');
  jobs.add('third', { schedule: '02:00' });
  await jobs.until(AT_TWO);
  const kind = jobs.kinds.get('backup');
  const { claims } = kind;
  Object.assign(kind, {
    claims: (options: Record<string, unknown>) => {
      if (options.broken === true) throw new Error('no such guest');
      return claims(options);
    },
  });
  jobs.book.update(ACTOR, key, { options: { ...MAIN, broken: true } });
  jobs.works[0]?.end();
  await begun(jobs, 2);
  assert.deepEqual(jobs.ids(), ['first', 'third']);
  const [row] = jobs.store.runs({ id: 'second' }).rows;
  assert.equal(row?.state, 'skipped');
  assert.match(row?.message ?? '', /was changed, and cannot run as it is: no such guest/);
});
