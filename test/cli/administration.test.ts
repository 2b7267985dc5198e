// Users, tokens and rights from the command line, beside a server that runs: on its state, and through its API.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { type Ending, messageOf, newPlace, type Place } from './holdfast.ts';
import { ask, type Running, run } from './running-server.ts';

const PASSWORD = 'correct horse battery';
const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
  for (const end = Date.now() + 15_000; !(await isSo()); await setTimeout(100))
    assert.ok(Date.now() < end, `in vain: ${what}`);
};

async function fixture(t: Ending): Promise<{ place: Place; server: Running; at: string[] }> {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0');
  return { place, server, at: ['--state-dir', place.path('server')] };
}

test('what a command changes counts for the running server at its next question', async (t) => {
  const { place, server, at } = await fixture(t);
  writeFileSync(place.path('password'), `${PASSWORD}\n`);
  await place.run('user', 'create', 'anna@local', '--password-file', place.path('password'), '--comment', 'A', ...at);
  const { tokenid, value } = await place.json<Record<string, string>>('token', 'create', 'anna@local', 'backup', ...at);
  assert.equal(tokenid, 'anna@local!backup');
  const status = async (secret = value) =>
    (await ask(server.port, '/api2/json/nodes/localhost/tasks', `${tokenid}:${secret}`)).status;
  const permissions = async () => {
    const { text } = await ask(server.port, '/api2/json/access/permissions?path=/datastore/x', `${tokenid}:${value}`);
    return Object.keys((JSON.parse(text) as { data: Record<string, object> }).data['/datastore/x'] ?? {});
  };
  assert.equal(await status(), 200);
  assert.deepEqual(await permissions(), []);
  for (const who of ['anna@local', tokenid])
    await place.run('acl', 'set', '/datastore/x', 'DatastoreAudit', '--auth-id', who, ...at);
  assert.deepEqual(await permissions(), ['Datastore.Audit']);
  await place.run('acl', 'delete', '/datastore/x', 'DatastoreAudit', '--auth-id', 'anna@local', ...at);
  assert.deepEqual(await permissions(), []);
  const renewed = await place.json<{ value: string }>('token', 'regenerate', 'anna@local', 'backup', ...at);
  assert.equal(await status(), 401);
  assert.equal(await status(renewed.value), 200);
  await place.run('user', 'update', 'anna@local', '--enable', 'no', ...at);
  assert.equal(await status(renewed.value), 401);
  await place.run('user', 'update', 'anna@local', '--enable', 'yes', '--expire', 'never', ...at);
  assert.equal(await status(renewed.value), 200);
  await place.run('user', 'delete', 'anna@local', ...at);
  assert.equal(await status(renewed.value), 401);
  assert.deepEqual(await place.json('acl', 'list', ...at), []);
  const state = new Database(join(place.path('server'), 'state.db'));
  const audit = state.prepare("SELECT action, address FROM audit WHERE by = 'root@pam' ORDER BY id").all() as {
    action: string;
    address: string;
  }[];
  state.close();
  const actions = audit.map(({ action }) => action);
  for (const action of ['user-create', 'token-create', 'acl-set', 'acl-delete', 'token-update', 'user-delete'])
    assert.ok(actions.includes(action), action);
  assert.ok(audit.every(({ address }) => address === ''));
  assert.ok(!JSON.stringify(audit).includes(value));
});

test('tables and JSON show the same; no secret and no password is in them', async (t) => {
  const { place, at } = await fixture(t);
  await place.run('user', 'create', 'bot@local', '--no-password', '--email', 'b@example.com', ...at);
  const secret = (await place.run('token', 'create', 'bot@local', 'one', '--expire', '2030-01-01T00:00:00Z', ...at))
    .stdout;
  const [, value] = /^secret\s+(\S{36})$/m.exec(secret.toString()) ?? [];
  assert.ok(value);
  const users = (await place.run('user', 'list', ...at)).stdout.toString();
  assert.match(users, /^bot@local +yes +never +b@example\.com$/m);
  const tokens = (await place.run('token', 'list', 'bot@local', ...at)).stdout.toString();
  assert.match(tokens, /^bot@local!one +yes +2030-01-01T00:00:00Z$/m);
  const all = [users, tokens];
  for (const list of [
    ['user', 'list'],
    ['token', 'list', 'bot@local'],
    ['tfa', 'list'],
    ['acl', 'list'],
  ])
    all.push(JSON.stringify(await place.json(...list, ...at)));
  for (const text of all) assert.ok(!text.includes(value) && !/argon2|hash/i.test(text));
  const roles = await place.json<{ role: string; privileges: string[] }[]>('role', 'list');
  assert.deepEqual(roles.find(({ role }) => role === 'DatastoreBackup')?.privileges, ['Datastore.Backup']);
});

