// Backups of the server's state into real datastores: when one is made, what is told of it, which ones stay.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { StateBackup, type StateBackupParts } from '../../../src/daemon/state-backup/state-backup.ts';
import { KEPT_STATE_SNAPSHOTS } from '../../../src/daemon/state-backup/store-state.ts';
import { Datastores } from '../../../src/daemon/stores.ts';
import { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { type GroupName, parseNamespace } from '../../../src/schema/names.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { listOver, ROOT as ROOT_ACTOR } from '../list-fixture.ts';

const WORKER = new URL('../../../dist/worker.js', import.meta.url);
const GROUP = 'host/node1-holdfast-state' as GroupName;
const ROOT = parseNamespace('');
const NEVER = new AbortController().signal;

function fixture(t: TestContext, more: Partial<StateBackupParts> = {}) {
  const directory = temporaryDirectory(t);
  const stateDirectory = join(directory, 'state');
  const state = StateDatabase.open(join(stateDirectory, 'state.db'));
  mkdirSync(join(stateDirectory, 'state-backup'));
  const datastores = new Datastores({
    list: listOver(state),
    startPool: (workers) => WorkerPool.start(WORKER, workers),
    serve: async () => async () => {},
    operations: new Map(),
    endWork: async () => true,
    workers: 1,
    warn: () => {},
  });
  const tasks = new Tasks({
    store: new TaskTables(state.db),
    directory: join(stateDirectory, 'tasks'),
    node: 'node1',
    clock: Date.now,
  });
  const warnings: unknown[] = [];
  const make = (): StateBackup =>
    new StateBackup({
      state,
      directory: join(stateDirectory, 'state-backup'),
      datastore: undefined,
      datastores,
      tasks,
      node: 'node1',
      certificate: () => ({ cert: 'CERT', key: 'KEY' }),
      describe: () => ({ stateDirectory, configFile: join(directory, 'server.json') }),
      log: { warn: (...parts: unknown[]) => warnings.push(parts), info: () => {} },
      clock: Date.now,
      ...more,
    });
  t.after(async () => {
    await datastores.close();
    state.close();
  });
  const change = (name: string) =>
    state.db.prepare('INSERT INTO secrets (name, value) VALUES (?, ?)').run(name, Buffer.from('x'));
  const times = async (store: string) => await (await datastores.get(store)).store.groups.times(ROOT, GROUP);
  return { directory, stateDirectory, state, datastores, tasks, warnings, make, change, times };
}

test('without a datastore nothing is made, and nothing is wrong', async (t) => {
  const { make, tasks, warnings } = fixture(t);
  const backup = make();
  await backup.run(NEVER);
  assert.deepEqual(backup.figures, { lastSeconds: 0, hasFailed: false });
  assert.equal(tasks.list({ start: 0, limit: 10 }).total, 0);
  assert.deepEqual(warnings, []);
});

test('what changed is backed up as a task; what did not is not, also after a restart; what is gone is made again', async (t) => {
  const { make, datastores, directory, stateDirectory, tasks, change, times, warnings } = fixture(t);
  writeFileSync(join(directory, 'server.json'), '{}');
  for (const name of ['two', 'one1'])
    await datastores.create(ROOT_ACTOR, { name, path: join(directory, name), reuse: false });
  const backup = make();
  await backup.run(NEVER);
  const [first] = await times('one1');
  assert.deepEqual(backup.figures, { lastSeconds: first, hasFailed: false });
  const { rows } = tasks.list({ start: 0, limit: 10 });
  assert.deepEqual(
    rows.map(({ type, id, user, status }) => [type, id, user, status]),
    [['state-backup', 'one1', 'root@pam', 'OK']],
  );
  const { store } = await datastores.get('one1');
  assert.equal((await store.groups.state(ROOT, GROUP))?.owner, 'root@pam');
  const manifest = await store.groups.manifest({ ns: ROOT, group: GROUP, time: first });
  const names = manifest?.client.archives.map(({ name }) => name).sort();
  assert.deepEqual(names, ['about.json', 'certificate.blob', 'config.json', 'key.blob', 'state.img']);
  assert.deepEqual(readdirSync(join(stateDirectory, 'state-backup')), ['last.json'], 'no copy stays');
  await backup.run(NEVER);
  const next = make();
  await next.start();
  assert.equal(next.figures.lastSeconds, first);
  await next.run(NEVER);
  await next.close();
  assert.deepEqual(await times('one1'), [first]);
  change('a');
  await backup.run(NEVER);
  assert.equal((await times('one1')).length, 2);
  writeFileSync(join(directory, 'server.json'), '{"logLevel":"warn"}');
  await backup.run(NEVER);
  const three = await times('one1');
  assert.equal(three.length, 3, 'the configuration counts too');
  await store.forget({ ns: ROOT, group: GROUP, time: three[2] });
  await backup.run(NEVER);
  assert.equal((await times('one1')).length, 3);
  assert.deepEqual(await times('two'), []);
  assert.deepEqual(warnings, []);
});

test('what did not change is backed up again after a day: nobody is told that backups are missing', async (t) => {
  let laterMs = 0;
  const { make, datastores, directory, times } = fixture(t, { clock: () => Date.now() + laterMs });
  await datastores.create(ROOT_ACTOR, { name: 'one', path: join(directory, 'one'), reuse: false });
  const backup = make();
  await backup.run(NEVER);
  laterMs = 23 * 3600_000;
  await backup.run(NEVER);
  assert.equal((await times('one')).length, 1);
  laterMs = 24 * 3600_000 + 1000;
  await backup.run(NEVER);
  assert.equal((await times('one')).length, 2);
});

test('the configured datastore takes it, or none', async (t) => {
  const { make, datastores, directory, times } = fixture(t, { datastore: 'two' });
  for (const name of ['one1', 'two'])
    await datastores.create(ROOT_ACTOR, { name, path: join(directory, name), reuse: false });
  await make().run(NEVER);
  assert.deepEqual([(await times('one1')).length, (await times('two')).length], [0, 1]);
  const none = fixture(t, { datastore: null });
  await none.datastores.create(ROOT_ACTOR, { name: 'one1', path: join(none.directory, 'one1'), reuse: false });
  await none.make().run(NEVER);
  assert.deepEqual(await none.times('one1'), []);
});

test('a failure is a warning and a figure until the next good one, and the task says why', async (t) => {
  const { make, datastores, directory, tasks, warnings } = fixture(t, { datastore: 'late' });
  const backup = make();
  await backup.run(NEVER);
  assert.equal(backup.figures.hasFailed, true);
  assert.equal(warnings.length, 1);
  assert.match(JSON.stringify(tasks.list({ start: 0, limit: 1 }).rows[0].status), /there is no datastore/);
  await datastores.create(ROOT_ACTOR, { name: 'late', path: join(directory, 'late'), reuse: false });
  await datastores.update(ROOT_ACTOR, 'late', { maintenance: { mode: 'read-only', message: 'disks' } });
  await backup.run(NEVER);
  assert.match(JSON.stringify(tasks.list({ start: 0, limit: 1 }).rows[0].status), /disks/);
  await datastores.update(ROOT_ACTOR, 'late', { maintenance: { mode: 'none', message: '' } });
  await backup.run(NEVER);
  assert.equal(backup.figures.hasFailed, false);
  assert.ok(backup.figures.lastSeconds > 0);
  assert.equal(warnings.length, 2);
});

test('a group of that name that belongs to somebody else is left alone', async (t) => {
  const { make, datastores, directory, times } = fixture(t);
  await datastores.create(ROOT_ACTOR, { name: 'one1', path: join(directory, 'one1'), reuse: false });
  const { store } = await datastores.get('one1');
  const session = await store.openSession({ ns: ROOT, group: GROUP, owner: 'eve@local', compressionLevel: 1 });
  const statistics = {
    bytesLogical: 0,
    bytesRead: 0,
    bytesSampled: 0,
    bytesNew: 0,
    objectsNew: 0,
    objectsReused: 0,
    durationMs: 0,
  };
  await session.commit(
    { backup: GROUP, clientTime: '', archives: [], base: null, key: null, statistics },
    undefined,
    NEVER,
  );
  const backup = make();
  await backup.run(NEVER);
  assert.equal(backup.figures.hasFailed, true);
  assert.equal((await times('one1')).length, 1);
});

test('the newest snapshots stay, as many as are kept', async (t) => {
  const { make, datastores, directory, change, times } = fixture(t);
  await datastores.create(ROOT_ACTOR, { name: 'one1', path: join(directory, 'one1'), reuse: false });
  const backup = make();
  const made: number[] = [];
  for (let i = 0; i < KEPT_STATE_SNAPSHOTS + 2; i++) {
    change(`s${i}`);
    await backup.run(NEVER);
    made.push(backup.figures.lastSeconds);
  }
  assert.deepEqual(await times('one1'), made.slice(2));
});

test('one that is stopped leaves no copy and no snapshot; a damaged note of the last one is no obstacle', async (t) => {
  const { make, datastores, directory, stateDirectory, times } = fixture(t);
  await datastores.create(ROOT_ACTOR, { name: 'one1', path: join(directory, 'one1'), reuse: false });
  const backup = make();
  await backup.run(AbortSignal.abort());
  await backup.close();
  assert.deepEqual(await times('one1'), []);
  const last = join(stateDirectory, 'state-backup', 'last.json');
  assert.ok(!existsSync(last));
  writeFileSync(last, 'no JSON');
  const next = make();
  await next.start();
  await Promise.all([next.run(NEVER), next.run(NEVER)]);
  assert.equal((await times('one1')).length, 1);
  assert.match(readFileSync(last, 'utf8'), /"datastore":"one1"/);
  rmSync(last);
});
