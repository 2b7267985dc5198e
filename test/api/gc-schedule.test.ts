// When garbage is collected, as an option of the datastore: which job stands behind it, and what becomes of jobs that others made.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const ACTOR = { authId: ROOT, address: '' };
const CONFIG = '/config/datastore/store1';
const rig = new ApiRig();
before(async () => {
  for (const name of ['store1', 'store2', 'store3']) await rig.store(name);
  rig.access.grant(ROOT, { '/': 'Admin' });
  rig.access.grant('auditor@pbs', { '/datastore/store1': 'DatastoreAudit' });
  rig.access.grant('keeper@pbs', { '/datastore/store1': 'DatastoreAdmin' });
});
after(() => rig.close());

const dataOf = async <Data>(who: string, method: string, path: string, parameters: Record<string, unknown> = {}) => {
  const answer = await rig.call(who, method, path, parameters);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.data as Data;
};
const refusal = async (who: string, method: string, path: string, parameters: Record<string, unknown> = {}) => {
  const { status, text } = await rig.call(who, method, path, parameters);
  return `${status} ${text}`;
};
type Row = Record<string, unknown> & { 'next-run'?: number };
const shown = async (path = CONFIG) => (await dataOf<Row>(ROOT, 'GET', path))['gc-schedule'];
const jobs = () =>
  rig.jobs.list('gc').map(({ id, schedule, enabled, options }) => ({ id, schedule, enabled, options }));

test('a schedule is set, shown with its next run, changed and taken away; behind it stands one job', async () => {
  assert.equal(await shown(), undefined);
  const digestOf = async () => (await rig.call(ROOT, 'GET', CONFIG)).json.digest;
  const before = await digestOf();
  await dataOf('keeper@pbs', 'PUT', CONFIG, { 'gc-schedule': 'sat 18:15', comment: 'ours' });
  assert.deepEqual(jobs(), [{ id: 'store1', schedule: 'sat 18:15', enabled: true, options: { store: 'store1' } }]);
  assert.equal(await shown(), 'sat 18:15');
  assert.notEqual(await digestOf(), before);
  assert.match(
    await refusal(ROOT, 'PUT', CONFIG, { 'gc-schedule': 'daily', digest: before }),
    /^400 detected modified/,
  );
  for (const path of ['/admin/gc', '/admin/datastore/store1/gc']) {
    const answer = await dataOf<Row | Row[]>('auditor@pbs', 'GET', path);
    const row = Array.isArray(answer) ? (answer[0] as Row) : answer;
    const next = new Date((row['next-run'] ?? 0) * 1000);
    assert.deepEqual([row.store, row.schedule], ['store1', 'sat 18:15']);
    assert.deepEqual([next.getUTCDay(), next.getUTCHours(), next.getUTCMinutes()], [6, 18, 15]);
    assert.ok(next.getTime() > Date.now());
  }
  await dataOf('keeper@pbs', 'PUT', CONFIG, { 'gc-schedule': 'daily' });
  assert.deepEqual(jobs(), [{ id: 'store1', schedule: 'daily', enabled: true, options: { store: 'store1' } }]);
  const listed = await dataOf<Row[]>(ROOT, 'GET', '/config/datastore');
  assert.deepEqual(
    listed.map((row) => row['gc-schedule']),
    ['daily', undefined, undefined],
  );
  await dataOf('keeper@pbs', 'PUT', CONFIG, { delete: 'gc-schedule' });
  assert.deepEqual(jobs(), []);
  const [row] = await dataOf<Row[]>(ROOT, 'GET', '/admin/gc', { store: 'store1' });
  assert.deepEqual([row?.schedule, row?.['next-run']], [undefined, undefined]);
  await dataOf(ROOT, 'PUT', CONFIG, { delete: 'gc-schedule' });
  assert.deepEqual(
    rig.askedOfJobs.splice(0).map(({ action, ref, by }) => `${action} ${ref} ${by}`),
    ['job-create', 'job-update', 'job-remove'].map((action) => `${action} gc/store1 keeper@pbs`),
  );
});

test('what is refused leaves everything as it was, the rest of the call too', async () => {
  await dataOf(ROOT, 'PUT', CONFIG, { comment: 'kept' });
  const wrong = /^400 parameter verification failed - 'gc-schedule': schedule "at noon": /;
  assert.match(await refusal(ROOT, 'PUT', CONFIG, { 'gc-schedule': 'at noon', comment: 'changed' }), wrong);
  assert.match(await refusal('auditor@pbs', 'PUT', CONFIG, { 'gc-schedule': 'daily' }), /^403 /);
  const path = `${rig.datastores.entries.get('store1')?.path}-refused`;
  const made = { name: 'store9', path, 'gc-schedule': 'at noon' };
  assert.match(await refusal(ROOT, 'POST', '/config/datastore', made), wrong);
  assert.equal(existsSync(path), false);
  rig.jobs.create(ACTOR, { kind: 'gc', id: 'store2', schedule: 'daily', options: { store: 'store3' } });
  assert.match(
    await refusal(ROOT, 'PUT', '/config/datastore/store2', { 'gc-schedule': 'daily' }),
    /^400 .*'gc-schedule': job gc\/store2 is of another datastore/,
  );
  assert.equal(await shown('/config/datastore/store3'), 'daily', 'whatever its name is');
  rig.jobs.remove(ACTOR, { kind: 'gc', id: 'store2' });
  const { comment, ...more } = await dataOf<Row>(ROOT, 'GET', CONFIG);
  assert.deepEqual([comment, more['gc-schedule'], jobs()], ['kept', undefined, []]);
  assert.equal(rig.tasks.entries.size, 0);
});

