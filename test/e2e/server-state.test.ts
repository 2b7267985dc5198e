// A server that is lost with its machine, and made anew from one of its datastores: the program as an administrator uses it. And stores and
// states of a newer version, which this one leaves alone.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { type Ending, listed, newPlace, type Place } from '../cli/holdfast.ts';
import { ask, type Running, run } from '../cli/running-server.ts';

interface Lost {
  readonly place: Place;
  readonly at: readonly string[];
  readonly fingerprint: string;
  /** `USER@REALM!NAME:SECRET`. */
  readonly token: string;
}

async function stop(server: Running): Promise<void> {
  server.child.kill('SIGTERM');
  assert.equal(await server.ended, 0, server.lines.join('\n'));
}

/** A server with a user, a token, a right and the place's datastore, that was stopped in order. */
async function served(t: Ending, ...more: string[]): Promise<Lost> {
  const place = await newPlace(t);
  const at = ['--state-dir', place.path('server')];
  const server = await run(t, place, '--bulk-port', '0', ...more);
  await place.run('user', 'create', 'anna@local', '--no-password', ...at);
  const { tokenid, value } = await place.json<Record<string, string>>('token', 'create', 'anna@local', 'x', ...at);
  for (const who of ['anna@local', tokenid])
    await place.run('acl', 'set', '/datastore', 'DatastoreAudit', '--auth-id', who, ...at);
  await place.run('server', 'add-datastore', 'main', place.repository, '--reuse', ...at);
  await stop(server);
  return { place, at, fingerprint: server.fingerprint, token: `${tokenid}:${value}` };
}

