import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PRIVILEGES } from '../../src/auth/privileges.ts';
import { type AuthId, parseUserId, ROOT_USER } from '../../src/schema/auth-id.ts';
import { addUser, as, type Fixture, openFixture, passwordOf, ROOT, signIn, withCode } from './access-fixture.ts';

const DENIED = withCode('permission-denied', /^permission check failed$/);
const STALE = withCode('bad-argument', /^detected modified configuration - file changed by other user\? Try again\.$/);

function give({ access }: Fixture, authId: AuthId, role: string, path: string): void {
  access.changeAcl(ROOT, { path, role, authId });
}

test('a user is made, shown, changed and removed', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const anna = parseUserId('anna@local');
  await access.createUser(ROOT, {
    userid: anna,
    password: passwordOf('anna'),
    comment: 'made by a script',
    email: 'a@example.org',
  });
  const made = access.getUser(ROOT, anna);
  assert.deepEqual(made.user, {
    userid: anna,
    enable: true,
    expire: 0,
    comment: 'made by a script',
    firstname: '',
    lastname: '',
    email: 'a@example.org',
    totpLocked: false,
    tfaLockedUntil: 0,
  });
  await access.updateUser(ROOT, anna, { comment: 'changed', firstname: 'Anna', digest: made.digest });
  await access.updateUser(ROOT, anna, { delete: ['email'], lastname: 'Held' });
  const { user } = access.getUser(ROOT, anna);
  assert.deepEqual([user.comment, user.firstname, user.lastname, user.email], ['changed', 'Anna', 'Held', '']);
  assert.deepEqual(
    access.listUsers(ROOT).users.map(({ userid }) => userid),
    [anna, ROOT_USER],
  );
  await assert.rejects(
    access.createUser(ROOT, { userid: anna }),
    withCode('exists', /^user 'anna@local' already exists\.$/),
  );
  access.deleteUser(ROOT, anna);
  assert.throws(() => access.deleteUser(ROOT, anna), withCode('not-found', /^user 'anna@local' does not exist\.$/));
  assert.throws(() => access.getUser(ROOT, anna), withCode('not-found', /^no such user 'anna@local'$/));
});

test('bad fields are refused, and nothing of the change is done', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const anna = await addUser(fixture, 'anna');
  const bad = [
    { comment: 'two\nlines' },
    { firstname: 'x'.repeat(65) },
    { expire: -1 },
    { expire: 1.5 },
    { expire: Number.NaN },
  ];
  for (const fields of bad) {
    await assert.rejects(access.updateUser(ROOT, anna, { lastname: 'x', ...fields }), withCode('bad-argument'));
    await assert.rejects(
      access.createUser(ROOT, { userid: parseUserId('b@local'), ...fields }),
      withCode('bad-argument'),
    );
  }
  await assert.rejects(access.updateUser(ROOT, anna, { comment: 'x', delete: ['comment'] }), withCode('bad-argument'));
  await assert.rejects(access.createUser(ROOT, { userid: parseUserId('b@pam') }), withCode('bad-argument', /b@local/));
  await assert.rejects(
    access.createUser(ROOT, { userid: parseUserId('b@local'), password: 'short' }),
    withCode('bad-argument'),
  );
  assert.equal(access.getUser(ROOT, anna).user.lastname, '');
  assert.equal(access.listUsers(ROOT).users.length, 2);
});

test('root@pam stays, and only itself changes what it is', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const admin = await addUser(fixture, 'admin');
  give(fixture, admin, 'Admin', '/');
  const rootToken = access.createToken(ROOT, ROOT_USER, 'ci').tokenid;
  give(fixture, rootToken, 'Admin', '/');
  assert.throws(() => access.deleteUser(ROOT, ROOT_USER), withCode('protected'));
  await assert.rejects(access.updateUser(ROOT, ROOT_USER, { enable: false }), withCode('protected'));
  await assert.rejects(access.updateUser(ROOT, ROOT_USER, { expire: 1 }), withCode('protected'));
  for (const actor of [as(admin), as(rootToken)]) {
    await assert.rejects(access.setPassword(actor, ROOT_USER, 'taken over', passwordOf('admin')), DENIED);
    await assert.rejects(access.updateUser(actor, ROOT_USER, { password: 'taken over' }), DENIED);
    await assert.rejects(access.updateUser(actor, ROOT_USER, { comment: 'x' }), DENIED);
    assert.throws(() => access.createToken(actor, ROOT_USER, 'mine'), DENIED);
    assert.throws(() => access.updateToken(actor, ROOT_USER, 'ci', { regenerate: true }), DENIED);
    assert.throws(() => access.deleteUser(actor, ROOT_USER), DENIED);
  }
  await access.setPassword(ROOT, ROOT_USER, 'a new password');
  assert.ok((await signIn(fixture, ROOT_USER, 'a new password')).ticket);
});

