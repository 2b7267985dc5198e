// All jobs over the API, as `holdfast job` has them from afar: what a change leaves, who may look and change, what became of runs.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const PATH = '/config/jobs';
const rig = new ApiRig();
after(() => rig.close());
rig.access.grant(ROOT, { '/': 'Admin' });
rig.access.grant('jobs@pbs', { '/system/jobs': 'Admin' });
rig.access.grant('looks@pbs', { '/system/jobs': 'Audit' });
rig.access.grant('stores@pbs', { '/datastore': 'DatastoreAdmin' });

interface Row extends Record<string, unknown> {
  readonly options: Record<string, unknown>;
  readonly 'next-run'?: number;
}
const dataOf = async <Data = Row>(who: string, method: string, path: string, parameters: object = {}) => {
  const answer = await rig.call(who, method, path, parameters as Record<string, unknown>);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.data as Data;
};
const refusal = async (who: string, method: string, path: string, parameters: object = {}) => {
  const { status, text } = await rig.call(who, method, path, parameters as Record<string, unknown>);
  return `${status} ${text}`;
};

test('a job of any kind is made, shown, changed and removed; what is not named stays, also of its options', async () => {
  const options = { node: 'pve2', store: 'main', vmid: [100, 101], bwlimit: 1024 };
  const given = {
    kind: 'vzdump',
    id: 'nightly',
    options,
    schedule: '21:00',
    retries: 2,
    'retry-delay': 60,
    comment: 'ours',
  };
  const { 'next-run': next = 0, ...made } = await dataOf('jobs@pbs', 'POST', PATH, given);
  assert.deepEqual(made, { ...given, enabled: true, timeout: 24 * 3600 });
  assert.ok(next > Date.now() / 1000);
  const change = { options: { bwlimit: 2048, mode: 'stop' }, delete: ['vmid', 'schedule'], timeout: 60 };
  const both = { ...change, options: { ...change.options, all: true } };
  const changed = {
    ...made,
    options: { node: 'pve2', store: 'main', bwlimit: 2048, mode: 'stop', all: true },
    timeout: 60,
  };
  const { schedule: _schedule, ...byHand } = changed;
  assert.deepEqual(await dataOf('jobs@pbs', 'PUT', `${PATH}/vzdump/nightly`, both), byHand);
  assert.deepEqual(await dataOf('looks@pbs', 'GET', `${PATH}/vzdump/nightly`), byHand);
  assert.match(
    await refusal(ROOT, 'PUT', `${PATH}/vzdump/nightly`, { delete: ['all'] }),
    /^400 vzdump job: name the guests/,
  );
  await dataOf(ROOT, 'POST', PATH, { kind: 'gc', id: 'nightly', options: { store: 'main' }, enabled: false });
  const refsOf = async (parameters: object) =>
    (await dataOf<Row[]>('looks@pbs', 'GET', PATH, parameters)).map(({ kind, id, enabled }) => [kind, id, enabled]);
  assert.deepEqual(await refsOf({}), [
    ['gc', 'nightly', false],
    ['vzdump', 'nightly', true],
  ]);
  assert.deepEqual(await refsOf({ kind: 'gc' }), [['gc', 'nightly', false]]);
  await dataOf('jobs@pbs', 'DELETE', `${PATH}/vzdump/nightly`);
  assert.match(await refusal(ROOT, 'GET', `${PATH}/vzdump/nightly`), /^400 there is no job vzdump\/nightly/);
  assert.deepEqual(
    rig.askedOfJobs.splice(0).map(({ action, ref, by }) => `${action} ${ref} ${by}`),
    [
      'job-create vzdump/nightly jobs@pbs',
      'job-update vzdump/nightly jobs@pbs',
      'job-create gc/nightly root@pam',
      'job-remove vzdump/nightly jobs@pbs',
    ],
  );
});

