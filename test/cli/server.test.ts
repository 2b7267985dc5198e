// holdfast server as an administrator runs it: first start, restart, a second one, signals, and commands beside it.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { newPlace, PROGRAM } from './holdfast.ts';
import { ask, run } from './running-server.ts';

test('a first start makes what it needs; a restart finds it; the end is clean', async (t) => {
  const place = await newPlace(t, { create: false });
  const first = await run(t, place);
  const ready = await ask(first.port, '/health/ready');
  assert.equal(ready.status, 200);
  assert.equal(ready.fingerprint, first.fingerprint);
  assert.match((await ask(first.port, '/metrics')).text, /^holdfast_tasks_running 0$/m);
  await first.said(/password is in/);
  const password = join(place.path('server'), 'first-password');
  assert.match(readFileSync(password, 'utf8'), /^\S{16,}\n$/);
  assert.equal(statSync(password).mode & 0o777, 0o600);
  assert.ok(first.lines.every((line) => !line.includes(readFileSync(password, 'utf8').trim())));
  const second = await place.try(['server', '--state-dir', place.path('server'), '--listen', '127.0.0.1:0']);
  assert.equal(second.code, 22, second.stderr);
  assert.match(second.stderr, new RegExp(`process ${first.child.pid}`));
  first.child.kill('SIGTERM');
  assert.equal(await first.ended, 0);
  rmSync(password);
  const again = await run(t, place);
  assert.equal(again.fingerprint, first.fingerprint);
  again.child.kill('SIGINT');
  assert.equal(await again.ended, 0);
  assert.throws(() => statSync(password), 'the password is told once');
});

test('a server whose own agent cannot be started ends in order, and says why', async (t) => {
  const place = await newPlace(t, { create: false });
  mkdirSync(place.path('server'), { mode: 0o700 });
  writeFileSync(join(place.path('server'), 'agent'), 'no directory');
  const server = await run(t, place, '--local-agent');
  const code = await Promise.race([server.ended, sleep(20_000, 'it runs on', { ref: false })]);
  assert.ok(typeof code === 'number' && code > 0, String(code));
  assert.ok(server.lines.some((line) => line.includes('the server has stopped')));
  assert.match(server.lines.at(-1) ?? '', /^holdfast: /);
});

test('an agent of this machine is started when the configuration file says so, unless the command line says no', async (t) => {
  const place = await newPlace(t, { create: false });
  writeFileSync(place.path('server.json'), '{"localAgent": true}');
  const at = ['--state-dir', place.path('server')];
  const names = async () => (await place.json<{ name: string }[]>('node', 'list', ...at)).map(({ name }) => name);
  const without = await run(t, place, '--config', place.path('server.json'), '--no-local-agent', '--bulk-port', '0');
  assert.deepEqual(await names(), []);
  without.child.kill('SIGTERM');
  await without.ended;
  await run(t, place, '--config', place.path('server.json'), '--bulk-port', '0');
  for (const end = Date.now() + 15_000; (await names())[0] !== 'localhost'; await sleep(100))
    assert.ok(Date.now() < end, 'the agent enrols itself');
});

test('commands of this machine work beside a server that holds the datastore', async (t) => {
  const place = await newPlace(t);
  const before = await run(t, place);
  before.child.kill('SIGTERM');
  await before.ended;
  const state = new Database(join(place.path('server'), 'state.db'));
  state.prepare("INSERT INTO datastores (name, path, options) VALUES ('store', ?, '{}')").run(place.repository);
  state.close();
  const server = await run(t, place);
  assert.match((await ask(server.port, '/metrics')).text, /^holdfast_datastore_open\{datastore="store"\} 1$/m);
  const gc = await place.json<{ dryRun: boolean }>('datastore', 'gc', '--dry-run');
  assert.equal(gc.dryRun, true);
  assert.match(
    await place.fails('datastore-locked', 'backup', '--group', 'host/x', `x.img:${PROGRAM}`),
    new RegExp(`${server.child.pid}`),
  );
  server.child.kill('SIGTERM');
  assert.equal(await server.ended, 0);
  await place.run('datastore', 'gc', '--dry-run');
});

test('SIGHUP reads the certificate anew, and keeps the old one when the new one is bad', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place);
  const certificate = join(place.path('server'), 'server.crt');
  const good = readFileSync(certificate, 'utf8');
  writeFileSync(certificate, 'no certificate');
  server.child.kill('SIGHUP');
  await server.said(/could not be read anew/);
  assert.equal((await ask(server.port, '/health/live')).fingerprint, server.fingerprint);
  rmSync(certificate);
  server.child.kill('SIGHUP');
  await server.said(/"the certificate was read anew"/);
  const renewed = (await ask(server.port, '/health/live')).fingerprint;
  assert.notEqual(renewed, server.fingerprint);
  assert.notEqual(readFileSync(certificate, 'utf8'), good);
  server.child.kill('SIGTERM');
  assert.equal(await server.ended, 0);
});

test('a server that was killed starts again; tasks that it had are ended', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place);
  const state = new Database(join(place.path('server'), 'state.db'));
  state
    .prepare(
      `INSERT INTO tasks (upid, node, pid, pstart, starttime, type, auth_id)
       VALUES ('UPID:vm:00000001:00000002:00000003:6B00F22F:gc::root@pam:', 'vm', 1, 2, 1795224111, 'gc', 'root@pam')`,
    )
    .run();
  server.child.kill('SIGKILL');
  await server.ended;
  const next = await run(t, place);
  await next.said(/cut off/);
  assert.equal(state.prepare('SELECT status FROM tasks').pluck().get(), 'interrupted: the server stopped');
  state.close();
  next.child.kill('SIGTERM');
  assert.equal(await next.ended, 0);
});

test('what cannot be meant ends with a message and the exit code of usage', async (t) => {
  const place = await newPlace(t, { create: false });
  const fails = async (...args: string[]) =>
    await place.fails('bad-argument', 'server', '--state-dir', place.path('s'), ...args);
  assert.match(await fails('--listen', 'here'), /--listen/);
  assert.match(await fails('--config', place.path('gone.json')), /gone\.json/);
  assert.match(await fails('--listen', '192.0.2.1:0'), /cannot listen/);
  assert.match(await fails('--certificate', place.path('a'), '--key', place.path('b')), /cannot be read/);
});
