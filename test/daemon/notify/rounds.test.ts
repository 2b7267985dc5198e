// What a whole server does by the clock: alarms on backups that are missing, and the digest. Each is said once, over restarts too, and nothing of it
// goes on when the server has ended.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { OpenDatastore } from '../../../src/api/services.ts';
import { createLog } from '../../../src/daemon/log.ts';
import { type RoundTimes, ServerNotifications } from '../../../src/daemon/notify/server-notifications.ts';
import { serverConfig } from '../../../src/daemon/server-config.ts';
import { createDatastore } from '../../../src/datastore/config.ts';
import type { TaskRow } from '../../../src/jobs/tasks/task-store.ts';
import { CheckRequests } from '../../../src/notify/alarms/check-requests.ts';
import { NotifySettings } from '../../../src/notify/settings.ts';
import { type RunningServer, startServer } from '../../../src/server.ts';
import { JobTables } from '../../../src/state/job-tables.ts';
import { NotifyTables } from '../../../src/state/notify-tables.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { until } from '../../notify/rig.ts';
import { commitImage, OpenStore } from '../../support/store.ts';

const NEVER = 2 ** 31 - 1;
const HOUR_MS = 3600_000;
const startPool = (workers: number) =>
  WorkerPool.start(new URL('../../../dist/worker.js', import.meta.url), Math.min(workers, 1));

