// Routes of a real datastore: what lists show, what each change does, and what the words of refusals are.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ObjectId } from '../../src/chunker/object.ts';
import { clientPart, commitImage, type OpenStore } from '../support/store.ts';
import { ApiRig, OPENED_SESSION } from './rig.ts';

const ROOT = 'root@pam';
const STORE = '/admin/datastore/store1';
const rig = new ApiRig();
let open: OpenStore;
const group = { 'backup-type': 'vm', 'backup-id': '101' };

before(async () => {
  open = await rig.store('store1');
  rig.access.grant('anna@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  rig.access.grant('anna@pbs!laptop', { '/datastore/store1': 'DatastorePowerUser' });
  rig.access.grant('berta@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  await commitImage(open, ['one', 'two'], 'vm/101', 'anna@pbs');
  await commitImage(open, ['three'], 'vm/101', 'anna@pbs');
  await commitImage(open, ['four'], 'vm/9', 'anna@pbs!laptop');
  await commitImage(open, ['five'], 'ct/abc', 'berta@pbs');
});
after(() => rig.close());

async function times(name = 'vm/101'): Promise<number[]> {
  const rows = (await rig.call(ROOT, 'GET', `${STORE}/snapshots`)).json.data as Record<string, unknown>[];
  return rows
    .filter((row) => `${row['backup-type']}/${row['backup-id']}` === name)
    .map((row) => row['backup-time'] as number);
}

test('a list has the groups in their order, with what the newest snapshot holds', async () => {
  const { status, json } = await rig.call(ROOT, 'GET', `${STORE}/groups`);
  assert.equal(status, 200);
  const rows = json.data as Record<string, unknown>[];
  assert.deepEqual(
    rows.map((row) => [row['backup-type'], row['backup-id'], row['backup-count'], row.owner, row.files]),
    [
      ['ct', 'abc', 1, 'berta@pbs', ['disk0.img', 'index.json.blob']],
      ['vm', '9', 1, 'anna@pbs!laptop', ['disk0.img', 'index.json.blob']],
      ['vm', '101', 2, 'anna@pbs', ['disk0.img', 'index.json.blob']],
    ],
  );
});

test('owners see their own groups and those of their tokens; a token sees its own', async () => {
  const namesFor = async (who: string): Promise<string[]> => {
    const { json } = await rig.call(who, 'GET', `${STORE}/snapshots`);
    return [
      ...new Set((json.data as Record<string, unknown>[]).map((row) => `${row['backup-type']}/${row['backup-id']}`)),
    ];
  };
  assert.deepEqual(await namesFor('anna@pbs'), ['vm/9', 'vm/101']);
  assert.deepEqual(await namesFor('anna@pbs!laptop'), ['vm/9']);
  assert.deepEqual(await namesFor('berta@pbs'), ['ct/abc']);
});

test("another owner's snapshot answers, letter for letter, as one that is not there", async () => {
  const [time = 0] = await times();
  for (const [method, path] of [
    ['GET', 'files'],
    ['GET', 'notes'],
    ['GET', 'protected'],
    ['DELETE', 'snapshots'],
    ['GET', 'group-notes'],
  ] as const) {
    const isOfGroup = path === 'group-notes';
    const ask = (id: string) =>
      rig.call('berta@pbs', method, `${STORE}/${path}`, {
        'backup-type': 'vm',
        'backup-id': id,
        ...(isOfGroup ? {} : { 'backup-time': time }),
      });
    const [theirs, missing] = [await ask('101'), await ask('404')];
    assert.equal(theirs.status, 400, path);
    assert.match(theirs.text, /No such file or directory/);
    assert.equal(theirs.text.replace('101', 'N'), missing.text.replace('404', 'N'));
  }
  assert.equal((await times()).length, 2);
});

test('pages of snapshots put together are the whole list', async () => {
  const whole = (await rig.call(ROOT, 'GET', `${STORE}/snapshots`)).json;
  assert.equal('total' in whole, false);
  const pages: unknown[] = [];
  for (let start = 0; start < 6; start += 1) {
    const { json } = await rig.call(ROOT, 'GET', `${STORE}/snapshots`, { start, limit: 1 });
    assert.equal(json.total, 4);
    pages.push(...(json.data as unknown[]));
  }
  assert.deepEqual(pages, whole.data);
  const ofOne = await rig.call(ROOT, 'GET', `${STORE}/snapshots`, { ...group, start: 1 });
  assert.equal(ofOne.json.total, 2);
  assert.equal((ofOne.json.data as unknown[]).length, 1);
});

test('notes have many lines of which lists show the first; the protected stay', async () => {
  const [time = 0] = await times();
  const where = { ...group, 'backup-time': time };
  const notes = 'first ünicode line\nsecond line';
  assert.equal((await rig.call('anna@pbs', 'PUT', `${STORE}/notes`, { ...where, notes })).status, 200);
  assert.equal((await rig.call(ROOT, 'GET', `${STORE}/notes`, where)).json.data, notes);
  assert.equal((await rig.call('anna@pbs', 'PUT', `${STORE}/protected`, { ...where, protected: '1' })).status, 200);
  assert.equal((await rig.call(ROOT, 'GET', `${STORE}/protected`, where)).json.data, true);
  const [row] = (await rig.call(ROOT, 'GET', `${STORE}/snapshots`, group)).json.data as Record<string, unknown>[];
  assert.equal(row?.comment, 'first ünicode line');
  assert.equal(row?.protected, true);
  const refused = await rig.call('anna@pbs', 'DELETE', `${STORE}/snapshots`, where);
  assert.deepEqual(
    [refused.status, refused.text],
    [400, 'failed to delete snapshot - cannot remove protected snapshot'],
  );
  const plan = await rig.call('anna@pbs', 'POST', `${STORE}/prune`, { ...group, 'keep-last': 1, 'dry-run': 1 });
  assert.deepEqual(
    (plan.json.data as Record<string, unknown>[]).map(({ keep, protected: isProtected }) => [keep, isProtected]),
    [
      [true, true],
      [true, false],
    ],
  );
  const partly = await rig.call('anna@pbs', 'DELETE', `${STORE}/groups`, group);
  assert.equal(partly.text, 'group only partially deleted due to protected snapshots');
  assert.deepEqual(await times(), [time]);
  await rig.call('anna@pbs', 'PUT', `${STORE}/protected`, { ...where, protected: false });
});

test('notes of a group are kept across backups, and go with the group', async () => {
  assert.equal(
    (await rig.call('anna@pbs', 'PUT', `${STORE}/group-notes`, { ...group, notes: 'of the group' })).status,
    200,
  );
  await commitImage(open, ['six'], 'vm/101', 'anna@pbs');
  assert.equal((await rig.call(ROOT, 'GET', `${STORE}/group-notes`, group)).json.data, 'of the group');
  const removed = await rig.call('anna@pbs', 'DELETE', `${STORE}/groups`, group);
  assert.deepEqual(removed.json.data, { 'removed-groups': 1, 'removed-snapshots': 2, 'protected-snapshots': 0 });
  assert.equal((await rig.call(ROOT, 'GET', `${STORE}/group-notes`, group)).status, 400);
  // Nobody's any more: somebody else may make it anew, with numbers that go on.
  const anew = await commitImage(open, ['seven'], 'vm/101', 'berta@pbs');
  assert.ok(anew.manifest.server.sequence > 3);
  assert.deepEqual(await times(), [anew.name.time]);
});

test('a prune removes what the plan says, as a task; the snapshot is gone at once from every list', async () => {
  for (const text of ['a', 'b', 'c']) await commitImage(open, [text], 'host/prune', ROOT);
  const where = { 'backup-type': 'host', 'backup-id': 'prune', 'keep-last': 2 };
  const before = await times('host/prune');
  const { json } = await rig.call(ROOT, 'POST', `${STORE}/prune`, where);
  assert.deepEqual(
    (json.data as Record<string, unknown>[]).map((row) => [row['backup-time'], row.keep]),
    [
      [before[0], false],
      [before[1], true],
      [before[2], true],
    ],
  );
  assert.deepEqual(await times('host/prune'), before.slice(1));
  const { rows } = rig.tasks.list({ store: 'store1', typefilter: 'prune' });
  assert.deepEqual([rows[0]?.id, rows[0]?.status], ['store1::host/prune', 'OK']);
  const all = await rig.call('berta@pbs', 'POST', `${STORE}/prune-datastore`, { 'keep-last': 1 });
  assert.match(all.json.data as string, /^UPID:/);
  await rig.tasks.settle();
  assert.equal((await times('host/prune')).length, 2, 'a caller that owns nothing of it prunes nothing of it');
});

test('a backup of a client counts once as what writes, a restore and a verification as what reads', async () => {
  let end = (): void => {};
  const over = new Promise<undefined>((resolve) => {
    end = () => resolve(undefined);
  });
  for (const type of ['backup', 'reader', 'verify_group', 'delete', 'prune'])
    rig.tasks.start({ type, id: 'store1:vm/101', authId: ROOT }, () => over);
  rig.tasks.start({ type: 'backup', id: 'store10', authId: ROOT }, () => over);
  const { json } = await rig.call(ROOT, 'GET', `${STORE}/active-operations`);
  end();
  await rig.tasks.settle();
  assert.deepEqual(json.data, { read: 2, write: 3 });
  assert.deepEqual((await rig.call(ROOT, 'GET', `${STORE}/active-operations`)).json.data, { read: 0, write: 0 });
});

test('garbage collection and verification run as tasks and leave their figures', async () => {
  const never = (await rig.call(ROOT, 'GET', `${STORE}/gc`)).json.data as Record<string, unknown>;
  assert.equal(never['last-run-state'], undefined);
  const upid = (await rig.call(ROOT, 'POST', `${STORE}/gc`)).json.data as string;
  await rig.tasks.settle();
  const figures = (await rig.call(ROOT, 'GET', `${STORE}/gc`)).json.data as Record<string, number | string>;
  assert.deepEqual([figures.upid, figures['last-run-state'], figures.store], [upid, 'OK', 'store1']);
  assert.ok((figures['disk-chunks'] as number) > 0);
  assert.ok((figures['index-data-bytes'] as number) > 0);
  const [listed] = (await rig.call(ROOT, 'GET', '/admin/gc')).json.data as unknown[];
  assert.deepEqual(listed, figures);
  const usage = (await rig.call(ROOT, 'GET', '/status/datastore-usage')).json.data as Record<
    string,
    Record<string, unknown>
  >[];
  assert.equal(usage[0]?.['gc-status']?.upid, upid);

  const collect = async (dryRun: boolean): Promise<string> => {
    const argument = { dryRun, audit: false, rateLimitBytes: null };
    const { json } = await rig.call(ROOT, 'POST', `${STORE}/operation/gc`, { argument });
    await rig.tasks.settle();
    return (json.data as { upid: string }).upid;
  };
  const ofLast = async () => (await rig.call(ROOT, 'GET', `${STORE}/gc`)).json.data as Record<string, number | string>;
  await collect(true);
  assert.deepEqual(await ofLast(), figures, 'a dry run says nothing of the store');
  const byCommand = await collect(false);
  const now = await ofLast();
  assert.deepEqual([now.upid, now['last-run-state']], [byCommand, 'OK'], 'whoever asked for it');
  for (const member of ['disk-chunks', 'index-data-bytes', 'index-file-count'])
    assert.equal(now[member], figures[member], member);

  for (const which of [{}, { 'backup-type': 'ct', 'backup-id': 'abc' }]) {
    const who = 'backup-id' in which ? 'berta@pbs' : ROOT;
    const { json } = await rig.call(who, 'POST', `${STORE}/verify`, { ...which, 'ignore-verified': 0 });
    await rig.tasks.settle();
    const { status, id } = rig.tasks.get(json.data as string) ?? {};
    assert.equal(status, 'OK', `${id}: ${rig.tasks.entries.get(json.data as string)?.lines.join('\n')}`);
  }
});

test('namespaces are made below others, twice without harm, and go with or without what is in them', async () => {
  const path = `${STORE}/namespace`;
  assert.equal((await rig.call(ROOT, 'POST', path, { name: 'team' })).json.data, 'team');
  assert.equal((await rig.call(ROOT, 'POST', path, { name: 'team' })).status, 200);
  assert.equal((await rig.call(ROOT, 'POST', path, { name: 'inner', parent: 'team' })).json.data, 'team/inner');
  assert.equal((await rig.call(ROOT, 'POST', path, { name: 'x', parent: 'none' })).status, 400);
  const list = (await rig.call(ROOT, 'GET', path)).json.data;
  assert.deepEqual(list, [{ ns: '' }, { ns: 'team' }, { ns: 'team/inner' }]);
  assert.deepEqual((await rig.call(ROOT, 'GET', path, { 'max-depth': 1 })).json.data, [{ ns: '' }, { ns: 'team' }]);
  const denied = await rig.call('anna@pbs', 'POST', path, { name: 'x' });
  assert.deepEqual(
    [denied.status, denied.text],
    [403, 'permission check failed - missing Datastore.Modify on /datastore/store1'],
  );
  const removed = await rig.call(ROOT, 'DELETE', path, { ns: 'team' });
  assert.deepEqual(removed.json.data, { 'removed-groups': 0, 'removed-snapshots': 0, 'protected-snapshots': 0 });
  assert.deepEqual((await rig.call(ROOT, 'GET', path)).json.data, [{ ns: '' }]);
  assert.equal((await rig.call(ROOT, 'GET', `${STORE}/snapshots`, { ns: 'team' })).status, 400);
  assert.equal((await rig.call(ROOT, 'DELETE', path, { ns: 'team' })).status, 200);
});

test('a group changes its owner; its old owner sees it no more', async () => {
  const where = { 'backup-type': 'vm', 'backup-id': '9' };
  const foreign = await rig.call('anna@pbs', 'POST', `${STORE}/change-owner`, { ...where, 'new-owner': 'berta@pbs' });
  assert.equal(foreign.status, 403);
  assert.equal(
    (await rig.call('anna@pbs', 'POST', `${STORE}/change-owner`, { ...where, 'new-owner': 'anna@pbs' })).status,
    200,
  );
  assert.deepEqual((await rig.call('anna@pbs!laptop', 'GET', `${STORE}/groups`)).json.data, []);
  assert.equal(
    (await rig.call(ROOT, 'POST', `${STORE}/change-owner`, { ...where, 'new-owner': 'berta@pbs' })).status,
    200,
  );
  assert.deepEqual((await rig.call('anna@pbs', 'GET', `${STORE}/groups`)).json.data, []);
});

test('maintenance, quotas and comments are set, read back and removed; an old digest changes nothing', async () => {
  const path = '/config/datastore/store1';
  const quota = ['ns=team,bytes=1000', 'owner=anna@pbs,bytes=5'];
  const set = { comment: 'main', 'maintenance-mode': 'read-only,message="moving, slowly"', quota };
  assert.equal((await rig.call(ROOT, 'PUT', path, set)).status, 200);
  const { json } = await rig.call(ROOT, 'GET', path);
  const { path: _, ...row } = json.data as Record<string, unknown>;
  assert.deepEqual(row, { name: 'store1', ...set });
  const blocked = await rig.call(ROOT, 'POST', `${STORE}/namespace`, { name: 'x' });
  assert.deepEqual(
    [blocked.status, blocked.text],
    [400, "datastore 'store1' is unavailable: read-only maintenance mode: moving, slowly"],
  );
  await rig.call(ROOT, 'PUT', path, { 'maintenance-mode': 'offline,message=later' });
  const offline = await rig.call(ROOT, 'GET', `${STORE}/groups`);
  assert.equal(offline.text, "datastore 'store1' is unavailable: offline maintenance mode: later");
  const coded = await rig.call(
    ROOT,
    'GET',
    `${STORE}/groups`,
    {},
    { headers: { accept: 'application/vnd.holdfast.error+json' } },
  );
  assert.deepEqual([coded.status, coded.json.code], [503, 'datastore-maintenance']);
  const stale = await rig.call(ROOT, 'PUT', path, { comment: 'other', digest: json.digest });
  assert.equal(stale.text, 'detected modified configuration - file changed by other user? Try again.');
  const removed = { delete: 'comment,maintenance-mode quota' };
  assert.equal((await rig.call(ROOT, 'PUT', path, removed)).status, 200);
  const after = (await rig.call(ROOT, 'GET', path)).json.data as Record<string, unknown>;
  assert.deepEqual(Object.keys(after), ['name', 'path']);
  for (const wrong of [{ 'maintenance-mode': 'sometimes' }, { quota: ['ns=a'] }])
    assert.match(
      (await rig.call(ROOT, 'PUT', path, { comment: 'x', ...wrong })).text,
      /^parameter verification failed/,
    );
  assert.equal(((await rig.call(ROOT, 'GET', path)).json.data as Record<string, unknown>).comment, undefined);
  for (const { method, actor, name } of rig.datastores.asked)
    assert.deepEqual([method, actor.authId, actor.address, name], ['update', ROOT, '127.0.0.1', 'store1']);
  assert.equal(rig.datastores.asked.length, 3, 'what is refused changes nothing');
});

test('sessions go to the transport with the owner of the group, and their errors come with codes', async () => {
  const where = { 'backup-type': 'ct', 'backup-id': 'abc' };
  const accept = { headers: { accept: 'application/vnd.holdfast.error+json' } };
  const opened = await rig.call('berta@pbs', 'POST', `${STORE}/sessions`, { ...where, kind: 'backup' });
  assert.deepEqual(opened.json.data, OPENED_SESSION);
  const { argument, caller } = rig.sessions.asked.at(-1) ?? {};
  assert.deepEqual(caller, { authId: 'berta@pbs', ownGroupsOnly: false });
  assert.deepEqual(argument, { kind: 'backup', ...where });
  const foreign = await rig.call('anna@pbs', 'POST', `${STORE}/sessions`, { ...where, kind: 'backup' }, accept);
  assert.deepEqual([foreign.status, foreign.json.code], [403, 'not-owner']);
  const [time = 0] = await times('ct/abc');
  const read = { ...where, kind: 'read', 'backup-times': [time] };
  assert.equal((await rig.call('berta@pbs', 'POST', `${STORE}/sessions`, read)).status, 200);
  assert.deepEqual(rig.sessions.asked.at(-1)?.caller, { authId: 'berta@pbs', ownGroupsOnly: true });
  const hidden = await rig.call('anna@pbs', 'POST', `${STORE}/sessions`, read, accept);
  assert.deepEqual([hidden.status, hidden.json.code], [404, 'not-found']);
  const session = `${STORE}/sessions/${'ab'.repeat(16)}`;
  const good = { client: clientPart(Buffer.alloc(32) as Uint8Array as ObjectId, 1, 'ct/abc') };
  const damaged = await rig.call('berta@pbs', 'POST', `${session}/commit`, good, accept);
  assert.deepEqual([damaged.status, damaged.json.code], [400, 'object-damaged']);
  assert.deepEqual(damaged.json.data, { ranges: [{ archive: 'a.img', offset: 0, length: 1 }] });
  assert.equal(
    (await rig.call('berta@pbs', 'POST', `${session}/commit`, { client: { backup: 'ct/abc' } })).status,
    400,
  );
  assert.equal((await rig.call('berta@pbs', 'DELETE', session)).status, 200);
  assert.equal(rig.sessions.asked.at(-1)?.method, 'end');
});

test('nothing of all this was an error that nobody foresaw', () => {
  assert.deepEqual(rig.bugs, []);
});
