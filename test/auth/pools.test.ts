// Pools as administrators make, change and remove them, over a real state database.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuthId } from '../../src/schema/auth-id.ts';
import { addUser, as, type Fixture, openFixture, ROOT, withCode } from './access-fixture.ts';

function shown({ pools }: Fixture) {
  return pools.list(ROOT).map(({ poolid, comment, vms, storages }) => [poolid, comment, vms, storages]);
}

function give({ access }: Fixture, authId: AuthId, roles: Readonly<Record<string, string>>): void {
  for (const [path, role] of Object.entries(roles)) access.changeAcl(ROOT, { path, role, authId });
}

test('a pool is made, gets members, loses them and goes; the audit log has each change', async (t) => {
  const fixture = await openFixture(t);
  const { pools, stores } = fixture;
  pools.create(ROOT, 'web', 'the shop');
  pools.create(ROOT, 'web/test');
  pools.change(ROOT, 'web', { vms: [200, 100, 100], storages: ['tank', 'local'] });
  pools.change(ROOT, 'web/test', { vms: [101], storages: ['tank'], comment: 'try' });
  assert.deepEqual(shown(fixture), [
    ['web', 'the shop', [100, 200], ['local', 'tank']],
    ['web/test', 'try', [101], ['tank']],
  ]);
  assert.deepEqual([...pools.poolsOfGuests()].sort(), [
    [100, 'web'],
    [101, 'web/test'],
    [200, 'web'],
  ]);
  pools.change(ROOT, 'web', { vms: [100], storages: ['tank'], delete: true, comment: '' });
  assert.deepEqual(shown(fixture)[0], ['web', '', [200], ['local']]);
  assert.throws(
    () => pools.delete(ROOT, 'web'),
    withCode('protected', /'web' is not empty \(contains pool 'web\/test'/),
  );
  assert.throws(() => pools.delete(ROOT, 'web/test'), withCode('protected', /is not empty \(contains VM 101\)/));
  pools.change(ROOT, 'web/test', { vms: [101], delete: true });
  assert.throws(() => pools.delete(ROOT, 'web/test'), withCode('protected', /\(contains storage 'tank'\)/));
  pools.change(ROOT, 'web/test', { storages: ['tank'], delete: true });
  pools.delete(ROOT, 'web/test');
  pools.delete(ROOT, 'web', (member) => member !== 200 && member !== 'local');
  assert.deepEqual(shown(fixture), []);
  assert.equal(stores.pools.memberCount(), 0, 'what is gone does not come back with another pool of that name');
  const noted = await stores.audit.list({ limit: 20 });
  const actions = noted.filter(({ action }) => action.startsWith('pool-')).map(({ action, object }) => action + object);
  assert.equal(actions.length, 9);
  assert.deepEqual(actions.slice(0, 2), ['pool-delete/pool/web', 'pool-delete/pool/web/test']);
  assert.deepEqual(noted.find(({ action, detail }) => action === 'pool-update' && detail?.comment === 'try')?.detail, {
    ...{ comment: 'try', vms: '101', storage: 'tank' },
  });
});

test('what does not fit is refused in words that clients know, and nothing of it is done', async (t) => {
  const fixture = await openFixture(t);
  const { pools } = fixture;
  pools.create(ROOT, 'web');
  pools.create(ROOT, 'lab');
  pools.change(ROOT, 'web', { vms: [100], storages: ['tank'] });
  pools.change(ROOT, 'lab', { vms: [101] });
  const before = shown(fixture);
  const cases: readonly (readonly [() => void, Parameters<typeof withCode>[0], RegExp])[] = [
    [() => pools.create(ROOT, 'web'), 'exists', /^pool 'web' already exists$/],
    [() => pools.create(ROOT, 'a/b'), 'not-found', /^parent 'a' of pool 'a\/b' does not exist$/],
    [() => pools.create(ROOT, 'a b'), 'bad-name', /'a b' is no name of a pool/],
    [() => pools.create(ROOT, 'a', 'two\nlines'), 'bad-argument', /^comment: /],
    [() => pools.create(ROOT, 'a', 'x'.repeat(1025)), 'bad-argument', /^comment: /],
    [() => pools.change(ROOT, 'none', { comment: 'x' }), 'not-found', /^pool 'none' does not exist$/],
    [() => pools.change(ROOT, 'web', { vms: [102, 100] }), 'exists', /^VM 100 is already a pool member$/],
    [
      () => pools.change(ROOT, 'web', { vms: [102, 101] }),
      'exists',
      /^VM 101 belongs already to pool 'lab' and allow-move is not set$/,
    ],
    [() => pools.change(ROOT, 'web', { storages: ['tank'] }), 'exists', /^Storage 'tank' is already a pool member$/],
    [() => pools.change(ROOT, 'web', { vms: [100, 102], delete: true }), 'not-found', /^VM 102 is not a pool member$/],
    [
      () => pools.change(ROOT, 'web', { vms: [100], storages: ['local'], delete: true, comment: 'x' }),
      'not-found',
      /^Storage 'local' is not a pool member$/,
    ],
    [() => pools.change(ROOT, 'web', { storages: ['../x'] }), 'bad-name', /no storage name/],
    [() => pools.delete(ROOT, 'none'), 'not-found', /^pool 'none' does not exist$/],
    [() => pools.get(ROOT, 'none'), 'not-found', /^pool 'none' does not exist$/],
    [() => void pools.require('none'), 'not-found', /^pool 'none' does not exist$/],
  ];
  for (const [work, code, words] of cases) {
    assert.throws(work, withCode(code, words));
    assert.deepEqual(shown(fixture), before, String(words));
  }
  pools.change(ROOT, 'web', { vms: [101], allowMove: true });
  assert.deepEqual(
    shown(fixture).map(([poolid, , vms]) => [poolid, vms]),
    [
      ['lab', []],
      ['web', [100, 101]],
    ],
  );
});

test('names are up to three parts; those that no URL or path of rights can name are none', async (t) => {
  const { pools, access } = await openFixture(t);
  for (const name of ['a', '-a', '.x', 'A_1.b-', 'a/..b', 'a/..b/c.', 'x'.repeat(128)]) {
    pools.create(ROOT, name);
    access.changeAcl(ROOT, { path: `/pool/${name}`, role: 'PVEPoolUser', authId: 'root@pam' as never });
  }
  const bad = ['', '/', 'a/', '/a', 'a//b', '.', '..', 'a/..', './a', 'a/b/c/d', 'a b', 'ä', 'a\n', 'x'.repeat(129)];
  for (const name of bad) assert.throws(() => pools.create(ROOT, name), withCode('bad-name'), JSON.stringify(name));
});

test('it takes Pool.Allocate on the pool, the right to give rights on each member, and Pool.Allocate where it was', async (t) => {
  const fixture = await openFixture(t);
  const { pools } = fixture;
  const anna = await addUser(fixture, 'anna');
  for (const name of ['web', 'lab', 'web/test']) pools.create(ROOT, name);
  pools.change(ROOT, 'lab', { vms: [300] });
  give(fixture, anna, { '/pool/web': 'PVEPoolAdmin', '/vms/100': 'PVEVMUser', '/vms/200': 'PVEVMAdmin' });
  give(fixture, anna, { '/vms/300': 'PVEVMAdmin', '/storage/own': 'PVEDatastoreAdmin', '/storage/tank': 'PVEAuditor' });
  const denied = (work: () => void, path: string): void =>
    assert.throws(work, (error: { code?: string; data?: { path?: string } }) => {
      assert.deepEqual([error.code, error.data?.path], ['permission-denied', path]);
      return true;
    });
  const me = as(anna);
  denied(() => pools.create(me, 'mine'), '/pool/mine');
  denied(() => pools.create(me, 'web2'), '/pool/web2');
  denied(() => pools.change(me, 'lab', { comment: 'x' }), '/pool/lab');
  denied(() => pools.change(me, 'none', { comment: 'x' }), '/pool/none');
  denied(() => pools.delete(me, 'lab'), '/pool/lab');
  denied(() => pools.get(me, 'lab'), '/pool/lab');
  denied(() => pools.change(me, 'web', { vms: [200, 100] }), '/vms/100');
  denied(() => pools.change(me, 'web', { vms: [200], storages: ['tank'] }), '/storage/tank');
  denied(() => pools.change(me, 'web', { vms: [999], delete: true }), '/vms/999');
  denied(() => pools.change(me, 'web', { vms: [300], allowMove: true }), '/pool/lab');
  assert.equal(pools.get(me, 'web').vms.length, 0);
  pools.create(me, 'web/mine');
  pools.change(me, 'web', { vms: [200], storages: ['own'] });
  give(fixture, anna, { '/pool/lab': 'PVEPoolAdmin' });
  pools.change(me, 'web', { vms: [300], allowMove: true });
  give(fixture, anna, { '/pool/lab': 'NoAccess' });
  assert.deepEqual(
    pools.list(me).map(({ poolid, vms }) => [poolid, vms]),
    [
      ['web', [200, 300]],
      ['web/mine', []],
      ['web/test', []],
    ],
  );
});

test('a change that is refused half way leaves nothing that rights are read off', async (t) => {
  const fixture = await openFixture(t);
  const { pools, permissions, stores } = fixture;
  const anna = await addUser(fixture, 'anna');
  pools.create(ROOT, 'web');
  give(fixture, anna, { '/pool/web': 'PVEVMAdmin' });
  const broken: typeof stores.audit.append = () => {
    // As the log would look at who asks.
    assert.ok(!permissions.has(anna, '/vms/101', 'VM.Audit'));
    throw new Error('the log is broken');
  };
  const { append } = stores.audit;
  stores.audit.append = (event) => (event.action === 'pool-update' ? broken(event) : append.call(stores.audit, event));
  assert.throws(() => pools.change(ROOT, 'web', { vms: [100] }), /the log is broken/);
  assert.ok(!permissions.has(anna, '/vms/100', 'VM.Audit'));
  assert.deepEqual(pools.get(ROOT, 'web').vms, []);
});

test('rights on a pool go with it; a pool that jobs name stays, with their names', async (t) => {
  const fixture = await openFixture(t);
  const { pools, state, access } = fixture;
  const anna = await addUser(fixture, 'anna');
  for (const name of ['web', 'web2']) pools.create(ROOT, name);
  give(fixture, anna, { '/pool/web': 'PVEVMAdmin', '/pool/web/old': 'PVEVMAdmin', '/pool/web2': 'PVEVMUser' });
  const add = state.db.prepare(
    `INSERT INTO jobs (kind, id, enabled, comment, options, retries, retry_delay_ms, timeout_ms, settled_ms)
     VALUES ('vzdump', ?, 1, '', json_object('pool', ?), 0, 1, 1, 1)`,
  );
  for (const id of ['night', 'noon']) add.run(id, 'web');
  add.run('other', 'web2');
  assert.throws(
    () => pools.delete(ROOT, 'web'),
    withCode(
      'protected',
      /^pool 'web' is backed up by jobs: vzdump\/night, vzdump\/noon; change or remove them first$/,
    ),
  );
  state.db.exec("DELETE FROM jobs WHERE id <> 'other'");
  pools.delete(ROOT, 'web');
  assert.deepEqual(
    access.listAcl(ROOT).entries.map(({ path }) => path),
    ['/pool/web2'],
  );
});

test('a guest that was made for a pool is put there, out of where its number was; one that was destroyed is in none', async (t) => {
  const fixture = await openFixture(t);
  const { pools } = fixture;
  for (const name of ['web', 'lab']) pools.create(ROOT, name);
  pools.change(ROOT, 'lab', { vms: [100] });
  pools.place(ROOT, 100, 'web');
  pools.place(ROOT, 100, 'web');
  assert.deepEqual([...pools.poolsOfGuests()], [[100, 'web']]);
  assert.throws(() => pools.place(ROOT, 100, 'gone'), withCode('not-found', /^pool 'gone' does not exist$/));
  pools.forget(ROOT, 100);
  pools.forget(ROOT, 100);
  assert.deepEqual([...pools.poolsOfGuests()], []);
});

test('a guest that was destroyed leaves its pool, and no right to another guest of its number', async (t) => {
  const fixture = await openFixture(t);
  const { pools, access, stores } = fixture;
  pools.create(ROOT, 'web');
  pools.change(ROOT, 'web', { vms: [100, 101] });
  const grant = { role: 'PVEVMUser', authId: await addUser(fixture, 'anna') };
  for (const path of ['/vms/100', '/vms/1000', '/vms/101', '/vms'] as const) access.changeAcl(ROOT, { path, ...grant });
  pools.guestIsGone(ROOT, 100);
  assert.deepEqual([...pools.poolsOfGuests()], [[101, 'web']]);
  const paths = (): string[] => access.listAcl(ROOT).entries.map(({ path }) => path);
  assert.deepEqual(paths().sort(), ['/vms', '/vms/1000', '/vms/101']);
  const [noted] = await stores.audit.list({ limit: 1 });
  assert.deepEqual([noted?.action, noted?.object, noted?.detail], ['acl-delete', '/vms/100', { entries: 1 }]);
  pools.guestIsGone(ROOT, 100);
  assert.equal(paths().length, 3);
});

test('there are a thousand pools at most', async (t) => {
  const { pools, state } = await openFixture(t);
  state.atomically(() => {
    for (let index = 0; index < 1000; index++) pools.create(ROOT, `p${index}`);
  });
  assert.throws(() => pools.create(ROOT, 'more'), withCode('too-many', /1000 pools already/));
});

test('there are ten thousand members at most, by whatever way they come', async (t) => {
  const { pools, state, stores } = await openFixture(t);
  pools.create(ROOT, 'web');
  state.atomically(() => {
    for (let index = 0; index < 9_999; index++) stores.pools.putGuest('web' as never, 1_000 + index);
  });
  assert.throws(() => pools.change(ROOT, 'web', { vms: [100, 101] }), withCode('too-many', /10000 members/));
  pools.change(ROOT, 'web', { vms: [100] });
  assert.throws(() => pools.change(ROOT, 'web', { storages: ['tank'] }), withCode('too-many'));
  assert.throws(() => pools.place(ROOT, 101, 'web'), withCode('too-many'));
  pools.change(ROOT, 'web', { comment: 'full', vms: [100], delete: true });
  pools.place(ROOT, 101, 'web');
});
