// Copies of the state database: whole, one file, without what must stay out, and a digest that tells whether anything changed.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { copyState } from '../../src/state/copy-state.ts';
import { NotifyQueueTable } from '../../src/state/notify-queue-table.ts';
import { AlarmTable, NotifyTables } from '../../src/state/notify-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';
import { event } from '../notify/fixture.ts';

const HOOK = {
  type: 'webhook',
  name: 'hook',
  enabled: true,
  url: 'https://example.com/{{secrets.token}}',
  method: 'post',
  headers: [],
  body: '',
} as const;

function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const state = StateDatabase.open(join(directory, 'state', 'state.db'));
  t.after(() => state.close());
  const path = join(directory, 'copy');
  const rules = { withoutSecrets: ['signing'], quietTasks: 'own', signal: new AbortController().signal };
  const secret = (name: string, value: string) =>
    state.db.prepare('INSERT INTO secrets (name, value) VALUES (?, ?)').run(name, Buffer.from(value));
  const task = (type: string, upid: string, ended: boolean) =>
    state.db
      .prepare(
        `INSERT INTO tasks (upid, node, pid, pstart, starttime, type, auth_id, endtime, status, outcome)
         VALUES (?, 'vm', 1, 2, 3, ?, 'root@pam', ?, ?, ?)`,
      )
      .run(upid, type, ended ? 4 : null, ended ? 'OK' : null, ended ? 'ok' : null);
  return { state, path, rules, secret, task, copy: () => copyState(state, path, rules) };
}

test('a copy is one file with everything but the secrets that stay out, also in its free pages', async (t) => {
  const { state, path, secret, task, copy } = fixture(t);
  secret('signing', 'THE-SIGNING-KEY-'.repeat(8));
  secret('other', 'THE-OTHER-SECRET');
  task('gc', 'a', true);
  task('own', 'b', true);
  task('own', 'running', false);
  writeFileSync(path, 'what an earlier copy left');
  await copy();
  assert.deepEqual(readdirSync(join(path, '..')).sort(), ['copy', 'state']);
  const bytes = readFileSync(path).toString('latin1');
  assert.ok(!bytes.includes('THE-SIGNING-KEY'));
  assert.ok(bytes.includes('THE-OTHER-SECRET'));
  const made = new Database(path, { readonly: true });
  assert.deepEqual(made.prepare('SELECT upid FROM tasks ORDER BY upid').pluck().all(), ['a', 'b']);
  assert.equal(made.pragma('user_version', { simple: true }), state.db.pragma('user_version', { simple: true }));
  made.close();
  assert.equal(state.db.prepare('SELECT count(*) FROM secrets').pluck().get(), 2, 'the state itself stays as it is');
});

test('the digest is that of the content: quiet tasks and detours change nothing, everything else does', async (t) => {
  const { state, secret, task, copy } = fixture(t);
  secret('other', 'x');
  const first = await copy();
  assert.match(first, /^[0-9a-f]{64}$/);
  task('own', 'b', true);
  task('own', 'c', false);
  secret('signing', 'y');
  state.db.exec("INSERT INTO datastores (name, path, options) VALUES ('one', '/x', '{}'); DELETE FROM datastores");
  assert.equal(await copy(), first);
  const seen = new Set([first]);
  for (const change of [
    () => task('gc', 'd', true),
    () => state.db.exec("UPDATE tasks SET status = 'no', outcome = 'error' WHERE upid = 'd'"),
    () => secret('third', 'z'),
    () => state.db.exec("INSERT INTO acl (path, auth_id, role, propagate) VALUES ('/', 'a@local', 'Admin', 1)"),
    () => state.db.exec('UPDATE acl SET propagate = 0'),
    () => state.db.exec("INSERT INTO datastores (name, path, options) VALUES ('one', '/x', '{}')"),
  ]) {
    change();
    seen.add(await copy());
  }
  assert.equal(seen.size, 7);
});

test('notifications that wait are not in a copy, and change nothing of it; targets with their secrets and alarms are', async (t) => {
  const { state, path, copy } = fixture(t);
  const targets = new NotifyTables(state.db);
  targets.putTarget(HOOK, { token: 'THE-TOKEN' });
  new AlarmTable(state.db).put({ key: 'absence:main:vm/100', raisedMs: 1, subject: 'x', fields: {} });
  const first = await copy();
  const queue = new NotifyQueueTable(state.db);
  queue.add(event({ subject: 'WHAT-WAITS-STILL' }), 'id', ['hook'], 1);
  assert.equal(await copy(), first);
  assert.ok(!readFileSync(path).toString('latin1').includes('WHAT-WAITS-STILL'));
  const made = new Database(path, { readonly: true });
  assert.equal(made.prepare('SELECT count(*) FROM notify_events').pluck().get(), 0);
  assert.deepEqual(new NotifyQueueTable(made).list(1), []);
  assert.deepEqual(new NotifyTables(made).targets(), [HOOK]);
  assert.deepEqual(new NotifyTables(made).secretsOf('hook'), { token: 'THE-TOKEN' });
  assert.equal(new AlarmTable(made).raised().length, 1);
  made.close();
  assert.equal(queue.list(1).length, 1, 'this server sends it');
});

test('a copy is consistent while another connection writes, and can be stopped', async (t) => {
  const { state, path, rules } = fixture(t);
  const insert = state.db.prepare(
    "INSERT INTO audit (time_ms, kind, action, by, address, object, detail) VALUES (?, 'change', 'x', '', '', '', ?)",
  );
  state.atomically(() => {
    for (let i = 0; i < 30_000; i++) insert.run(i, 'x'.repeat(500));
  });
  const other = new Database(state.path);
  t.after(() => other.close());
  // Both rows or none: they change in one transaction.
  const both = other.transaction((value: number) =>
    other.prepare('UPDATE audit SET time_ms = ? WHERE id IN (1, 30000)').run(value),
  );
  both(7);
  let writes = 0;
  const writer = setInterval(() => both(1_000_000 + writes++), 1);
  await copyState(state, path, rules);
  clearInterval(writer);
  assert.ok(writes > 0);
  const made = new Database(path, { readonly: true });
  const [a, b] = made.prepare('SELECT time_ms FROM audit WHERE id IN (1, 30000)').pluck().all();
  assert.equal(a, b);
  assert.equal(made.pragma('integrity_check', { simple: true }), 'ok');
  made.close();
  const reason = new Error('enough');
  await assert.rejects(
    copyState(state, path, { ...rules, signal: AbortSignal.abort(reason) }),
    (error) => error === reason,
  );
});