test('passwords come from a file or from standard input, and sign in', async (t) => {
  const { place, server, at } = await fixture(t);
  const common = ['--repository', `https://anna@local@127.0.0.1:${server.port}/x`, '--fingerprint', server.fingerprint];
  const create = ['user', 'create', 'anna@local', '--password-file', '-', ...at];
  assert.equal((await place.try(create, { stdin: Buffer.from(`${PASSWORD}\n`) })).code, 0);
  const listed = (password: string) =>
    place.try(['user', 'list', '--output-format', 'json', ...common], { env: { HOLDFAST_PASSWORD: password } });
  assert.match((await listed(PASSWORD)).stdout.toString(), /anna@local/);
  writeFileSync(place.path('new'), 'another good one');
  await place.run('user', 'passwd', 'anna@local', '--password-file', place.path('new'), ...at);
  assert.equal((await listed(PASSWORD)).code, 40);
  assert.equal((await listed('another good one')).code, 0);
  const passwd = ['user', 'passwd', 'anna@local', '--output-format', 'json', ...at];
  const short = await place.try([...passwd, '--password-file', '-'], { stdin: Buffer.from('short') });
  assert.match(messageOf(short, 'bad-argument'), /8 characters/);
  const two = await place.try([...passwd, '--password-file', '-'], { stdin: Buffer.from('one line\nand another') });
  assert.match(messageOf(two, 'bad-argument'), /one line/);
  const gone = await place.try([...passwd, '--password-file', place.path('gone')]);
  assert.match(messageOf(gone, 'not-found'), /gone/);
  const alone = await place.try(passwd, { through: ['setsid', '-w'] });
  assert.match(messageOf(alone, 'bad-argument'), /--password-file/);
});

test('the same commands work through the API, with the rights of who asks', async (t) => {
  const { place, server, at } = await fixture(t);
  await place.run('user', 'create', 'chief@local', '--no-password', ...at);
  const { value } = await place.json<{ value: string }>('token', 'create', 'chief@local', 'cli', ...at);
  const remote = ['--repository', `https://chief@local!cli@127.0.0.1:${server.port}/x`];
  const env = { HOLDFAST_TOKEN_SECRET: value, HOLDFAST_FINGERPRINT: server.fingerprint };
  const far = async (...args: string[]) =>
    await place.try([...args, ...remote, '--output-format', 'json'], { env, stdin: Buffer.from(`${PASSWORD}\n`) });
  const json = async <Value>(...args: string[]): Promise<Value> => {
    const ran = await far(...args);
    assert.equal(ran.code, 0, ran.stderr);
    return JSON.parse(ran.stdout.toString()) as Value;
  };
  messageOf(await far('user', 'create', 'bob@local', '--no-password'), 'permission-denied');
  for (const who of ['chief@local', 'chief@local!cli'])
    await place.run('acl', 'set', '/', 'Admin', '--auth-id', who, ...at);
  await json('user', 'create', 'bob@local', '--password-file', '-', '--firstname', 'Bob');
  await json('user', 'update', 'bob@local', '--comment', 'from afar', '--enable', 'no');
  const users = await json<Record<string, unknown>[]>('user', 'list');
  assert.deepEqual(users, await place.json('user', 'list', ...at));
  const bob = users.find(({ userid }) => userid === 'bob@local');
  assert.deepEqual([bob?.comment, bob?.enable, bob?.firstname], ['from afar', false, 'Bob']);
  const made = await json<{ value: string }>('token', 'create', 'bob@local', 'x', '--comment', 'c');
  const again = await json<{ value: string }>('token', 'regenerate', 'bob@local', 'x');
  assert.notEqual(made.value, again.value);
  assert.deepEqual(await json('token', 'list', 'bob@local'), await place.json('token', 'list', 'bob@local', ...at));
  await json('acl', 'set', '/datastore', 'DatastoreReader', '--auth-id', 'bob@local', '--no-propagate');
  const acl = await json<Record<string, unknown>[]>('acl', 'list', '/datastore');
  assert.deepEqual(acl, [{ path: '/datastore', propagate: false, role: 'DatastoreReader', authId: 'bob@local' }]);
  await json('acl', 'delete', '/datastore', 'DatastoreReader', '--auth-id', 'bob@local');
  assert.deepEqual(await json('acl', 'list', '/datastore'), []);
  assert.deepEqual(await json('tfa', 'list'), []);
  await json('token', 'delete', 'bob@local', 'x');
  await json('user', 'delete', 'bob@local');
  messageOf(await far('user', 'delete', 'bob@local'), 'not-found');
});