test('a job that comes or goes while the rest of the call is done is the one that is changed', async () => {
  const { update } = rig.datastores;
  let meanwhile = (): void => undefined;
  rig.datastores.update = async (...wish) => {
    await update.apply(rig.datastores, wish);
    meanwhile();
  };
  meanwhile = () =>
    void rig.jobs.create(ACTOR, { kind: 'gc', id: 'theirs', schedule: 'hourly', options: { store: 'store1' } });
  await dataOf(ROOT, 'PUT', CONFIG, { 'gc-schedule': 'daily', comment: 'kept' });
  assert.deepEqual(jobs(), [{ id: 'theirs', schedule: 'daily', enabled: true, options: { store: 'store1' } }]);
  meanwhile = () => rig.jobs.remove(ACTOR, { kind: 'gc', id: 'theirs' });
  await dataOf(ROOT, 'PUT', CONFIG, { 'gc-schedule': 'weekly' });
  assert.deepEqual(jobs(), [{ id: 'store1', schedule: 'weekly', enabled: true, options: { store: 'store1' } }]);
  rig.datastores.update = update;
  await dataOf(ROOT, 'PUT', CONFIG, { delete: 'gc-schedule' });
});

test('a job that somebody made is the one that is shown and changed; of several the first, and none is changed', async () => {
  rig.jobs.create(ACTOR, { kind: 'gc', id: 'mine', schedule: null, comment: 'ours', options: { store: 'store1' } });
  assert.equal(await shown(), undefined, 'it waits for a hand');
  await dataOf(ROOT, 'PUT', CONFIG, { delete: 'gc-schedule' });
  assert.equal(jobs().length, 1, 'and is no schedule to be taken away');
  rig.jobs.update(ACTOR, { kind: 'gc', id: 'mine' }, { schedule: 'hourly', enabled: false });
  assert.equal(await shown(), undefined);
  await dataOf(ROOT, 'PUT', CONFIG, { 'gc-schedule': 'daily' });
  assert.deepEqual(jobs(), [{ id: 'mine', schedule: 'daily', enabled: true, options: { store: 'store1' } }]);
  assert.equal(rig.jobs.list('gc')[0]?.comment, 'ours');
  rig.jobs.create(ACTOR, { kind: 'gc', id: 'second', schedule: 'minutely', options: { store: 'store1' } });
  assert.equal(await shown(), 'daily');
  const [row] = await dataOf<Row[]>(ROOT, 'GET', '/admin/gc', { store: 'store1' });
  assert.ok((row?.['next-run'] ?? 0) * 1000 <= Date.now() + 61_000, 'the next run of whichever comes first');
  for (const change of [{ 'gc-schedule': 'weekly' }, { delete: 'gc-schedule' }])
    assert.match(
      await refusal(ROOT, 'PUT', CONFIG, { ...change, comment: 'half done' }),
      /^400 .*'gc-schedule': .*several jobs .*gc\/mine, gc\/second/,
    );
  assert.equal(jobs().length, 2);
  assert.equal((await dataOf<Row>(ROOT, 'GET', CONFIG)).comment, 'kept', 'what is refused changes nothing else');
  rig.jobs.remove(ACTOR, { kind: 'gc', id: 'second' });
  await dataOf(ROOT, 'PUT', CONFIG, { delete: 'gc-schedule' });
  assert.deepEqual(jobs(), []);
});

test('a datastore that is made with a schedule has it', async () => {
  const path = `${rig.datastores.entries.get('store1')?.path}-made`;
  const upid = await dataOf<string>(ROOT, 'POST', '/config/datastore', { name: 'made', path, 'gc-schedule': 'daily' });
  await rig.tasks.settle();
  assert.match(upid, /create-datastore/);
  assert.equal(await shown('/config/datastore/made'), 'daily');
});

test('a datastore that is removed takes its jobs with it, or leaves them where that is asked for', async () => {
  const { remove } = rig.datastores;
  const asked: unknown[] = [];
  rig.datastores.remove = async (...wish: unknown[]) => void asked.push(wish[2]);
  for (const parameters of [{}, { 'keep-job-configs': 1 }])
    await dataOf(ROOT, 'DELETE', '/config/datastore/store3', parameters);
  await rig.tasks.settle();
  rig.datastores.remove = remove;
  assert.deepEqual(asked, [
    { destroyData: false, keepJobs: false },
    { destroyData: false, keepJobs: true },
  ]);
});
