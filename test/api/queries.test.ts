// Questions and operations of the command line at a server: owners get theirs, everybody else is answered as if it were not there.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { commitImage, type OpenStore } from '../support/store.ts';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const STORE = '/admin/datastore/store1';
const rig = new ApiRig();
let open: OpenStore;
let time = 0;

before(async () => {
  open = await rig.store('store1');
  rig.access.grant('anna@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  rig.access.grant('berta@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  rig.access.grant('backup@pbs', { '/datastore/store1': 'DatastoreBackup' });
  rig.access.grant('auditor@pbs', { '/datastore/store1': 'DatastoreAudit' });
  ({
    name: { time },
  } = await commitImage(open, ['one', 'two'], 'vm/101', 'anna@pbs'));
  await commitImage(open, ['three'], 'ct/7', 'berta@pbs');
  await commitImage(open, ['four'], 'host/b', 'backup@pbs');
});
after(() => rig.close());

const ask = (who: string, query: string, argument: object) =>
  rig.call(who, 'POST', `${STORE}/query/${query}`, { argument });
const operate = (who: string, operation: string, argument: object) =>
  rig.call(who, 'POST', `${STORE}/operation/${operation}`, { argument });

/** What is said of a snapshot, less its name. */
const said = ({ status, text }: { status: number; text: string }, group: string): string =>
  `${status} ${text.replaceAll(group, 'GROUP')}`;

test('a list has the groups that the caller owns, and all for who may look', async () => {
  const listed = async (who: string): Promise<string[]> => {
    const { json } = await ask(who, 'list', { ns: '', group: null });
    return (json.data as { snapshot: string }[])
      .map(({ snapshot }) => snapshot.split('/').slice(0, 2).join('/'))
      .sort();
  };
  assert.deepEqual(await listed('anna@pbs'), ['vm/101']);
  assert.deepEqual(await listed('berta@pbs'), ['ct/7']);
  assert.deepEqual(await listed('auditor@pbs'), ['ct/7', 'host/b', 'vm/101']);
});

test('what takes how much space is for who may look at all: it shows what others have stored', async () => {
  const rows = async (who: string, query: string): Promise<Record<string, unknown>> => {
    const argument = query === 'list' ? { ns: '', group: 'vm/101' } : { ns: '', group: 'vm/101', time: null };
    const { data } = (await ask(who, query, argument)).json as { data: unknown };
    const row = (Array.isArray(data) ? data[0] : data) as Record<string, unknown>;
    return (query === 'find' ? (row.manifest as { server: Record<string, unknown> }).server : row) ?? {};
  };
  for (const query of ['list', 'show', 'find']) {
    assert.equal((await rows('anna@pbs', query)).bytesStored ?? null, null, query);
    assert.equal(typeof (await rows('auditor@pbs', query)).bytesStored, 'number', query);
  }
});

test("another's snapshot is answered, letter for letter, as one that is not there", async () => {
  for (const query of ['resolve', 'find', 'show']) {
    const hidden = await ask('berta@pbs', query, { ns: '', group: 'vm/101', time: null });
    const absent = await ask('berta@pbs', query, { ns: '', group: 'vm/999', time: null });
    assert.equal(said(hidden, 'vm/101'), said(absent, 'vm/999'), query);
    assert.equal(hidden.status, 400, hidden.text);
  }
  const plan = (group: string) =>
    ask('berta@pbs', 'prune-plan', { ns: '', groups: [group], counts: { 'keep-last': 1 } });
  assert.equal(said(await plan('vm/101'), 'vm/101'), said(await plan('vm/999'), 'vm/999'));
  for (const [operation, argument] of [
    ['forget', (group: string) => ({ ns: '', group, time })],
    ['change', (group: string) => ({ name: { ns: '', group, time }, change: { notes: 'mine' } })],
    ['prune', (group: string) => ({ ns: '', groups: [{ group, times: [time] }] })],
  ] as const) {
    const hidden = await operate('berta@pbs', operation, argument('vm/101'));
    const absent = await operate('berta@pbs', operation, argument('vm/999'));
    assert.equal(said(hidden, 'vm/101'), said(absent, 'vm/999'), operation);
  }
  assert.deepEqual(await open.store.groups.times('' as never, 'vm/101' as never), [time]);
});

test('one group of another among own ones is enough to refuse a prune, and nothing goes', async () => {
  const [own = 0] = await open.store.groups.times('' as never, 'ct/7' as never);
  const groups = [
    { group: 'ct/7', times: [own] },
    { group: 'vm/101', times: [time] },
  ];
  assert.equal((await operate('berta@pbs', 'prune', { ns: '', groups })).status, 400);
  assert.deepEqual(await open.store.groups.times('' as never, 'ct/7' as never), [own]);
});

test('who may back up may note, and may neither remove nor clean', async () => {
  const [own = 0] = await open.store.groups.times('' as never, 'host/b' as never);
  const name = { ns: '', group: 'host/b', time: own };
  const noted = await operate('backup@pbs', 'change', { name, change: { notes: 'of mine' } });
  assert.equal(noted.status, 200, noted.text);
  assert.equal((await open.store.groups.manifest(name as never))?.server.notes, 'of mine');
  for (const [operation, argument] of [
    ['forget', name],
    ['lock', { name, forMs: 1000 }],
    ['clear-anomaly', { ns: '', group: 'vm/101', wasAttack: false }],
    ['gc', { dryRun: false, audit: false, rateLimitBytes: null }],
    ['verify', { snapshot: null, provedSinceMs: 0, rateLimitBytes: null }],
  ] as const)
    assert.equal((await operate('backup@pbs', operation, argument)).status, 403, operation);
});

test('while a group is held its owner takes no protection away; what is unusual they hear without figures', async (t) => {
  const { groups } = open.store;
  const held = await commitImage(open, ['five'], 'host/held', 'backup@pbs');
  const name = held.name as { ns: never; group: never; time: number };
  const protect = async (who: string, isProtected: boolean) => [
    (await operate(who, 'change', { name, change: { protected: isProtected } })).status,
    (
      await rig.call(who, 'PUT', `${STORE}/protected`, {
        ...{ 'backup-type': 'host', 'backup-id': 'held', 'backup-time': name.time, protected: isProtected },
      })
    ).status,
  ];
  assert.deepEqual(await protect('backup@pbs', true), [200, 200]);
  const state = await groups.state(name.ns, name.group);
  if (state === undefined) throw new Error('no group');
  const added = { bytesNew: 7 * 1024 ** 3, bytesStored: 7 * 1024 ** 3 };
  const usual = { bytesNew: 1024 ** 3, ratio: 0.5 };
  const anomaly = { time: name.time + 9, added, usual, score: 14, protected: [name.time] };
  await groups.writeState(name.ns, name.group, { ...state, anomaly });
  t.after(async () => await groups.writeState(name.ns, name.group, state));

  const refused = await operate('backup@pbs', 'change', { name, change: { protected: false } });
  assert.match(refused.text, /stays protected while host\/held is held/);
  assert.deepEqual(await protect('backup@pbs', false), [400, 400]);
  assert.equal((await groups.manifest(name))?.server.protected, true);

  const rows = async (who: string) => (await ask(who, 'anomalies', { ns: '' })).json.data as Record<string, unknown>[];
  const [mine = {}, ...others] = await rows('backup@pbs');
  assert.deepEqual(Object.keys(mine).sort(), ['group', 'ns', 'protected', 'text', 'time']);
  assert.match(String(mine.text), /^added far more than usual at \S+$/);
  assert.deepEqual(others, []);
  assert.deepEqual(await rows('berta@pbs'), []);
  const [seen = {}] = await rows('auditor@pbs');
  assert.deepEqual([seen.added, seen.score], [added, 14]);
  assert.match(String(seen.text), /7\.00 GiB/);
  const plan = await ask('backup@pbs', 'prune-plan', { ns: '', groups: ['host/held'], counts: { 'keep-last': 1 } });
  assert.match(plan.text, /added far more than usual/);
  assert.doesNotMatch(plan.text, /GiB|%/);
  assert.deepEqual(await protect(ROOT, false), [200, 200]);
  assert.equal((await groups.manifest(name))?.server.protected, false);
});

test('the end of a long operation has its result, for who started it', async () => {
  const { json } = await operate(ROOT, 'gc', { dryRun: true, audit: false, rateLimitBytes: null });
  const { upid } = json.data as { upid: string };
  await rig.tasks.settle();
  const path = `/nodes/localhost/tasks/${encodeURIComponent(upid)}/result`;
  const { data } = (await rig.call(ROOT, 'GET', path)).json as {
    data: { result: { dryRun: boolean }; warnings: string[] };
  };
  assert.deepEqual([data.result.dryRun, data.warnings], [true, []]);
  assert.equal((await rig.call('anna@pbs', 'GET', path)).status, 403);
});

test('an argument that is not as it should be is refused by its place', async () => {
  for (const argument of [
    { ns: '../x', group: null },
    { ns: '', group: 'vm/../../etc' },
    { ns: '', group: 7 },
    { ns: 'a/b/c/d/e/f/g/h/i', group: null },
  ]) {
    const { status, text } = await ask(ROOT, 'list', argument);
    assert.equal(status, 400, text);
    assert.match(text, /argument/);
  }
});