test('second factors are listed, unlocked and removed', async (t) => {
  const { place, at } = await fixture(t);
  await place.run('user', 'create', 'anna@local', '--no-password', ...at);
  const state = new Database(join(place.path('server'), 'state.db'));
  state
    .prepare(
      `INSERT INTO second_factors (userid, id, type, description, created, enable) VALUES ('anna@local', 'recovery', 'recovery', '', 7, 1)`,
    )
    .run();
  state.prepare("UPDATE users SET totp_locked = 1 WHERE userid = 'anna@local'").run();
  const locked = () => state.prepare("SELECT totp_locked FROM users WHERE userid = 'anna@local'").pluck().get();
  t.after(() => state.close());
  assert.match(
    (await place.run('tfa', 'list', ...at)).stdout.toString(),
    /^anna@local +recovery +recovery +yes +1970/m,
  );
  assert.match((await place.run('user', 'list', ...at)).stdout.toString(), /^anna@local .* locked/m);
  assert.deepEqual(await place.json('user', 'unlock-tfa', 'anna@local', ...at), {
    userid: 'anna@local',
    wasLocked: true,
  });
  assert.equal(locked(), 0);
  await place.run('tfa', 'delete', 'anna@local', 'recovery', ...at);
  assert.deepEqual(await place.json('tfa', 'list', ...at), []);
  await place.fails('not-found', 'tfa', 'delete', 'anna@local', 'recovery', ...at);
});

test('a running server takes a datastore in, and lets one go', async (t) => {
  const { place, server, at } = await fixture(t);
  const isOpen = async (name: string): Promise<boolean> =>
    (await ask(server.port, '/metrics')).text.includes(`holdfast_datastore_open{datastore="${name}"} 1`);
  await place.run('server', 'add-datastore', 'one', place.repository, '--comment', 'c', ...at);
  await until('the datastore is open', () => isOpen('one'));
  const [row] = await place.json<Record<string, unknown>[]>('server', 'list-datastores', ...at);
  assert.deepEqual(row, { name: 'one', path: place.repository, comment: 'c', options: {}, isThere: true });
  await place.fails('datastore-locked', 'datastore', 'unlock');
  await place.fails('exists', 'server', 'add-datastore', 'two', place.path('store/sub'), ...at);
  await place.fails('exists', 'server', 'add-datastore', 'two', place.path('server/sub'), ...at);
  assert.ok(!existsSync(place.path('server/sub')));
  await place.run('server', 'remove-datastore', 'one', ...at);
  await until('nobody holds it', async () => (await place.try(['datastore', 'unlock'])).code === 0);
  assert.doesNotMatch((await ask(server.port, '/metrics')).text, /datastore="one"/);
  await place.fails('not-found', 'server', 'remove-datastore', 'one', ...at);
  await place.fails('exists', 'server', 'add-datastore', 'one', place.repository, ...at);
  await place.run('server', 'add-datastore', 'again', place.repository, '--reuse', ...at);
  await until('it is open once more', () => isOpen('again'));
});

test('what cannot be meant is said, and nothing is made', async (t) => {
  const place = await newPlace(t, { create: false });
  const at = ['--state-dir', place.path('nothing')];
  assert.match(await place.fails('not-found', 'user', 'list', ...at), /--state-dir/);
  assert.ok(!existsSync(place.path('nothing')));
  assert.match(await place.fails('bad-argument', 'user', 'list', '--repository', place.path('x')), /--state-dir/);
  const { place: other, at: there } = await fixture(t);
  await other.fails('bad-name', 'user', 'create', 'anna', '--no-password', ...there);
  await other.fails('bad-argument', 'user', 'create', 'anna@pam', '--no-password', ...there);
  await other.fails('exists', 'user', 'create', 'root@pam', '--no-password', ...there);
  await other.fails('protected', 'user', 'delete', 'root@pam', ...there);
  await other.fails('bad-argument', 'user', 'update', 'root@pam', ...there);
  await other.fails('bad-argument', 'user', 'update', 'root@pam', '--enable', 'perhaps', ...there);
  await other.fails('not-found', 'token', 'create', 'anna@local', 'x', ...there);
  await other.fails('bad-argument', 'acl', 'set', '/', 'King', '--auth-id', 'root@pam', ...there);
  await other.fails('bad-name', 'token', 'create', 'root@pam', 'a/b', ...there);
  assert.ok(readFileSync(join(other.path('server'), 'state.db')).length > 0);
});