test('a lost server comes back from the directory of a datastore: users, tokens, rights, tasks, datastores, certificate', async (t) => {
  const { place, at, fingerprint, token } = await served(t);
  const [snapshot] = await listed(place);
  assert.match(snapshot, /^host\/.+-holdfast-state\//);
  const before = await place.json<object[]>('acl', 'list', ...at);
  rmSync(place.path('server'), { recursive: true });
  const restored = await place.json<Record<string, unknown>>(
    'server',
    'restore-state',
    '--from',
    place.repository,
    ...at,
  );
  assert.equal(restored.snapshot, snapshot);
  assert.deepEqual([restored.users, restored.tokens, restored.fingerprint], [2, 1, fingerprint]);
  assert.deepEqual(restored.datastores, [{ name: 'main', path: place.repository }]);
  assert.equal(statSync(place.path('server')).mode & 0o777, 0o700);
  for (const name of readdirSync(place.path('server')))
    assert.equal(statSync(join(place.path('server'), name)).mode & 0o077, 0, name);
  assert.deepEqual(await place.json('acl', 'list', ...at), before);
  const server = await run(t, place, '--bulk-port', '0');
  assert.equal(server.fingerprint, fingerprint);
  assert.ok(!server.lines.some((line) => line.includes('password is in')), 'root@pam is the same');
  const status = await ask(server.port, '/api2/json/admin/datastore', token);
  assert.equal(status.status, 200, status.text);
  assert.match(status.text, /"main"/);
  assert.equal((await ask(server.port, '/api2/json/admin/datastore', `${token}0`)).status, 401);
  assert.match((await ask(server.port, '/metrics')).text, /^holdfast_datastore_open\{datastore="main"\} 1$/m);
  await stop(server);
});

test('nobody can sign a ticket with what a snapshot holds', async (t) => {
  const { place, at } = await served(t);
  const keys = (path: string) => {
    const state = new Database(path, { readonly: true });
    const names = state.prepare('SELECT name FROM secrets ORDER BY name').pluck().all();
    state.close();
    return names;
  };
  assert.deepEqual(keys(join(place.path('server'), 'state.db')), ['csrf-key', 'instance-id', 'ticket-signing-key']);
  const [snapshot] = await listed(place);
  await place.run('restore', snapshot, 'state.img', place.path('copy.db'));
  assert.deepEqual(keys(place.path('copy.db')), ['instance-id']);
  assert.deepEqual(await place.json('tfa', 'list', ...at), []);
});

test('a server that is started and stopped makes no second snapshot; one whose users changed does', async (t) => {
  const { place, at } = await served(t);
  assert.equal((await listed(place)).length, 1);
  await stop(await run(t, place, '--bulk-port', '0'));
  assert.equal((await listed(place)).length, 1);
  const server = await run(t, place, '--bulk-port', '0');
  assert.match((await ask(server.port, '/metrics')).text, /^holdfast_state_backup_timestamp_seconds 1\d{9}$/m);
  assert.match((await ask(server.port, '/metrics')).text, /^holdfast_state_backup_failed 0$/m);
  await place.run('user', 'update', 'anna@local', '--comment', 'other', ...at);
  await stop(server);
  assert.equal((await listed(place)).length, 2);
  // The first one can still be had.
  const oldest = (await listed(place)).sort()[0];
  const there = ['--state-dir', place.path('old')];
  await place.run('server', 'restore-state', '--from', place.repository, '--snapshot', oldest, ...there);
  const users = await place.json<{ userid: string; comment: string }[]>('user', 'list', ...there);
  assert.equal(users.find(({ userid }) => userid === 'anna@local')?.comment, '');
});

test('a state directory that holds anything stays as it is; what cannot be restored leaves nothing', async (t) => {
  const { place, at } = await served(t);
  const from = ['server', 'restore-state', '--from', place.repository];
  const before = readFileSync(join(place.path('server'), 'server.key'), 'utf8');
  assert.match(await place.fails('exists', ...from, ...at), /not empty/);
  assert.equal(readFileSync(join(place.path('server'), 'server.key'), 'utf8'), before);
  const there = ['--state-dir', place.path('new')];
  await place.fails('not-found', ...from, '--snapshot', 'host/other-holdfast-state/latest', ...there);
  writeFileSync(place.path('x.conf'), 'x');
  await place.run('backup', '--group', 'host/fake-holdfast-state', `x.conf:${place.path('x.conf')}`);
  assert.match(await place.fails('bad-argument', ...from, ...there), /host\/fake-holdfast-state\/latest/);
  assert.match(
    await place.fails('not-found', ...from, '--snapshot', 'host/fake-holdfast-state/latest', ...there),
    /none of a server's state/,
  );
  assert.ok(!existsSync(place.path('new')));
  mkdirSync(place.path('new'));
  await place.fails('not-found', ...from, '--snapshot', 'host/fake-holdfast-state/latest', ...there);
  assert.deepEqual(readdirSync(place.path('new')), []);
  const empty = await newPlace(t);
  assert.match(
    await empty.fails('not-found', 'server', 'restore-state', '--from', empty.repository, ...there),
    /no server has backed up/,
  );
});

test('the configuration file comes back too, and a configured datastore that is missing is a warning', async (t) => {
  const place = await newPlace(t, { create: false });
  const config = place.path('server.json');
  writeFileSync(config, '{"stateDatastore": "gone"}');
  const at = ['--state-dir', place.path('server')];
  const first = await run(t, place, '--bulk-port', '0', '--config', config);
  await place.run('server', 'add-datastore', 'main', place.repository, ...at);
  await stop(first);
  assert.ok(first.lines.some((line) => /"level":"warn".*own state could not be backed up/.test(line)));
  writeFileSync(config, '{"stateDatastore": "main"}');
  await stop(await run(t, place, '--bulk-port', '0', '--config', config));
  const there = ['--state-dir', place.path('new')];
  const { configFile, about } = await place.json<{ configFile: string; about: { configFile: string } }>(
    'server',
    'restore-state',
    '--from',
    place.repository,
    ...there,
  );
  assert.equal(about.configFile, config);
  assert.equal(readFileSync(configFile, 'utf8'), '{"stateDatastore": "main"}');
});

test('a store of a newer version is closed with a reason, and the server serves the others', async (t) => {
  const { place, at, token } = await served(t);
  const path = join(place.repository, 'datastore.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { features: { incompatible: string[] } };
  config.features.incompatible.push('time-travel');
  writeFileSync(path, JSON.stringify(config));
  await place.run('server', 'add-datastore', 'other', place.path('other'), ...at);
  await place.fails(
    'datastore-newer',
    'server',
    'restore-state',
    '--from',
    place.repository,
    '--state-dir',
    place.path('n'),
  );
  const server = await run(t, place, '--bulk-port', '0');
  assert.ok(server.lines.some((line) => /"level":"warn".*"datastore":"main".*time-travel.*newer Holdfast/.test(line)));
  const figures = (await ask(server.port, '/metrics')).text;
  assert.match(figures, /^holdfast_datastore_open\{datastore="main"\} 0$/m);
  assert.match(figures, /^holdfast_datastore_open\{datastore="other"\} 1$/m);
  const status = await ask(server.port, '/api2/json/admin/datastore/main/status', token);
  assert.notEqual(status.status, 200);
  assert.match(status.text, /time-travel/);
  const all = await ask(server.port, '/api2/json/status/datastore-usage', token);
  assert.match(all.text, /time-travel/);
  server.child.kill('SIGTERM');
  assert.equal(await server.ended, 0, 'that its state cannot be backed up there keeps it from nothing');
});

test('a state of a newer version starts no server and is not touched', async (t) => {
  const { place, at } = await served(t);
  const path = join(place.path('server'), 'state.db');
  const state = new Database(path);
  state.pragma('user_version = 99');
  state.pragma('journal_mode = DELETE');
  state.close();
  const before = readFileSync(path);
  const start = ['server', '--listen', '127.0.0.1:0', ...at];
  assert.match(await place.fails('datastore-newer', ...start), /version 99.*newer|newer.*version 99/);
  assert.match(await place.fails('datastore-newer', 'user', 'list', ...at), /version 99/);
  assert.deepEqual(readFileSync(path), before);
});
