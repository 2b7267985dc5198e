// Jobs in the server program: made over its API, and a night on which it is killed in the middle of one, at midnight and two days later.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { without } from '../agent/nbd/servers.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';
import { runsOf } from '../support/server/job-runs.ts';
import { setProgramClock } from '../support/server/program-clock.ts';
import { STORE, startRig } from '../support/server/server-rig.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
const MIB = 1024 ** 2;
/** In the past, so that what the server signs is good for this process. */
const MONDAY = Math.floor(Date.now() / DAY) * DAY - 5 * DAY;

test('jobs that are made over the API run there; the command line has them too, and what became of them is shown', async (t) => {
  const rig = await startRig(t);
  const { admin } = rig;
  await admin.call('POST', '/config/prune', { id: 'nightly', store: STORE, schedule: 'daily', 'keep-last': 3 });
  await admin.call('POST', '/config/verify', { id: 'weekly', store: STORE, schedule: 'sat 18:15' });
  const listed = await rig
    .account('root@pam')
    .json<{ kind: string; id: string }[]>('job', 'list', '--state-dir', rig.stateDirectory);
  assert.deepEqual(listed.map(({ kind, id }) => `${kind}/${id}`).sort(), ['prune/nightly', 'verify/weekly']);
  for (const [kind, id] of [
    ['prune', 'nightly'],
    ['verify', 'weekly'],
  ] as const) {
    const upid = await admin.call<string>('POST', `/admin/${kind}/${id}/run`);
    await admin.task(upid);
    type Row = { id: string; 'next-run': number; 'last-run-state'?: string; 'last-run-upid'?: string };
    let row: Row | undefined;
    for (const until = Date.now() + 20_000; row?.['last-run-upid'] === undefined && Date.now() < until; await sleep(50))
      [row] = await admin.call<Row[]>('GET', `/admin/${kind}`);
    assert.deepEqual([row?.id, row?.['last-run-state'], row?.['last-run-upid']], [id, 'OK', upid]);
    assert.ok((row?.['next-run'] ?? 0) > Date.now() / SECOND);
  }
  await admin.call('PUT', `/config/datastore/${STORE}`, { 'gc-schedule': 'daily' });
  const [gc] = await admin.call<{ schedule: string; 'next-run': number }[]>('GET', '/admin/gc');
  assert.ok(gc?.schedule === 'daily' && gc['next-run'] > Date.now() / SECOND);
  await admin.task(await admin.call<string>('DELETE', `/config/datastore/${STORE}`));
  const left = await rig.account('root@pam').json<object[]>('job', 'list', '--state-dir', rig.stateDirectory);
  assert.deepEqual(left, [], 'they went with their datastore');
});

test('a server killed in the middle of a backup job: the run is interrupted, and the nights until its next start are made up for once', {
  skip: without('faketime'),
}, async (t) => {
  setProgramClock(MONDAY + 12 * HOUR);
  const rig = await startRig(t, ['--local-agent', '--drain', '1']);
  mkdirSync(rig.path('web'));
  writeFileSync(rig.path('web/page'), randomBytes(6 * MIB));
  const root = rig.account('root@pam');
  const at = ['--state-dir', rig.stateDirectory];
  await root.run(
    ...['job', 'create', 'backup', 'web', '--node', 'localhost', '--store', STORE, '--group', 'host/web'],
    ...['--archive', `root.tree:${rig.path('web')}`, '--schedule', '00:00', '--set', 'limit-upload=1', ...at],
  );
  await rig.server.end('SIGTERM');

  setProgramClock(MONDAY + DAY - 8 * SECOND);
  await rig.server.start();
  const [cut] = await runsOf(rig.stateDirectory, ([run]) => run?.state === 'running');
  assert.equal(cut?.slotMs, MONDAY + DAY);
  await sleep(1000);
  await rig.server.end('SIGKILL');
  const [left] = await runsOf(rig.stateDirectory, () => true);
  assert.equal(left?.state, 'running', 'nobody could note its end');

  // Right after a minute: the next is far.
  const again = MONDAY + 2 * DAY + 12 * HOUR + SECOND;
  setProgramClock(again);
  await rig.server.start();
  const runs = await runsOf(rig.stateDirectory, ([run]) => run !== undefined && run.number > 1 && run.endMs !== null);
  assert.deepEqual(
    runs.map(({ number, reason, state, slotMs }) => [number, reason, state, slotMs]),
    [
      [2, 'late', 'ok', MONDAY + DAY + DAY],
      [1, 'schedule', 'interrupted', MONDAY + DAY],
    ],
    JSON.stringify(runs),
  );
  assert.ok((runs[0]?.queuedMs ?? Infinity) < again + 40 * SECOND, `it looks at once: ${JSON.stringify(runs)}`);
  assert.match(runs[1]?.message ?? '', /cut off when the server stopped; it is made again/);
  const manifests = readdirSync(rig.storePath, { recursive: true, encoding: 'utf8' });
  const snapshots = manifests.filter((name) => /host\/web\/.*manifest\.json$/.test(name));
  assert.equal(snapshots.length, 1, manifests.join());
  const [next] = await root.json<{ job: string; 'next-run': number }[]>('job', 'next', ...at);
  assert.deepEqual(next, { job: 'backup/web', 'next-run': (MONDAY + 3 * DAY) / SECOND });
});

test('how many jobs run at once says the configuration of the server', async (t) => {
  const config = join(temporaryDirectory(t), 'server.json');
  writeFileSync(config, JSON.stringify({ jobLimits: { node: 1 } }));
  const rig = await startRig(t, ['--config', config, '--local-agent', '--drain', '1']);
  mkdirSync(rig.path('web'));
  writeFileSync(rig.path('web/page'), randomBytes(4 * MIB));
  const root = rig.account('root@pam');
  const at = ['--state-dir', rig.stateDirectory];
  for (const id of ['one', 'two'])
    await root.run(
      ...['job', 'create', 'backup', id, '--node', 'localhost', '--store', STORE, '--group', `host/${id}`],
      ...['--archive', `root.tree:${rig.path('web')}`, '--set', 'limit-upload=1', ...at],
    );
  for (const id of ['one', 'two']) await rig.admin.call('POST', `/admin/jobs/backup/${id}/run`);
  const begun = await runsOf(rig.stateDirectory, (runs) => runs.some(({ state }) => state === 'running'));
  await sleep(SECOND);
  const both = await runsOf(rig.stateDirectory, () => true);
  assert.deepEqual(both.map(({ state }) => state).sort(), ['queued', 'running'], JSON.stringify(begun));
  const ended = await runsOf(rig.stateDirectory, (runs) => runs.every(({ endMs }) => endMs !== null));
  const [first, second] = [...ended].sort((a, b) => (a.startMs ?? 0) - (b.startMs ?? 0));
  assert.deepEqual([first?.state, second?.state], ['ok', 'ok']);
  assert.ok((second?.startMs ?? 0) >= (first?.endMs ?? Number.POSITIVE_INFINITY));
});
