import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessServices } from '../../src/auth/access-services.ts';
import { BACKUP_CREDENTIALS } from '../../src/auth/credentials.ts';
import { parseUserId } from '../../src/schema/auth-id.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import type { ErrorCode } from '../../src/util/errors.ts';
import {
  ADDRESS,
  addUser,
  as,
  CheapPasswords,
  FakeClock,
  type Fixture,
  openFixture,
  passwordOf,
  ROOT,
  signIn,
  withCode,
} from './access-fixture.ts';

const REFUSED = withCode('not-authenticated', /^permission check failed\.$/);

function withTicket({ authenticator, clock }: Fixture, ticket: string, method = 'GET', csrfToken?: string) {
  const cookie = `PBSAuthCookie=${encodeURIComponent(ticket)}`;
  const credentials = {
    style: BACKUP_CREDENTIALS,
    authorization: undefined,
    cookie,
    csrfToken,
    method,
    address: ADDRESS,
  };
  return authenticator.authenticate(credentials, clock.nowMs);
}

function withToken({ authenticator, clock }: Fixture, tokenid: string, secret: string, address = ADDRESS) {
  const authorization = `PBSAPIToken=${tokenid}:${secret}`;
  return authenticator.authenticate(
    { style: BACKUP_CREDENTIALS, authorization, cookie: undefined, csrfToken: undefined, method: 'POST', address },
    clock.nowMs,
  );
}

const NOBODY = withCode('not-authenticated', /^authentication failed$/);

test('a password gives a ticket, and the ticket an identity', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const { username, ticket, csrfToken, needsSecondFactor } = await signIn(fixture, anna, passwordOf('anna'));
  assert.deepEqual([username, needsSecondFactor], [anna, false]);
  assert.deepEqual(await withTicket(fixture, ticket), { authId: anna, by: 'ticket' });
  assert.deepEqual(await withTicket(fixture, ticket, 'POST', csrfToken), { authId: anna, by: 'ticket' });
  const root = await signIn(fixture, 'root@pam', fixture.rootPassword);
  assert.equal((await withTicket(fixture, root.ticket)).authId, 'root@pam');
});

test('everything but GET needs the CSRF token of the same user', async (t) => {
  const fixture = await openFixture(t);
  const anna = await signIn(fixture, await addUser(fixture, 'anna'), passwordOf('anna'));
  const bob = await signIn(fixture, await addUser(fixture, 'bob'), passwordOf('bob'));
  for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'get'])
    for (const csrfToken of [undefined, '', bob.csrfToken, 'invalid'])
      await assert.rejects(withTicket(fixture, anna.ticket, method, csrfToken), NOBODY);
});

test('each way to be wrong is one answer, and costs one look at a password', async (t) => {
  const fixture = await openFixture(t);
  const { access, clock } = fixture;
  await addUser(fixture, 'anna');
  await access.updateUser(ROOT, await addUser(fixture, 'disabled'), { enable: false });
  await access.updateUser(ROOT, await addUser(fixture, 'expired'), { expire: clock.seconds });
  const wrong: [string, string][] = [
    ['anna@local', 'not the password'],
    ['anna@local', ''],
    ['nobody@local', passwordOf('anna')],
    ['anna@pam', passwordOf('anna')],
    ['no user id', passwordOf('anna')],
    ["anna@local' OR '1'='1", passwordOf('anna')],
    ['disabled@local', passwordOf('disabled')],
    ['expired@local', passwordOf('expired')],
  ];
  for (const [username, password] of wrong) {
    const before = fixture.passwords.verified;
    await assert.rejects(signIn(fixture, username, password), REFUSED, username);
    assert.equal(fixture.passwords.verified, before + 1, username);
    clock.passSeconds(400);
  }
  const failures = await fixture.stores.audit.list({ limit: 100, action: 'login-failed' });
  assert.equal(failures.length, wrong.length);
  assert.equal(failures.filter(({ by }) => by === '(no user id)').length, 2);
});

