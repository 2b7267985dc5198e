import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseTotpUri } from '../../src/auth/totp.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import { ADDRESS, addUser, as, newTotpUri, openFixture, passwordOf, ROOT, signIn } from './access-fixture.ts';

test('every change and every failed sign-in is in the log, and no secret is', async (t) => {
  const fixture = await openFixture(t);
  const { access, clock, rootPassword } = fixture;
  const anna = await addUser(fixture, 'anna');
  const confirmation = passwordOf('anna');
  const uri = newTotpUri(anna);
  const code = parseTotpUri(uri).generate({ timestamp: clock.nowMs });
  const id = await access.addTotp(as(anna), anna, { uri, code, description: 'phone', confirmation });
  const codes = await access.addRecovery(as(anna), anna, confirmation);
  const { value } = access.createToken(as(anna), anna, 'ci');
  const renewed = access.updateToken(as(anna), anna, 'ci', { regenerate: true }) as string;
  access.changeAcl(ROOT, { path: '/', role: 'Audit', authId: anna });
  access.changeAcl(ROOT, { path: '/', role: 'Audit', authId: anna, delete: true });
  await access.updateTfa(ROOT, anna, id, { enable: true });
  access.unlockTfa(ROOT, anna);
  await assert.rejects(signIn(fixture, anna, 'a wrong password'));
  await assert.rejects(signIn(fixture, 'my password as a name', 'x'));
  const { ticket } = await signIn(fixture, anna, confirmation);
  await assert.rejects(signIn(fixture, anna, 'recovery:aaaa-aaaa-aaaa-aaaa', ticket));
  clock.passSeconds(100);
  const signedIn = await signIn(fixture, anna, `recovery:${codes[0]}`, ticket);
  await access.updateUser(ROOT, anna, { comment: 'x', password: 'yet another one' });
  await access.setPassword(ROOT, anna, 'the last password');
  await access.deleteTfa(ROOT, anna, id);
  access.deleteToken(ROOT, anna, 'ci');
  access.deleteUser(ROOT, anna);

  const entries = await access.auditLog(ROOT, { limit: 100 });
  const expected = [
    'user-create',
    'user-create',
    'tfa-add',
    'tfa-add',
    'token-create',
    'token-update',
    'acl-set',
    'acl-delete',
  ];
  expected.push('tfa-update', 'tfa-unlock', 'login-failed', 'login-failed', 'login-failed', 'login', 'user-update');
  expected.push('password-set', 'password-set', 'tfa-delete', 'token-delete', 'user-delete');
  assert.deepEqual(entries.map(({ action }) => action).reverse(), expected);
  assert.deepEqual(entries.at(-6), {
    id: 6,
    timeMs: clock.nowMs - 100_000,
    action: 'token-update',
    by: anna,
    address: ADDRESS,
    object: `${anna}!ci`,
    detail: { fields: [], regenerate: true },
  });
  const written = JSON.stringify(entries);
  const secrets = [rootPassword, confirmation, uri, new URL(uri).searchParams.get('secret') as string, code, ...codes];
  secrets.push(
    value,
    renewed,
    ticket,
    signedIn.ticket,
    'a wrong password',
    'my password',
    'yet another',
    'the last',
    'cheap:',
  );
  for (const secret of secrets) assert.ok(!written.includes(secret), secret);

  // Secrets of tokens and codes are not in the file in clear either, nor in its journal.
  const files = ['', '-wal'].map((end) => readFileSync(fixture.state.path + end, 'latin1')).join('');
  for (const secret of [value, renewed, ...codes, ticket]) assert.ok(!files.includes(secret));
});

test('the log is bounded, and sign-ins do not push out changes', async (t) => {
  const fixture = await openFixture(t);
  const { audit } = authTables(fixture.state, fixture.clock.read, { maxRows: 50, maxAgeMs: 24 * 3600 * 1000 });
  const event = { by: 'anna@local', address: ADDRESS, object: 'anna@local' };
  for (let index = 0; index < 10; index++) audit.append({ ...event, action: 'user-update' });
  for (let index = 0; index < 600; index++) audit.append({ ...event, action: 'login-failed' });
  assert.equal((await audit.list({ limit: 1000, action: 'user-update' })).length, 10);
  const failures = (await audit.list({ limit: 1000, action: 'login-failed' })).length;
  assert.ok(failures >= 50 && failures < 50 + 256, `${failures}`);
  fixture.clock.passSeconds(24 * 3600 + 1);
  for (let index = 0; index < 256; index++) audit.append({ ...event, action: 'login' });
  assert.deepEqual(await audit.list({ limit: 1000, action: 'user-update' }), []);
});

test('the log is read page by page, by action and by who did it', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  for (let index = 0; index < 5; index++) await fixture.access.updateUser(as(anna), anna, { comment: `${index}` });
  const first = await fixture.access.auditLog(ROOT, { limit: 3 });
  const second = await fixture.access.auditLog(ROOT, { limit: 3, before: first[2].id });
  assert.deepEqual(
    [...first, ...second].map(({ id }) => id),
    [7, 6, 5, 4, 3, 2],
  );
  assert.equal((await fixture.access.auditLog(ROOT, { limit: 100, by: anna })).length, 5);
  assert.equal((await fixture.access.auditLog(ROOT, { limit: 100, action: 'user-create' })).length, 2);
});

test('a long log is read to its end, others have turns meanwhile, and a page has its most', async (t) => {
  const { access, stores, state } = await openFixture(t);
  const event = { address: ADDRESS, object: 'x' };
  const others = 12_000;
  state.atomically(() => {
    for (let index = 0; index < 3; index++) stores.audit.append({ ...event, by: 'early@local', action: 'user-update' });
    for (let index = 0; index < others; index++) stores.audit.append({ ...event, by: 'b@local', action: 'login' });
    stores.audit.append({ ...event, by: 'early@local', action: 'acl-set' });
  });
  let turns = 0;
  const counting = (): unknown => ++turns < 100 && setImmediate(counting);
  counting();
  const found = await stores.audit.list({ limit: 10, by: 'early@local' });
  assert.deepEqual(
    found.map(({ id, action }) => `${id} ${action}`),
    [`${others + 5} acl-set`, '4 user-update', '3 user-update', '2 user-update'],
  );
  assert.ok(turns > 2, `${turns}`);
  const ids: number[] = [];
  for (let before = Number.MAX_SAFE_INTEGER; ; before = ids.at(-1) as number) {
    const page = await access.auditLog(ROOT, { limit: 5000, before });
    if (page.length === 0) break;
    assert.ok(page.length === 1000 || page.at(-1)?.id === 1);
    ids.push(...page.map(({ id }) => id));
  }
  assert.deepEqual(
    ids,
    Array.from({ length: others + 5 }, (_, place) => others + 5 - place),
  );
});