async function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const path = (name: string): string => join(directory, name);
  await createDatastore(path('state-main'), 65536);
  const open = await OpenStore.open(path('state-main'), 1);
  await commitImage(open, ['x'], 'vm/100');
  await open.close();
  const subjects: string[] = [];
  const receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => {
      body += part;
    });
    request.on('end', () => {
      subjects.push(body);
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  t.after(() => {
    receiver.close();
    receiver.closeAllConnections();
  });
  writeFileSync(path('config.json'), JSON.stringify({ stateDatastore: null }));
  const state = StateDatabase.open(join(path('state'), 'state.db'));
  const store = new NotifyTables(state.db);
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  store.putTarget(
    { type: 'webhook', name: 'hook', enabled: true, url, method: 'post', headers: [], body: '{{title}}' },
    {},
  );
  new NotifySettings(store).setRules({ backupHours: 26, verifyDays: 0, fullDays: 0 });
  new NotifySettings(store).setDigestAt('07:00');
  state.close();
  const config = serverConfig({
    config: path('config.json'),
    stateDir: path('state'),
    listen: '127.0.0.1:0',
    bulkPort: '0',
    drain: '1',
    logLevel: 'silent',
    firstDatastore: 'main',
  });
  const made = { laterMs: 0, subjects, said: (what: RegExp) => subjects.filter((each) => what.test(each)).length };
  const servers: RunningServer[] = [];
  t.after(() => Promise.all(servers.map((server) => server.stop())));
  const start = async (times: Partial<RoundTimes>): Promise<RunningServer> => {
    const server = await startServer({
      config,
      log: createLog('silent'),
      startPool,
      operations: new Map(),
      rounds: {
        clock: () => Date.now() + made.laterMs,
        times: { firstAlarmsMs: NEVER, alarmsEveryMs: NEVER, digestEveryMs: NEVER, followEveryMs: NEVER, ...times },
      },
    });
    servers.push(server);
    return server;
  };
  return Object.assign(made, { start, database: join(path('state'), 'state.db') });
}

const timers = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;
const MISSING = /^main: vm\/100 has no good backup since 27 hours/;
const WELL = /vm\/100 is well again/;
const DIGEST = /^Backups of /;

test('a guest without a backup raises its alarm once, soon after the start or each hour, and its end is said', async (t) => {
  const made = await fixture(t);
  const before = timers();
  const first = await made.start({ firstAlarmsMs: 200 });
  await until('the digest of the night', () => made.said(DIGEST) === 1);
  await setTimeout(500);
  assert.deepEqual(made.subjects.length, 1, 'all is well');
  await first.stop();
  assert.equal(timers(), before, 'nothing keeps the process');

  made.laterMs = 27 * HOUR_MS;
  const second = await made.start({ firstAlarmsMs: 200 });
  await until('the alarm', () => made.said(MISSING) === 1);
  await second.stop();

  const third = await made.start({ alarmsEveryMs: 100 });
  await setTimeout(800);
  assert.equal(made.said(MISSING), 1, 'once, over many rounds and a restart');
  made.laterMs = 0;
  await until('the end', () => made.said(WELL) === 1);
  made.laterMs = 27 * HOUR_MS;
  await until('the next alarm', () => made.said(MISSING) === 2);
  await setTimeout(500);
  assert.deepEqual([made.said(MISSING), made.said(WELL)], [2, 1]);
  await third.stop();
  made.laterMs = 0;
  await setTimeout(300);
  assert.equal(made.said(WELL), 1, 'nothing goes on');
});

test('the digest comes once a day, at its hour and not at each look', async (t) => {
  const made = await fixture(t);
  const server = await made.start({ digestEveryMs: 50 });
  await until('that of today', () => made.said(DIGEST) === 1);
  await setTimeout(400);
  assert.equal(made.said(DIGEST), 1);
  made.laterMs = 24 * HOUR_MS;
  await until('that of tomorrow', () => made.said(DIGEST) === 2);
  await setTimeout(400);
  assert.equal(made.said(DIGEST), 2);
  await server.stop();
  await made.start({});
  await setTimeout(200);
  assert.equal(made.said(DIGEST), 2);
});

test('a command has the alarms looked at now; who asked before the start of a server waits no more', async (t) => {
  const made = await fixture(t);
  const state = StateDatabase.open(made.database);
  t.after(() => state.close());
  const requests = new CheckRequests(new NotifyTables(state.db));
  made.laterMs = 27 * HOUR_MS;
  assert.equal(requests.ask(), 1);
  const server = await made.start({ followEveryMs: 50 });
  await setTimeout(500);
  assert.deepEqual([made.said(MISSING), requests.hasBegun(1)], [0, false]);
  assert.equal(requests.ask(), 2);
  await until('the answer', () => requests.endOf(2) !== undefined);
  assert.deepEqual([requests.hasBegun(2), requests.endOf(2)], [true, { unknown: [] }]);
  await until('the alarm', () => made.said(MISSING) === 1);
  await setTimeout(300);
  assert.equal(requests.endOf(3), undefined);
  assert.equal(made.said(MISSING), 1);
  await server.stop();
});

/** Without a server around them. */
function notifications(t: TestContext, times: Partial<RoundTimes>): ServerNotifications {
  const state = StateDatabase.open(join(temporaryDirectory(t), 'state.db'));
  t.after(() => state.close());
  return new ServerNotifications({
    state,
    audit: { append: () => undefined },
    node: 'backup1',
    clock: Date.now,
    log: createLog('silent'),
    times: { firstAlarmsMs: NEVER, alarmsEveryMs: NEVER, digestEveryMs: NEVER, followEveryMs: NEVER, ...times },
  });
}

test('rounds do not overlap, and one that is under way ends with the server', async (t) => {
  const notify = notifications(t, { firstAlarmsMs: 10, alarmsEveryMs: 20 });
  let [rounds, asked] = [0, 0];
  const datastores = {
    list: () => {
      rounds++;
      return [{ name: 'slow', path: '/nowhere' }];
    },
    get: async (): Promise<OpenDatastore> => {
      asked++;
      return await new Promise(() => undefined);
    },
  };
  const before = timers();
  notify.start(datastores, { list: () => ({ rows: [], total: 0 }) }, { punctuality: () => [] });
  await setTimeout(300);
  assert.deepEqual([rounds, asked], [1, 1]);
  const round = notify.checkAlarms();
  const ended = assert.rejects(round, /the server is stopping/);
  const startedMs = performance.now();
  await notify.close();
  await ended;
  assert.ok(performance.now() - startedMs < 1000);
  assert.equal(timers(), before);
});

test('a backup that warned is looked at at once, after the first look, and once more when one is under way', async (t) => {
  const notify = notifications(t, { firstAlarmsMs: 300 });
  let rounds = 0;
  let release = (): void => {};
  const gate = { isShut: false };
  const datastores = {
    list: () => {
      rounds++;
      return [{ name: 'main', path: '/nowhere' }];
    },
    get: async (): Promise<OpenDatastore> => {
      if (gate.isShut) await new Promise<void>((resolve) => (release = resolve));
      throw new Error('not now');
    },
  };
  const ended = (type: string, status: string): void =>
    notify.taskEnded(() => {
      const about = { type, status, id: 'main:vm/100', user: 'root@pam', node: 'backup1', upid: 'UPID:x:' };
      return { ...about, starttime: 1, endtime: 2, data: { warnings: ['vm/100 added 9 GiB'] } } as unknown as TaskRow;
    });
  notify.start(datastores, { list: () => ({ rows: [], total: 0 }) }, { punctuality: () => [] });
  ended('backup', 'WARNINGS: 1');
  await setTimeout(100);
  assert.equal(rounds, 0, 'it is too early');
  await until('the first look', () => rounds === 1);
  ended('backup', 'OK');
  ended('backup', 'it failed');
  ended('garbage_collection', 'WARNINGS: 1');
  await setTimeout(100);
  assert.equal(rounds, 1, 'none of these is one');
  ended('vzdump', 'WARNINGS: 1');
  await until('the look', () => rounds === 2);
  await setTimeout(50);

  gate.isShut = true;
  for (let n = 0; n < 5; n++) ended('backup', 'WARNINGS: 1');
  await until('the look under way', () => rounds === 3);
  gate.isShut = false;
  release();
  await until('one more', () => rounds === 4);
  await setTimeout(200);
  assert.equal(rounds, 4, 'and no more than one');
  await notify.close();
});

test('a run of a job that the end of a server cut off is told by the next one, once', async (t) => {
  const made = await fixture(t);
  const state = StateDatabase.open(made.database);
  const nowMs = Date.now();
  const key = { kind: 'prune', id: 'nightly' };
  new JobTables(state).addRun({
    ...{ ...key, reason: 'schedule', state: 'running', slotMs: nowMs, attempt: 0, authId: 'root@pam' },
    ...{ queuedMs: nowMs, startMs: nowMs, endMs: null, upid: null, message: '' },
  });
  state.close();
  const first = await made.start({});
  await until('what was cut off', () => made.said(/^job prune\/nightly was cut off/) === 1);
  await first.stop();
  const second = await made.start({});
  await setTimeout(500);
  assert.equal(made.said(/cut off/), 1);
  await second.stop();
});

test('a job of which nothing good came for two nights raises its alarm, and is a figure; one that is removed is behind no more', async (t) => {
  const made = await fixture(t);
  const state = StateDatabase.open(made.database);
  t.after(() => state.close());
  // Nothing here can run it, as after a return to an older version.
  const job = {
    kind: 'sync',
    id: 'offsite',
    schedule: '02:00',
    enabled: true,
    comment: '',
    options: { store: 'main' },
  };
  const jobs = new JobTables(state);
  jobs.add(
    { ...job, retries: 0, retryDelayMs: 1000, timeoutMs: 1000 },
    { settledMs: Date.now() - 72 * HOUR_MS, owed: null },
  );
  const server = await made.start({ firstAlarmsMs: 200, alarmsEveryMs: 300 });
  const BEHIND = /^main: job sync\/offsite is behind: no run of it ended well yet$/;
  await until('the alarm', () => made.said(BEHIND) === 1);
  const { port } = server.address;
  const figures = await new Promise<string>((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/metrics', rejectUnauthorized: false, agent: false }, (answer) => {
      text(answer).then(resolve, reject);
    }).on('error', reject);
  });
  assert.match(figures, /^holdfast_job_behind\{kind="sync",id="offsite"\} 1$/m);
  await setTimeout(700);
  assert.equal(made.said(BEHIND), 1, 'once');
  jobs.remove(job);
  await until('the end', () => made.said(/^main: job sync\/offsite is behind no more; it was: /) === 1);
  await server.stop();
});
