// Jobs that are behind, over a server's own jobs, notifications and figures, with a kind of jobs that comes from outside.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { serverJobs } from '../../../src/daemon/jobs/server-jobs.ts';
import { createLog } from '../../../src/daemon/log.ts';
import { ServerNotifications } from '../../../src/daemon/notify/server-notifications.ts';
import type { JobKind } from '../../../src/jobs/schedule/job.ts';
import { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { until } from '../../notify/rig.ts';
import { ROOT } from '../list-fixture.ts';

const NEVER = 2 ** 31 - 1;
const HOUR = 3600_000;
const KEY = { kind: 'sync', id: 'offsite' };
const NOTHING = { list: () => [], get: () => assert.fail('there is no datastore') };

function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const state = StateDatabase.open(join(directory, 'state.db'));
  const made = { nowMs: Date.parse('2026-03-02T12:00:00Z'), says: 'well' as 'well' | 'bad' | 'works' };
  const clock = (): number => made.nowMs;
  let release = (): void => {};
  const sync: JobKind = {
    ...{ name: 'sync', stage: 'sync', taskType: 'syncjob' },
    check: (options) => options as Record<string, unknown>,
    claims: ({ store }) => [`datastore:${String(store)}`],
    workerId: ({ id }) => id,
    run: async () => {
      if (made.says === 'works') await new Promise<void>((resolve) => (release = resolve));
      if (made.says === 'bad') throw new Error('the other server does not answer');
      return undefined;
    },
  };
  const nowhere = () => assert.fail('no node is asked');
  const log = createLog('silent');
  const start = async () => {
    const notify = new ServerNotifications({
      ...{ state, audit: { append: () => {} }, node: 'backup1', clock, log },
      times: { firstAlarmsMs: NEVER, alarmsEveryMs: NEVER, digestEveryMs: NEVER, followEveryMs: NEVER },
    });
    const told: string[] = [];
    const tell = notify.notifications.tell.bind(notify.notifications);
    notify.notifications.tell = (event) => {
      if (event.fields.alarm !== undefined)
        told.push(`${event.fields.state} ${event.fields['job-kind']}/${event.fields['job-id']} ${event.fields.node}`);
      return tell(event);
    };
    const tasks = new Tasks({
      ...{ store: new TaskTables(state.db), directory: join(directory, 'tasks'), node: 'backup1', clock },
      onEnd: (_type, { upid }) => notify.taskEnded(() => tasks.get(upid)),
    });
    await tasks.markInterrupted();
    const jobs = serverJobs({
      ...{ state, tasks, clock, audit: { append: () => {} }, get: nowhere },
      ...{ isOnline: nowhere, order: nowhere, orderWithin: nowhere, guestsOf: nowhere, abort: nowhere, endOf: nowhere },
      report: (message) => assert.fail(message),
      onBug: (error) => assert.fail(error as Error),
      onRunEnd: (run, job) => notify.runEnded(run, job),
    });
    jobs.kinds.register(sync);
    notify.start(NOTHING, tasks, jobs.desk);
    jobs.start();
    const look = async (): Promise<string[]> => {
      told.length = 0;
      await notify.checkAlarms();
      return [...told];
    };
    const stop = async (): Promise<void> => {
      jobs.stop();
      await tasks.drain(0);
      await notify.close();
    };
    return { jobs, notify, told, look, stop, figures: () => notify.jobFigures()[0]?.isBehind };
  };
  let running: Awaited<ReturnType<typeof start>> | undefined;
  t.after(async () => {
    await running?.stop();
    state.close();
  });
  /** What a minute's tick does at that time, for a server that was off until then. */
  const at = async (hours: number) => {
    await running?.stop();
    made.nowMs = Date.parse('2026-03-02T12:00:00Z') + hours * HOUR;
    running = await start();
    return running;
  };
  const ended = async (states: string): Promise<void> => {
    const has = () =>
      running?.jobs.desk
        .history(KEY)
        .rows.map((run) => run.state)
        .join(' ');
    for (const end = performance.now() + 10_000; has() !== states; await setImmediate())
      assert.ok(performance.now() < end, `${has()} is not ${states}`);
  };
  return Object.assign(made, { at, ended, release: () => release() });
}

const OPTIONS = { store: 'main', node: 'pve1' };

test('a sync job that fails night after night is behind after two, is told once over restarts, and its end at once', async (t) => {
  const made = fixture(t);
  let server = await made.at(0);
  // Times are local ones: each hour that a night has its slot in counts from the same clock.
  server.jobs.desk.create(ROOT, { ...KEY, schedule: '*-*-* 02:00 UTC', options: OPTIONS });
  assert.deepEqual([await server.look(), server.figures()], [[], false], 'just made');
  made.says = 'bad';
  server = await made.at(15);
  await made.ended('error');
  assert.deepEqual([await server.look(), server.figures()], [[], false], 'one night');
  server = await made.at(39);
  await made.ended('error error');
  assert.deepEqual([await server.look(), server.figures()], [[], false], 'two nights, and some hours to come');
  server = await made.at(51);
  assert.deepEqual([await server.look(), server.figures()], [['raised sync/offsite pve1'], true]);
  assert.deepEqual(await server.look(), []);
  server = await made.at(52);
  assert.deepEqual([await server.look(), server.figures()], [[], true], 'once');
  made.says = 'well';
  server.jobs.desk.run(KEY, 'root@pam');
  await until('its end', () => server.told.includes('resolved sync/offsite pve1'));
  assert.deepEqual([await server.look(), server.figures()], [[], false]);
});

test('a server that was off for weeks makes up for it without an alarm; when that fails too there is one', async (t) => {
  const made = fixture(t);
  let server = await made.at(0);
  server.jobs.desk.create(ROOT, { ...KEY, schedule: '*-*-* 02:00 UTC', options: OPTIONS });
  made.says = 'works';
  server = await made.at(500);
  await made.ended('running');
  assert.deepEqual([await server.look(), server.figures()], [[], false], 'it works on it');
  made.says = 'bad';
  made.release();
  await made.ended('error');
  assert.deepEqual(await server.look(), ['raised sync/offsite pve1']);
});

test('a run that hangs beyond its time-out, or fails while it is due, excuses nothing; disabled jobs end their alarm', async (t) => {
  const made = fixture(t);
  let server = await made.at(0);
  server.jobs.desk.create(ROOT, { ...KEY, schedule: '*-*-* 02:00 UTC', options: OPTIONS, timeoutMs: 20 * HOUR });
  made.says = 'works';
  server = await made.at(500);
  await made.ended('running');
  made.nowMs += 19 * HOUR;
  assert.deepEqual(await server.look(), []);
  made.nowMs += 2 * HOUR;
  assert.deepEqual(await server.look(), ['raised sync/offsite pve1']);
  server.jobs.desk.update(ROOT, KEY, { enabled: false });
  assert.deepEqual(await server.look(), ['resolved sync/offsite pve1']);
  made.release();
});
