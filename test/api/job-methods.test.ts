// Jobs over the API: who sees and changes which, what a change leaves, what became of a job.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { PRUNE_JOB_METHODS } from '../../src/api/routes/config/prune.ts';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const rig = new ApiRig();
after(() => rig.close());
rig.access.grant(ROOT, { '/': 'Admin' });
rig.access.grant('office@pbs', { '/datastore/store1/office': 'DatastoreAdmin' });
rig.access.grant('auditor@pbs', { '/datastore/store1': 'DatastoreAudit' });

const dataOf = async (who: string, method: string, path: string, parameters: Record<string, unknown> = {}) => {
  const answer = await rig.call(who, method, path, parameters);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.data;
};
const refusal = async (who: string, method: string, path: string, parameters: Record<string, unknown> = {}) => {
  const { status, text } = await rig.call(who, method, path, parameters);
  return `${status} ${text}`;
};

test('a job is made, shown, changed, switched off and removed; what is deleted is gone, all else stays', async () => {
  const made = { id: 'nightly', store: 'store1', schedule: 'daily', 'keep-last': 3, 'keep-daily': 7, comment: 'ours' };
  await dataOf(ROOT, 'POST', '/config/prune', { ...made, ns: 'office' });
  const job = { ...made, ns: 'office' };
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune/nightly'), job);
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune'), [job]);
  const change = { 'keep-weekly': 4, schedule: 'mon 02:00', disable: true, delete: ['comment', 'keep-daily'] };
  await dataOf(ROOT, 'PUT', '/config/prune/nightly', change);
  const { comment: _comment, 'keep-daily': _daily, ...kept } = job;
  const changed = { ...kept, 'keep-weekly': 4, schedule: 'mon 02:00', disable: true };
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune/nightly'), changed);
  assert.deepEqual(await dataOf(ROOT, 'GET', '/admin/prune'), [changed], 'one that is off has no next run');
  await dataOf(ROOT, 'PUT', '/config/prune/nightly', { ns: '', delete: ['disable'] });
  const { ns: _ns, disable: _disable, ...last } = changed;
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune/nightly'), last);
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/verify'), [], 'jobs of one kind stand in its list alone');
  await dataOf(ROOT, 'DELETE', '/config/prune/nightly');
  assert.equal(await refusal(ROOT, 'GET', '/config/prune/nightly'), "400 no such prune 'nightly'");
  assert.deepEqual(
    rig.askedOfJobs.splice(0).map(({ action, ref, by }) => `${action} ${ref} ${by}`),
    ['job-create', 'job-update', 'job-update', 'job-remove'].map((action) => `${action} prune/nightly ${ROOT}`),
  );
});

test('a prune job of some groups, set up on the machine, is shown with them; changes leave them, and none sets them', async () => {
  const actor = { authId: ROOT, address: '' };
  const options = { store: 'store1', groups: ['vm/100', 'ct/7'], 'keep-last': 3 };
  rig.jobs.create(actor, { kind: 'prune', id: 'some-groups', schedule: 'daily', options });
  const job = { id: 'some-groups', schedule: 'daily', ...options };
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune/some-groups'), job);
  await dataOf(ROOT, 'PUT', '/config/prune/some-groups', { 'keep-last': 5, comment: 'five' });
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune'), [{ ...job, 'keep-last': 5, comment: 'five' }]);
  const before = rig.jobs.list('prune').map((each) => each.options);
  for (const change of [{ groups: ['vm/1'] }, { groups: 'vm/1' }, { delete: ['groups'] }])
    assert.match(await refusal(ROOT, 'PUT', '/config/prune/some-groups', change), /^400 /);
  const more = { id: 'more-groups', store: 'store1', schedule: 'daily', groups: ['vm/1'] };
  assert.match(await refusal(ROOT, 'POST', '/config/prune', more), /^400 .*groups/);
  assert.deepEqual(
    rig.jobs.list('prune').map((each) => each.options),
    before,
  );
  await dataOf(ROOT, 'DELETE', '/config/prune/some-groups');
  const others = { store: 'store1', 'exclude-groups': ['vm/100'] };
  rig.jobs.create(actor, { kind: 'prune', id: 'others', schedule: 'daily', options: others });
  await dataOf(ROOT, 'PUT', '/config/prune/others', { 'keep-last': 1 });
  const shown = { id: 'others', schedule: 'daily', ...others, 'keep-last': 1 };
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune/others'), shown);
  await dataOf(ROOT, 'DELETE', '/config/prune/others');
  // What the description of the API says of it.
  for (const { method, path, parameters, returns } of PRUNE_JOB_METHODS.filter(({ path }) =>
    path.startsWith('/config'),
  ))
    for (const name of ['groups', 'exclude-groups']) {
      assert.equal(JSON.stringify(returns).includes(`"${name}"`), method === 'GET', `${method} ${path}`);
      assert.ok(!(name in parameters.properties));
    }
  rig.askedOfJobs.length = 0;
});