test('whoever may nothing may look at and change themselves, and nobody else', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const anna = await addUser(fixture, 'anna');
  const bob = await addUser(fixture, 'bob');
  access.createToken(as(bob), bob, 'ci');
  const me = as(anna);
  assert.deepEqual(
    access.listUsers(me).users.map(({ userid }) => userid),
    [anna],
  );
  await access.updateUser(me, anna, { comment: 'me' });
  await access.setPassword(me, anna, 'another one', passwordOf('anna'));
  await assert.rejects(access.setPassword(me, anna, 'another one'), withCode('bad-argument'));
  await assert.rejects(access.setPassword(me, anna, 'another one', 'wrong'), withCode('not-authenticated'));
  await assert.rejects(access.updateUser(me, anna, { password: 'without asking' }), withCode('bad-argument'));
  await assert.rejects(access.updateUser(me, anna, { expire: 0 }), DENIED);
  await assert.rejects(access.updateUser(me, anna, { enable: true }), DENIED);
  await assert.rejects(access.updateUser(me, bob, { comment: 'x' }), DENIED);
  await assert.rejects(access.setPassword(me, bob, 'taken over', 'another one'), DENIED);
  await assert.rejects(access.createUser(me, { userid: parseUserId('c@local') }), DENIED);
  await assert.rejects(access.auditLog(me, { limit: 1 }), DENIED);
  for (const refused of [
    () => access.getUser(me, bob),
    () => access.deleteUser(me, bob),
    () => access.deleteUser(me, anna),
    () => access.listTokens(me, bob),
    () => access.getToken(me, bob, 'ci'),
    () => access.createToken(me, bob, 'mine'),
    () => access.updateToken(me, bob, 'ci', { enable: false }),
    () => access.deleteToken(me, bob, 'ci'),
    () => access.changeAcl(me, { path: '/', role: 'Admin', authId: anna }),
    () => access.permissionsOf(me, bob),
  ])
    assert.throws(refused, DENIED, refused.toString());
});

test('a confirmation cannot be guessed without end', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const change = (confirmation: string) => fixture.access.setPassword(as(anna), anna, 'another one', confirmation);
  for (let round = 0; round < 4; round++) await assert.rejects(change('wrong'), withCode('not-authenticated'));
  await assert.rejects(change(passwordOf('anna')), withCode('login-throttled'));
  fixture.clock.passSeconds(1);
  await change(passwordOf('anna'));
  assert.equal((await fixture.access.auditLog(ROOT, { limit: 100, action: 'login-failed' })).length, 4);
});

test('who may manage users cannot become one that may more', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const boss = await addUser(fixture, 'boss');
  const clerk = await addUser(fixture, 'clerk');
  give(fixture, boss, 'Admin', '/');
  give(fixture, clerk, 'Admin', '/access/users');
  const bossToken = access.createToken(as(boss), boss, 'ci').tokenid;
  give(fixture, bossToken, 'Admin', '/');
  const me = as(clerk);
  await access.createUser(me, { userid: parseUserId('new@local'), password: 'a new password' });
  access.createToken(me, boss, 'harmless');
  assert.equal(fixture.permissions.of(`${boss}!harmless` as AuthId, '/').size, 0, 'a new token may nothing');
  await assert.rejects(access.setPassword(me, boss, 'taken over', passwordOf('clerk')), DENIED);
  await assert.rejects(access.updateUser(me, boss, { password: 'taken over' }), DENIED);
  assert.throws(() => access.updateToken(me, boss, 'ci', { regenerate: true }), DENIED);
  assert.throws(() => access.changeAcl(me, { path: '/', role: 'Admin', authId: clerk }), DENIED);
  await assert.rejects(access.deleteTfa(me, boss, 'recovery', passwordOf('clerk')), DENIED);
});