test('a user without a password cannot sign in with any', async (t) => {
  const fixture = await openFixture(t);
  const robot = parseUserId('robot@local');
  await fixture.access.createUser(ROOT, { userid: robot });
  for (const password of ['', 'undefined', 'null']) await assert.rejects(signIn(fixture, robot, password), REFUSED);
});

test('a password that is changed while it is looked at does not let in', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  fixture.passwords.meanwhile = () => {
    const record = fixture.stores.users.find(anna);
    if (record !== undefined) fixture.stores.users.update({ ...record, passwordHash: 'cheap:another' });
  };
  await assert.rejects(signIn(fixture, anna, passwordOf('anna')), REFUSED);
});

test('an old ticket in place of the password gives a new one, for the same user alone', async (t) => {
  const fixture = await openFixture(t);
  const { clock } = fixture;
  const anna = await addUser(fixture, 'anna');
  await addUser(fixture, 'bob');
  const first = await signIn(fixture, anna, passwordOf('anna'));
  clock.passSeconds(7000);
  const before = fixture.passwords.verified;
  const second = await signIn(fixture, anna, first.ticket);
  assert.equal(fixture.passwords.verified, before);
  await assert.rejects(signIn(fixture, 'bob@local', first.ticket), REFUSED);
  clock.passSeconds(1000);
  await assert.rejects(withTicket(fixture, first.ticket), NOBODY);
  assert.equal((await withTicket(fixture, second.ticket)).authId, anna);
  await assert.rejects(signIn(fixture, anna, first.ticket), REFUSED);
});

test('renewing a ticket is never throttled, guessing is', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const { ticket } = await signIn(fixture, anna, passwordOf('anna'));
  let throttled = 0;
  for (let round = 0; round < 20; round++) {
    const error = await signIn(fixture, anna, 'a guess').catch((reason: unknown) => reason);
    throttled += (error as { code: ErrorCode }).code === 'login-throttled' ? 1 : 0;
  }
  assert.equal(throttled, 16);
  await assert.rejects(signIn(fixture, anna, passwordOf('anna')), withCode('login-throttled'));
  assert.equal((await signIn(fixture, anna, ticket)).username, anna);
  const failures = await fixture.stores.audit.list({ limit: 100, action: 'login-failed' });
  assert.equal(failures.length, 5, 'four guesses, and once that it was throttled');
});

test('tickets end with the user, its enabling, its expiry, and a password that another sets', async (t) => {
  const fixture = await openFixture(t);
  const { access, clock } = fixture;
  const anna = await addUser(fixture, 'anna');
  const enter = async (): Promise<string> => (await signIn(fixture, anna, passwordOf('anna'))).ticket;
  const ticket = await enter();
  await access.updateUser(ROOT, anna, { enable: false });
  await assert.rejects(withTicket(fixture, ticket), NOBODY);
  await assert.rejects(signIn(fixture, anna, ticket), REFUSED);
  await access.updateUser(ROOT, anna, { enable: true, expire: clock.seconds + 100 });
  assert.equal((await withTicket(fixture, ticket)).authId, anna);
  clock.passSeconds(100);
  await assert.rejects(withTicket(fixture, ticket), NOBODY);
  await access.updateUser(ROOT, anna, { expire: 0 });
  assert.equal((await withTicket(fixture, ticket)).authId, anna);

  await access.setPassword(ROOT, anna, passwordOf('anna'));
  await assert.rejects(withTicket(fixture, ticket), NOBODY);
  const second = await enter();
  assert.equal((await withTicket(fixture, second)).authId, anna, 'at once');
  await access.setPassword(as(anna), anna, passwordOf('anna'), passwordOf('anna'));
  assert.equal((await withTicket(fixture, second)).authId, anna, 'the own change ends no session');

  access.deleteUser(ROOT, anna);
  await assert.rejects(withTicket(fixture, second), NOBODY);
  await addUser(fixture, 'anna');
  await assert.rejects(withTicket(fixture, second), NOBODY, 'the name belongs to another');
});

