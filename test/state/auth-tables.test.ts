import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { accessServices } from '../../src/auth/access-services.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { addUser, CheapPasswords, openFixture, passwordOf, ROOT, signIn } from '../auth/access-fixture.ts';

test('rights that another process changes are seen at once', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const state = StateDatabase.open(fixture.state.path);
  t.after(() => state.close());
  const other = accessServices(authTables(state), fixture.clock.read, new CheapPasswords());
  const has = (): boolean => fixture.permissions.has(anna, '/datastore/a', 'Datastore.Backup');
  assert.ok(!has());
  other.access.changeAcl(ROOT, { path: '/datastore', role: 'DatastoreBackup', authId: anna });
  assert.ok(has());
  await other.access.updateUser(ROOT, anna, { enable: false });
  assert.ok(!has());
  await fixture.access.updateUser(ROOT, anna, { enable: true });
  assert.ok(has());
  assert.ok(other.permissions.has(anna, '/datastore/a', 'Datastore.Backup'));
  // Both sign tickets with the same key.
  const { ticket } = await other.authenticator.login({
    username: anna,
    password: passwordOf('anna'),
    tfaChallenge: undefined,
    address: '',
  });
  assert.equal((await signIn(fixture, anna, ticket)).username, anna);
});

test('a check costs microseconds, with thousands of entries', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  fixture.state.atomically(() => {
    for (let index = 0; index < 2000; index++)
      fixture.stores.acl.set({
        path: `/datastore/store${index}/office`,
        role: 'DatastoreBackup',
        authId: anna,
        propagate: true,
      });
  });
  const check = (): boolean => fixture.permissions.has(anna, '/datastore/store7/office/prod/x', 'Datastore.Backup');
  assert.ok(check());
  const started = performance.now();
  for (let round = 0; round < 2000; round++) check();
  const microseconds = ((performance.now() - started) * 1000) / 2000;
  assert.ok(microseconds < 500, `${microseconds} us`);
});