test('rights are those of /system/jobs; a script is for root@pam alone, and so is a job that has one', async () => {
  const job = { kind: 'gc', id: 'mine', options: { store: 'main' } };
  for (const who of ['stores@pbs', 'looks@pbs'])
    assert.match(await refusal(who, 'POST', PATH, job), /^403 permission check failed$/);
  assert.match(await refusal('stores@pbs', 'GET', PATH), /^403 /);
  assert.match(await refusal('looks@pbs', 'POST', '/admin/jobs/gc/nightly/run'), /^403 /);
  const scripted = { kind: 'vzdump', id: 'hooked', options: { node: 'pve2', store: 'main', all: true, script: '/x' } };
  assert.match(
    await refusal('jobs@pbs', 'POST', PATH, scripted),
    /^400 .*'options': a job with a script is root@pam's/,
  );
  await dataOf(ROOT, 'POST', PATH, scripted);
  const path = `${PATH}/vzdump/hooked`;
  for (const change of [{ options: { script: '/y' } }, { options: { node: 'pve3' } }, { delete: ['script'] }])
    assert.match(await refusal('jobs@pbs', 'PUT', path, change), /^400 .*root@pam's/);
  const { options } = await dataOf('looks@pbs', 'GET', path);
  assert.deepEqual(options, scripted.options);
  await dataOf(ROOT, 'DELETE', path);
  const plain = { kind: 'vzdump', id: 'plain', options: { node: 'pve2', store: 'main', all: true } };
  await dataOf('jobs@pbs', 'POST', PATH, plain);
  const hook = { options: { script: '/x' } };
  assert.match(await refusal('jobs@pbs', 'PUT', `${PATH}/vzdump/plain`, hook), /^400 .*root@pam's/);
  await dataOf('jobs@pbs', 'DELETE', `${PATH}/vzdump/plain`);
});

test('what cannot be is refused in words, and nothing is made', async () => {
  const good = { kind: 'gc', id: 'new', options: { store: 'main' } };
  for (const [wrong, words] of [
    [{ ...good, kind: 'sync' }, /no kind of jobs: take prune, gc/],
    [{ ...good, options: {} }, /store of the job|the options of the job/],
    [{ ...good, options: 'x' }, /'options': Expected object/],
    [{ ...good, schedule: 'at noon' }, /"at noon"/],
    [{ ...good, id: '.x' }, /'id': value does not match/],
    [{ ...good, id: 'nightly' }, /already/],
    [{ ...good, timeout: 0 }, /'timeout'/],
    [{ ...good, 'retry-delay': 3601 }, /'retry-delay': .*3600/],
    [{ ...good, retries: 21 }, /'retries': .*20/],
  ] as const)
    assert.match(await refusal(ROOT, 'POST', PATH, wrong), words);
  assert.equal(rig.jobs.list().length, 1);
});

test('a run by hand is a task of who asks, and the history has it', async () => {
  const upid = await dataOf<string>('jobs@pbs', 'POST', '/admin/jobs/gc/nightly/run');
  assert.match(upid, /:garbage_collection:main:jobs@pbs:$/);
  await rig.tasks.settle();
  assert.match(await refusal(ROOT, 'POST', '/admin/jobs/gc/none/run'), /^400 there is no job gc\/none/);
  assert.deepEqual(await dataOf<Row[]>('looks@pbs', 'GET', '/admin/jobs/history'), [], 'the rig keeps no runs');
});

test('the history is asked for what is wanted of it, and its times are seconds', async () => {
  const { history } = rig.jobs;
  const asked: unknown[] = [];
  const past = { slotMs: null, queuedMs: 5_000, startMs: 6_900, endMs: null };
  const run = { number: 7, kind: 'gc', id: 'nightly', reason: 'hand', state: 'running', attempt: 0 } as const;
  rig.jobs.history = (filter) => {
    asked.push(filter);
    return { rows: [{ ...run, ...past, authId: ROOT, message: '', upid: 'UPID:x' }], total: 12 };
  };
  const rows = await dataOf<Row[]>('looks@pbs', 'GET', '/admin/jobs/history', { kind: 'gc', id: 'nightly', limit: 1 });
  assert.deepEqual(rows, [{ ...run, by: ROOT, message: '', upid: 'UPID:x', queued: 5, started: 6 }]);
  const { json } = await rig.call(ROOT, 'GET', '/admin/jobs/history', { failed: 1 });
  assert.equal(json.total, 12);
  rig.jobs.history = history;
  assert.deepEqual(asked, [
    { kind: 'gc', id: 'nightly', limit: 1, states: undefined },
    { kind: undefined, id: undefined, limit: 50, states: ['error', 'skipped', 'interrupted'] },
  ]);
  for (const limit of [0, 1001])
    assert.match(await refusal(ROOT, 'GET', '/admin/jobs/history', { limit }), /^400 .*'limit'/);
});