test('tokens are listed, changed and removed, and their rights go with them', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const anna = await addUser(fixture, 'anna');
  const { tokenid } = access.createToken(as(anna), anna, 'app', { comment: 'store1 token' });
  const { tokens, digest } = access.listTokens(as(anna), anna);
  assert.deepEqual(tokens, [{ tokenid, tokenName: 'app', comment: 'store1 token', enable: true, expire: 0 }]);
  assert.deepEqual(access.getToken(ROOT, anna, 'app'), { token: tokens[0], digest });
  assert.throws(
    () => access.createToken(as(anna), anna, 'app'),
    withCode('exists', /^token 'app' for user 'anna@local' already exists\.$/),
  );
  for (const name of ['', '-x', 'a b', 'a!b', "a';--"])
    assert.throws(() => access.createToken(as(anna), anna, name), withCode('bad-name'), name);
  assert.equal(access.updateToken(as(anna), anna, 'app', { deleteComment: true, digest }), undefined);
  assert.equal(access.getToken(ROOT, anna, 'app').token.comment, '');
  give(fixture, tokenid, 'Admin', '/');
  access.deleteToken(as(anna), anna, 'app');
  assert.deepEqual(access.listAcl(ROOT).entries, []);
  assert.throws(() => access.getToken(ROOT, anna, 'app'), withCode('not-found', /no such token 'app'/));
  assert.throws(() => access.deleteToken(ROOT, anna, 'app'), withCode('not-found'));
  assert.throws(() => access.listTokens(ROOT, parseUserId('x@local')), withCode('not-found'));
});

test('a user that is removed takes tokens, rights and second factors along, and a namesake gets none of them', async (t) => {
  const fixture = await openFixture(t);
  const { access, permissions } = fixture;
  const anna = await addUser(fixture, 'anna');
  const strange = parseUserId('anna@local!x@local');
  await access.createUser(ROOT, { userid: strange });
  const { tokenid } = access.createToken(ROOT, anna, 'ci');
  for (const authId of [anna, tokenid, strange]) give(fixture, authId, 'Admin', '/datastore/a');
  await access.addRecovery(as(anna), anna, passwordOf('anna'));
  assert.ok(permissions.has(tokenid, '/datastore/a', 'Datastore.Backup'));
  access.deleteUser(ROOT, anna);
  assert.ok(!permissions.has(tokenid, '/datastore/a', 'Datastore.Backup'));
  assert.deepEqual(
    access.listAcl(ROOT).entries.map(({ authId }) => authId),
    [strange],
    'whose name only looks like a token of it',
  );
  await addUser(fixture, 'anna');
  assert.equal(permissions.of(anna, '/datastore/a').size, 0);
  assert.deepEqual(access.listTokens(ROOT, anna).tokens, []);
  assert.deepEqual(access.tfaOf(ROOT, anna).entries, []);
});

test('rights are given, shown and taken on paths', async (t) => {
  const fixture = await openFixture(t);
  const { access, permissions } = fixture;
  const anna = await addUser(fixture, 'anna');
  const { tokenid } = access.createToken(ROOT, anna, 'ci');
  give(fixture, anna, 'DatastoreAudit', '/datastore/store1');
  access.changeAcl(ROOT, { path: '/datastore', role: 'DatastoreBackup', authId: anna, propagate: false });
  access.changeAcl(as(anna), { path: '/datastore/store1', role: 'Admin', authId: tokenid });
  assert.deepEqual([...permissions.of(tokenid, '/datastore/store1/office')], [['Datastore.Audit', true]]);
  assert.deepEqual(
    access.permissionsOf(as(anna), tokenid),
    new Map([['/datastore/store1', new Map([['Datastore.Audit', true]])]]),
  );
  assert.equal(access.permissionsOf(ROOT).get('/')?.size, PRIVILEGES.length);
  assert.deepEqual(
    access
      .listAcl(ROOT, { path: '/datastore' })
      .entries.map(({ path, authId, propagate }) => [path, authId, propagate]),
    [
      ['/datastore', anna, false],
      ['/datastore/store1', anna, true],
      ['/datastore/store1', tokenid, true],
    ],
  );
  assert.equal(access.listAcl(ROOT, { path: '/datastore', exact: true }).entries.length, 1);
  const bob = await addUser(fixture, 'bob');
  assert.deepEqual(access.listAcl(as(bob)).entries, []);
  assert.equal(access.listAcl(as(anna)).entries.length, 3);

  access.changeAcl(ROOT, { path: '/datastore/store1', role: 'DatastoreAudit', authId: anna, delete: true });
  access.changeAcl(ROOT, { path: '/datastore/store1', role: 'DatastoreAudit', authId: anna, delete: true });
  assert.equal(permissions.of(tokenid, '/datastore/store1').size, 0);
});