test('tickets outlive a restart', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const { ticket } = await signIn(fixture, anna, passwordOf('anna'));
  const again = accessServices(authTables(fixture.state), new FakeClock().read, new CheapPasswords());
  assert.equal((await withTicket({ ...fixture, ...again }, ticket)).authId, anna);
  assert.equal(await again.createRoot(), undefined, 'root is made once');
});

test('an API token needs no CSRF token, and ends with its expiry, its enabling, its secret and its user', async (t) => {
  const fixture = await openFixture(t);
  const { access, clock } = fixture;
  const anna = await addUser(fixture, 'anna');
  const { tokenid, value } = access.createToken(as(anna), anna, 'ci', { expire: clock.seconds + 100 });
  assert.match(value, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const enter = (secret = value) => withToken(fixture, tokenid, secret);
  assert.deepEqual(await enter(), { authId: tokenid, by: 'token' });
  for (const wrong of ['', value.slice(1), `${value} `, value.toUpperCase()])
    await assert.rejects(enter(wrong), NOBODY);
  await assert.rejects(withToken(fixture, 'anna@local!other', value), NOBODY);
  await assert.rejects(withToken(fixture, 'anna@local', value), NOBODY);

  clock.passSeconds(100);
  await assert.rejects(enter(), NOBODY);
  access.updateToken(as(anna), anna, 'ci', { expire: 0 });
  assert.equal((await enter()).authId, tokenid);
  access.updateToken(as(anna), anna, 'ci', { enable: false });
  await assert.rejects(enter(), NOBODY);
  const renewed = access.updateToken(as(anna), anna, 'ci', { enable: true, regenerate: true }) as string;
  await assert.rejects(enter(), NOBODY);
  assert.equal((await enter(renewed)).authId, tokenid);
  await access.updateUser(ROOT, anna, { enable: false });
  await assert.rejects(enter(renewed), NOBODY);
  await access.updateUser(ROOT, anna, { enable: true });
  access.deleteToken(as(anna), anna, 'ci');
  await assert.rejects(enter(renewed), NOBODY);
});

test('a request that shows nothing, or a bad ticket beside a good token, is nobody', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const { tokenid, value } = fixture.access.createToken(as(anna), anna, 'ci');
  const authorization = `PBSAPIToken=${tokenid}:${value}`;
  const nothing = {
    style: BACKUP_CREDENTIALS,
    authorization: undefined,
    cookie: undefined,
    csrfToken: undefined,
    method: 'GET',
    address: ADDRESS,
  };
  await assert.rejects(fixture.authenticator.authenticate(nothing, fixture.clock.nowMs), NOBODY);
  const both = { ...nothing, authorization, cookie: 'PBSAuthCookie=forged' };
  await assert.rejects(fixture.authenticator.authenticate(both, fixture.clock.nowMs), NOBODY);
});

test('refused tokens do not fill the audit log', async (t) => {
  const fixture = await openFixture(t);
  for (let round = 0; round < 200; round++) await assert.rejects(withToken(fixture, 'anna@local!ci', 'x'), NOBODY);
  for (let host = 0; host < 200; host++)
    await assert.rejects(withToken(fixture, 'anna@local!ci', 'x', `203.0.113.${host}`), NOBODY);
  const rows = () => fixture.stores.audit.list({ limit: 1000, action: 'token-refused' });
  assert.equal((await rows()).length, 30);
  fixture.clock.passSeconds(300);
  await assert.rejects(withToken(fixture, 'anna@local!ci', 'x'), NOBODY);
  assert.equal((await rows()).length, 31);
  assert.equal((await rows())[0].detail?.notWrittenBefore, 171);
});