test('a verification may have no schedule, and may lose it; a prune job may not', async () => {
  await dataOf(ROOT, 'POST', '/config/verify', { id: 'by-hand', store: 'store1', 'ignore-verified': false });
  const job = { id: 'by-hand', store: 'store1', 'ignore-verified': false };
  assert.deepEqual(await dataOf(ROOT, 'GET', '/admin/verify'), [job]);
  await dataOf(ROOT, 'PUT', '/config/verify/by-hand', { schedule: 'sat 18:15' });
  const [planned] = (await dataOf(ROOT, 'GET', '/admin/verify')) as { 'next-run': number }[];
  const next = new Date((planned?.['next-run'] ?? 0) * 1000);
  assert.deepEqual([next.getUTCDay(), next.getUTCHours(), next.getUTCMinutes()], [6, 18, 15]);
  await dataOf(ROOT, 'PUT', '/config/verify/by-hand', { delete: ['schedule'] });
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/verify/by-hand'), job);
  assert.match(await refusal(ROOT, 'POST', '/config/prune', { id: 'never', store: 'store1' }), /^400 .*'schedule'/);
  assert.match(
    await refusal(ROOT, 'PUT', '/config/verify/by-hand', { schedule: 'at noon' }),
    /^400 parameter verification failed - 'schedule': schedule "at noon": /,
  );
  await dataOf(ROOT, 'DELETE', '/config/verify/by-hand');
});

test('who changes what another one has changed meanwhile is told, and nothing happens', async () => {
  await dataOf(ROOT, 'POST', '/config/prune', { id: 'digested', store: 'store1', schedule: 'daily' });
  const { digest } = (await rig.call(ROOT, 'GET', '/config/prune/digested')).json as { digest: string };
  await dataOf(ROOT, 'PUT', '/config/prune/digested', { 'keep-last': 1, digest });
  for (const method of ['PUT', 'DELETE'])
    assert.match(await refusal(ROOT, method, '/config/prune/digested', { digest }), /^400 detected modified/);
  const shown = (await dataOf(ROOT, 'GET', '/config/prune/digested')) as object;
  assert.deepEqual(shown, { id: 'digested', store: 'store1', schedule: 'daily', 'keep-last': 1 });
  await dataOf(ROOT, 'DELETE', '/config/prune/digested');
});

test('jobs of a namespace belong to who has it: to see, to change, to run, and not to move elsewhere', async () => {
  const everywhere = { id: 'everywhere', store: 'store1', schedule: 'daily', 'keep-last': 9 };
  await dataOf(ROOT, 'POST', '/config/prune', everywhere);
  const office = { id: 'office-job', store: 'store1', ns: 'office', schedule: 'daily', 'keep-last': 2 };
  assert.match(await refusal('office@pbs', 'POST', '/config/prune', { ...office, ns: 'other' }), /^403 /);
  await dataOf('office@pbs', 'POST', '/config/prune', office);
  const idsOf = async (who: string): Promise<string[]> =>
    ((await dataOf(who, 'GET', '/config/prune')) as { id: string }[]).map(({ id }) => id);
  assert.deepEqual(await idsOf('office@pbs'), ['office-job']);
  assert.deepEqual(await idsOf('auditor@pbs'), ['everywhere', 'office-job']);
  assert.deepEqual(await dataOf(ROOT, 'GET', '/admin/prune', { store: 'store2' }), []);
  const ofStore = (await dataOf(ROOT, 'GET', '/admin/prune', { store: 'store1' })) as object[];
  assert.equal(ofStore.length, 2);
  assert.match(await refusal('auditor@pbs', 'DELETE', '/config/prune/office-job'), /^403 /);
  assert.match(await refusal('auditor@pbs', 'POST', '/admin/prune/office-job/run'), /^403 /);
  for (const elsewhere of [{ ns: 'other' }, { store: 'store2' }, { ns: '' }, { delete: ['ns'] }])
    assert.match(await refusal('office@pbs', 'PUT', '/config/prune/office-job', elsewhere), /^403 /);
  // Whether it is there or not.
  const words = '403 permission check failed - missing Datastore.Audit|Datastore.Modify on /datastore';
  for (const id of ['everywhere', 'no-such-job'])
    assert.equal(await refusal('office@pbs', 'GET', `/config/prune/${id}`), words);
  assert.match(await refusal('office@pbs', 'POST', '/admin/prune/everywhere/run'), /^403 /);
  assert.deepEqual(await dataOf(ROOT, 'GET', '/config/prune/office-job'), office);
  rig.askedOfJobs.length = 0;
  const upid = await dataOf('office@pbs', 'POST', '/admin/prune/office-job/run');
  assert.match(upid as string, /^UPID:.*:prunejob:store1:office:office-job:office@pbs:$|^UPID:.*prunejob/);
  assert.deepEqual(rig.askedOfJobs, [{ action: 'run', ref: 'prune/office-job', by: 'office@pbs' }]);
  await rig.tasks.settle();
  assert.match(await refusal(ROOT, 'POST', '/config/prune', everywhere), /'id': job 'everywhere' already exists\.$/);
});