test('rights that would mean nothing are refused', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const anna = await addUser(fixture, 'anna');
  const change = (path: string, role: string, authId: string) => () =>
    access.changeAcl(ROOT, { path, role, authId: authId as AuthId });
  assert.throws(
    change('/no/such/path', 'Audit', anna),
    withCode('bad-name', /^invalid acl path '\/no\/such\/path'\.$/),
  );
  for (const role of ['NoSuchRole', 'constructor', '__proto__', "Admin'; --"])
    assert.throws(change('/', role, anna), withCode('bad-argument', /the roles are Admin/));
  assert.throws(change('/', 'Admin', 'x@local'), withCode('not-found', /no such user/));
  assert.throws(change('/', 'Admin', 'anna@local!x'), withCode('not-found', /no such token/));
  assert.deepEqual(access.listAcl(ROOT).entries, []);
});

test('of two who change the same the second is told', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const anna = await addUser(fixture, 'anna');
  access.createToken(ROOT, anna, 'ci');
  const { digest } = access.listUsers(ROOT);
  assert.match(digest, /^[0-9a-f]{64}$/);
  await access.setPassword(ROOT, anna, 'another password');
  assert.equal(access.listUsers(ROOT).digest, digest, 'passwords are not part of it');
  await access.updateUser(ROOT, anna, { comment: 'first', digest });
  await assert.rejects(access.updateUser(ROOT, anna, { comment: 'second', digest }), STALE);
  assert.throws(() => access.deleteUser(ROOT, anna, digest), STALE);
  assert.throws(() => access.createToken(ROOT, anna, 'x', { digest }), STALE);
  assert.throws(() => access.updateToken(ROOT, anna, 'ci', { enable: false, digest }), STALE);
  assert.throws(() => access.deleteToken(ROOT, anna, 'ci', digest), STALE);
  assert.equal(access.getUser(ROOT, anna).user.comment, 'first');
  const acl = access.listAcl(ROOT).digest;
  give(fixture, anna, 'Audit', '/');
  const change = { path: '/', role: 'Admin', authId: anna, digest: acl };
  assert.throws(() => access.changeAcl(ROOT, change), STALE);
  access.changeAcl(ROOT, { ...change, digest: access.listAcl(ROOT).digest });
});

test('names that look like SQL are names', async (t) => {
  const fixture = await openFixture(t);
  const { access } = fixture;
  const names = [
    "x';DROP_TABLE_users;--",
    'x")OR(1=1)--',
    '%',
    '_',
    '?1',
    '@userid',
    '$x',
    '--',
    "''",
    '\\',
    'é😀',
    'NULL',
  ];
  for (const name of names) await addUser(fixture, name);
  assert.equal(access.listUsers(ROOT).users.length, names.length + 1);
  for (const name of names) {
    const userid = parseUserId(`${name}@local`);
    const comment = `${name}'); DELETE FROM users; --`;
    await access.updateUser(ROOT, userid, { comment });
    assert.equal(access.getUser(ROOT, userid).user.comment, comment);
    assert.ok((await signIn(fixture, userid, passwordOf(name))).ticket);
  }
  access.deleteUser(ROOT, parseUserId('%@local'));
  assert.equal(access.listUsers(ROOT).users.length, names.length);
});

test('a token never may more than its user, whatever is given to both', async (t) => {
  const fixture = await openFixture(t);
  const { access, permissions } = fixture;
  const anna = await addUser(fixture, 'anna');
  const { tokenid } = access.createToken(ROOT, anna, 'ci');
  const paths = ['/', '/datastore', '/datastore/a', '/datastore/a/b', '/datastore/c'];
  const change = fc.record({
    path: fc.constantFrom(...paths),
    role: fc.constantFrom('Admin', 'NoAccess', 'DatastoreBackup', 'DatastoreReader', 'Audit'),
    authId: fc.constantFrom<AuthId>(anna, tokenid),
    propagate: fc.boolean(),
    delete: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 8 }), (changes) => {
      for (const each of changes) {
        access.changeAcl(ROOT, each);
        for (const path of paths) {
          const ofUser = permissions.of(anna, path);
          for (const privilege of permissions.of(tokenid, path).keys()) assert.ok(ofUser.has(privilege));
        }
      }
    }),
    { numRuns: 40 },
  );
});
