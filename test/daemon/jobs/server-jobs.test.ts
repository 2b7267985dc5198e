// Jobs of a server on real datastores when things go wrong: one in maintenance, one that is gone, and backups of the same group beside a prune.
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OPERATIONS } from '../../../src/cli/operations.ts';
import { serverJobs } from '../../../src/daemon/jobs/server-jobs.ts';
import { Datastores } from '../../../src/daemon/stores.ts';
import { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { clientPart, commitImage, NO_SIGNAL, OpenStore, putWholeImage } from '../../support/store.ts';
import { listOver, ROOT } from '../list-fixture.ts';

const WORKER = new URL('../../../dist/worker.js', import.meta.url);
const MAIN = { store: 'main' };

async function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const state = StateDatabase.open(join(directory, 'state', 'state.db'));
  const pools: WorkerPool[] = [];
  const datastores = new Datastores({
    list: listOver(state),
    startPool: (workers) => {
      pools.push(WorkerPool.start(WORKER, workers));
      return pools.at(-1) as WorkerPool;
    },
    serve: async () => async () => {},
    operations: OPERATIONS,
    endWork: async () => true,
    workers: 1,
    warn: () => {},
  });
  const store = new TaskTables(state.db);
  const tasks = new Tasks({ store, directory: join(directory, 'tasks'), node: 'node1', clock: Date.now });
  const nowhere = () => assert.fail('no node is asked');
  const jobs = serverJobs({
    ...{ state, tasks, clock: Date.now, audit: { append: () => {} } },
    get: (name) => datastores.get(name),
    ...{ isOnline: nowhere, order: nowhere, orderWithin: nowhere, guestsOf: nowhere, abort: nowhere },
    endOf: nowhere,
    report: (message) => assert.fail(message),
    onBug: (error) => assert.fail(error as Error),
  });
  jobs.start();
  t.after(async () => {
    jobs.stop();
    await datastores.close();
    state.close();
  });
  const path = join(directory, 'main');
  await datastores.create(ROOT, { name: 'main', path, comment: '', reuse: false });
  const { store: held } = await datastores.get('main');
  const open = Object.assign(Object.create(OpenStore.prototype), { store: held, pool: pools[0] }) as OpenStore;
  const times = async () =>
    await (await datastores.get('main')).store.groups.times(parseNamespace(''), parseGroup('vm/101'));
  /** How a run by hand ended, in the history. */
  const run = async (kind: string): Promise<string> => {
    const upid = jobs.desk.run({ kind, id: 'j' }, 'root@pam');
    await tasks.ended(upid as string);
    // The scheduler hears of it in turn.
    for (;;) {
      const [last] = jobs.desk.history({ kind }).rows;
      if (last !== undefined && last.upid === upid && last.endMs !== null) return `${last.state}: ${last.message}`;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  jobs.desk.create(ROOT, { kind: 'prune', id: 'j', options: { ...MAIN, 'keep-last': 1 } });
  for (const kind of ['gc', 'verify']) jobs.desk.create(ROOT, { kind, id: 'j', options: MAIN });
  return { datastores, open, times, run, path, jobs };
}

test('a datastore in maintenance loses nothing by jobs, and they say why; afterwards they go on', async (t) => {
  const { datastores, open, times, run } = await fixture(t);
  for (const content of ['one', 'two']) await commitImage(open, [content]);
  const set = async (mode: 'none' | 'read-only' | 'offline'): Promise<void> =>
    await datastores.update(ROOT, 'main', { maintenance: { mode, message: 'new disks' } });
  await set('read-only');
  for (const kind of ['prune', 'gc']) assert.match(await run(kind), /^error: .*read-only.*new disks/, kind);
  assert.equal(await run('verify'), 'ok: OK', 'it only reads');
  assert.equal((await times()).length, 2);
  await set('offline');
  for (const kind of ['prune', 'gc', 'verify']) assert.match(await run(kind), /^error: .*offline.*new disks/, kind);
  await set('none');
  for (const kind of ['prune', 'gc', 'verify']) assert.equal(await run(kind), 'ok: OK', kind);
  assert.equal((await times()).length, 1);
});

test('a datastore whose disk is gone, or that was removed: an error that names it, and nothing is made in its place', async (t) => {
  const { datastores, open, run, path } = await fixture(t);
  await commitImage(open, ['one']);
  await datastores.release('main');
  renameSync(path, `${path}.away`);
  for (const kind of ['prune', 'gc', 'verify']) assert.match(await run(kind), /^error: .*main/, kind);
  renameSync(`${path}.away`, path);
  // A server does not ask a disk that failed again at once.
  await sleep(2_100);
  assert.equal(await run('gc'), 'ok: OK', 'it is there again');
  await datastores.remove(ROOT, 'main', { keepJobs: true });
  for (const kind of ['prune', 'gc', 'verify']) assert.match(await run(kind), /^error: .*no datastore.*main/, kind);
});

test('a backup of a group that is pruned and collected beside it keeps all that it found there', async (t) => {
  const { open, times, run } = await fixture(t);
  const shared = ['what both have', 'and this'];
  await commitImage(open, shared);
  await commitImage(open, ['something else']);
  const session = await open.session();
  const { root, sizeBytes } = await putWholeImage(open, session, shared);
  assert.equal(await run('prune'), 'ok: OK');
  assert.equal((await times()).length, 1, 'the snapshot that it shares its data with is gone');
  assert.equal(await run('gc'), 'ok: OK');
  await session.commit(clientPart(root, sizeBytes), undefined, NO_SIGNAL);
  assert.equal((await times()).length, 2);
  for (const kind of ['verify', 'prune', 'gc', 'verify']) assert.equal(await run(kind), 'ok: OK', kind);
});

test('prunes beside backups of the same group: every backup ends well, and the newest is never removed', async (t) => {
  const { open, times, run } = await fixture(t);
  let isDone = false;
  let newest = 0;
  const backUp = async (): Promise<void> => {
    for (let n = 0; n < 12; n++) {
      await commitImage(open, [`content ${n}`]);
      newest = Math.max(newest, ...(await times()));
    }
    isDone = true;
  };
  const prune = async (): Promise<void> => {
    while (!isDone) {
      const before = newest;
      assert.equal(await run('prune'), 'ok: OK');
      assert.ok(Math.max(0, ...(await times())) >= before, 'the newest one stays');
    }
  };
  await Promise.all([backUp(), prune()]);
  assert.equal(await run('prune'), 'ok: OK');
  assert.deepEqual(await times(), [newest]);
  for (const kind of ['gc', 'verify']) assert.equal(await run(kind), 'ok: OK', kind);
});
