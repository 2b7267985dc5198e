// The datastores of a server: real ones with real threads, opened, held, refused and let go.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { Type } from 'typebox';
import { localJobs } from '../../src/daemon/jobs/server-jobs.ts';
import { Datastores } from '../../src/daemon/stores.ts';
import { createDatastore } from '../../src/datastore/config.ts';
import { askHolder } from '../../src/datastore/control/control-client.ts';
import type { Operation } from '../../src/datastore/control/operation.ts';
import { HeldDatastore } from '../../src/datastore/held-datastore.ts';
import { Layout } from '../../src/datastore/layout.ts';
import { changeLimits, NO_LIMITS, readLimits } from '../../src/datastore/limits/limits-file.ts';
import type { AuthId } from '../../src/schema/auth-id.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import { DatastoreTables } from '../../src/state/datastore-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';
import { listOver, ROOT } from './list-fixture.ts';

const WORKER = new URL('../../dist/worker.js', import.meta.url);
const COUNT: Operation<number, number> = {
  name: 'count',
  answer: Type.Integer(),
  run: async (store, more) => store.index.count + more,
};
const WORK = { signal: new AbortController().signal, onProgress: () => {}, warn: () => {} };

function fixture(t: TestContext) {
  const directory = temporaryDirectory(t);
  const state = StateDatabase.open(join(directory, 'state', 'state.db'));
  const warnings: string[] = [];
  const ended: string[] = [];
  const made = { workEnds: true };
  let pools = 0;
  const make = (): Datastores => {
    const datastores = new Datastores({
      list: listOver(state),
      startPool: (workers) => {
        pools++;
        return WorkerPool.start(WORKER, workers);
      },
      // As a listener ends: each thread is told.
      serve:
        async ({ pool }) =>
        async () =>
          void (await pool.all('store.settle', undefined)),
      operations: new Map([[COUNT.name, COUNT as Operation<never, unknown>]]),
      endWork: async (name, reason) => {
        ended.push(`${name}: ${reason}`);
        return made.workEnds;
      },
      workers: 1,
      warn: (message, name) => warnings.push(`${name}: ${message}`),
    });
    t.after(() => datastores.close());
    return datastores;
  };
  t.after(() => state.close());
  const path = (name: string): string => join(directory, name);
  return { make, path, warnings, ended, made, poolsStarted: () => pools, table: new DatastoreTables(state.db), state };
}

test('a datastore is made, held once, and opened again by the next server', async (t) => {
  const { make, path, warnings, poolsStarted } = fixture(t);
  const first = make();
  await first.create(ROOT, { name: 'one', path: path('one'), comment: 'c', reuse: false });
  assert.deepEqual(first.list(), [{ name: 'one', path: path('one'), comment: 'c', options: {} }]);
  const [a, b] = await Promise.all([first.get('one'), first.get('one')]);
  assert.equal(a, b);
  assert.equal(a.store.config.chunk.averageBytes, 65536);
  assert.equal(poolsStarted(), 1);
  const [{ isOpen, totalBytes, availableBytes }] = await first.figures();
  assert.ok(isOpen && (totalBytes ?? 0) >= (availableBytes ?? 0) && (availableBytes ?? 0) > 0);
  await first.close();
  await assert.rejects(first.get('one'), { code: 'aborted' });
  const next = make();
  await next.openAll();
  assert.equal(next.state('one').isOpen, true);
  assert.deepEqual(warnings, []);
});

test('commands of this machine reach a datastore that the server holds', async (t) => {
  const { make, path } = fixture(t);
  const datastores = make();
  await datastores.create(ROOT, { name: 'one', path: path('one'), reuse: false });
  assert.deepEqual(await askHolder(new Layout(path('one')), COUNT, 5, WORK), { result: 5 });
  await datastores.release('one');
  assert.equal(await askHolder(new Layout(path('one')), COUNT, 5, WORK), undefined);
});

test('jobs that are of a datastore alone go with it unless they are to stay; those that back up to it stay', async (t) => {
  const { make, path, state } = fixture(t);
  const datastores = make();
  const jobs = localJobs({ state, audit: { append: () => {} }, clock: Date.now });
  const refs = () => jobs.list().map(({ kind, id }) => `${kind}/${id}`);
  const node = { node: 'localhost', all: true };
  for (const store of ['one', 'two']) {
    await datastores.create(ROOT, { name: store, path: path(store), reuse: false });
    for (const kind of ['gc', 'prune', 'verify']) jobs.create(ROOT, { kind, id: store, options: { store } });
    jobs.create(ROOT, { kind: 'vzdump', id: store, options: { ...node, store } });
  }
  await datastores.remove(ROOT, 'one');
  assert.deepEqual(refs(), ['gc/two', 'prune/two', 'verify/two', 'vzdump/one', 'vzdump/two']);
  await datastores.remove(ROOT, 'two', { keepJobs: true });
  assert.deepEqual(refs(), ['gc/two', 'prune/two', 'verify/two', 'vzdump/one', 'vzdump/two']);
  const noted = await authTables(state).audit.list({ limit: 10 });
  assert.deepEqual(
    noted.filter(({ action }) => action === 'job-remove').map(({ object }) => object),
    ['verify/one', 'gc/one', 'prune/one'],
  );
});

test('a directory is taken as it is only when that is meant', async (t) => {
  const { make, path } = fixture(t);
  const datastores = make();
  await createDatastore(path('one'), 65536);
  await assert.rejects(datastores.create(ROOT, { name: 'one', path: path('one'), reuse: false }), { code: 'exists' });
  mkdirSync(path('empty'));
  await assert.rejects(datastores.create(ROOT, { name: 'two', path: path('empty'), reuse: true }), {
    code: 'datastore-foreign',
  });
  assert.deepEqual(datastores.list(), []);
  await datastores.create(ROOT, { name: 'one', path: path('one'), reuse: true });
  await assert.rejects(datastores.create(ROOT, { name: 'one', path: path('x'), reuse: false }), { code: 'exists' });
  for (const taken of [path('one'), path('one/sub'), path('.'), path('state'), path('state/x')])
    await assert.rejects(
      datastores.create(ROOT, { name: 'two', path: taken, reuse: false }),
      { code: 'exists' },
      taken,
    );
  for (const wrong of ['relative', '/', '/a\nb'])
    await assert.rejects(datastores.create(ROOT, { name: 'two', path: wrong, reuse: false }), { code: 'bad-argument' });
  await assert.rejects(datastores.create(ROOT, { name: 'x', path: path('y'), reuse: false }), { code: 'bad-name' });
  assert.equal(existsSync(path('y')), false);
});

test('one that cannot be opened keeps nobody from the others, and is tried again when asked for', async (t) => {
  const { make, path, warnings } = fixture(t);
  const first = make();
  for (const name of ['one', 'two']) await first.create(ROOT, { name, path: path(name), reuse: false });
  await first.close();
  renameSync(path('one'), path('unmounted'));
  const pool = WorkerPool.start(WORKER, 1);
  const other = await HeldDatastore.open(path('unmounted'), pool);
  const datastores = make();
  await datastores.openAll();
  assert.equal(datastores.state('two').isOpen, true);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /^one: cannot be opened: .*not a Holdfast datastore/);
  assert.match(datastores.state('one').reason ?? '', /not a Holdfast datastore/);
  assert.equal((await datastores.figures()).find(({ name }) => name === 'one')?.totalBytes, undefined);
  await assert.rejects(datastores.get('one'), { code: 'datastore-foreign' });
  renameSync(path('unmounted'), path('one'));
  await assert.rejects(datastores.get('one'), { code: 'datastore-foreign' }, 'not tried again at once');
  await new Promise((resolve) => setTimeout(resolve, 2100));
  await assert.rejects(datastores.get('one'), { code: 'datastore-locked' });
  await other.close();
  await pool.close();
  await new Promise((resolve) => setTimeout(resolve, 2100));
  assert.equal((await datastores.get('one')).name, 'one');
  assert.equal(datastores.state('one').reason, undefined);
});

/** Files below a directory that this process has open, in whichever thread. */
function openBelow(directory: string): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(`${directory}/`));
}

test('offline is refused at once, and ends at once; read-only is not', async (t) => {
  const { make, path, ended } = fixture(t);
  const datastores = make();
  await datastores.create(ROOT, { name: 'one', path: path('one'), reuse: false });
  const { store } = await datastores.get('one');
  await datastores.update(ROOT, 'one', { maintenance: { mode: 'read-only', message: '' } });
  assert.equal((await datastores.get('one')).store, store);
  assert.deepEqual(ended, []);
  await datastores.update(ROOT, 'one', { maintenance: { mode: 'offline', message: 'disks' } });
  await assert.rejects(datastores.get('one'), { code: 'datastore-maintenance', message: /disks/ });
  assert.deepEqual((await readLimits(new Layout(path('one')))).maintenance, { mode: 'offline', message: 'disks' });
  await datastores.update(ROOT, 'one', { maintenance: { mode: 'read-only', message: '' } });
  assert.equal(datastores.state('one').isOpen, true, 'opened without being asked for');
  await assert.rejects(
    datastores.update(ROOT, 'one', { maintenance: { mode: 'offline', message: 'x'.repeat(5000) } }),
    { code: 'too-large' },
  );
});

test('one that goes offline is closed, so that its disk can be unmounted, and opened when it is back and online', async (t) => {
  const { make, path, ended, warnings } = fixture(t);
  const datastores = make();
  await datastores.create(ROOT, { name: 'one', path: path('one'), reuse: false });
  assert.notDeepEqual(openBelow(path('one')), []);
  await datastores.update(ROOT, 'one', { maintenance: { mode: 'offline', message: '' } });
  assert.deepEqual(openBelow(path('one')), []);
  assert.equal(datastores.state('one').isOpen, false);
  assert.match(ended.join(), /^one: .*goes offline$/);
  renameSync(path('one'), path('elsewhere'));
  mkdirSync(path('one'));
  const before = warnings.length;
  for (let look = 0; look < 3; look++) await datastores.follow();
  assert.equal(warnings.length, before, 'a disk that is not there yet is no failure');
  rmdirSync(path('one'));
  renameSync(path('elsewhere'), path('one'));
  await datastores.follow();
  assert.equal(datastores.state('one').isOpen, false, 'still offline');
  // As a command on this machine does it.
  const online = { mode: 'none', message: '' } as const;
  await changeLimits(new Layout(path('one')), (limits) => ({ ...limits, maintenance: online }));
  await datastores.follow();
  assert.equal(datastores.state('one').isOpen, true);
  await datastores.close();
  await changeLimits(new Layout(path('one')), (limits) => ({ ...limits, maintenance: { ...online, mode: 'offline' } }));
  const next = make();
  await next.openAll();
  await next.update(ROOT, 'one', { maintenance: online });
  assert.equal(next.state('one').isOpen, true, 'also one that was offline when the server started');
});

test('what a command set offline is closed as soon as work on it has ended, and not before', async (t) => {
  const { make, path, ended, made } = fixture(t);
  const datastores = make();
  await datastores.create(ROOT, { name: 'one', path: path('one'), reuse: false });
  const offline = { mode: 'offline', message: '' } as const;
  await changeLimits(new Layout(path('one')), (limits) => ({ ...limits, maintenance: offline }));
  made.workEnds = false;
  await datastores.follow();
  assert.equal(datastores.state('one').isOpen, true);
  assert.equal(ended.length, 1);
  made.workEnds = true;
  await datastores.follow();
  assert.equal(datastores.state('one').isOpen, false);
});

test('a disk that does not answer is asked once, and the other datastores are followed all the same', async (t) => {
  const { make, path, table } = fixture(t);
  const datastores = make();
  for (const name of ['hung', 'fine']) await datastores.create(ROOT, { name, path: path(name), reuse: false });
  const { limits } = new Layout(path('hung'));
  // Opening it for reading waits until somebody writes.
  execFileSync('mkfifo', [limits]);
  const looks = [datastores.follow()];
  await changeLimits(new Layout(path('fine')), (before) => ({
    ...before,
    maintenance: { mode: 'offline', message: '' },
  }));
  const startedMs = performance.now();
  while (datastores.state('fine').isOpen && performance.now() - startedMs < 10_000) {
    looks.push(datastores.follow());
    await sleep(20);
  }
  assert.equal(datastores.state('fine').isOpen, false);
  table.remove('fine');
  await datastores.follow();
  assert.throws(() => datastores.state('fine'), { code: 'not-found' });
  assert.equal(datastores.state('hung').isOpen, true);
  const writer = openSync(limits, constants.O_RDWR | constants.O_NONBLOCK);
  writeFileSync(writer, JSON.stringify(NO_LIMITS));
  rmSync(limits);
  await sleep(100);
  closeSync(writer);
  await Promise.all(looks);
  await datastores.follow();
  assert.equal(datastores.state('hung').isOpen, true);
});

test('a datastore that has lost a thread is opened anew', async (t) => {
  const { make, path, ended, warnings } = fixture(t);
  const threads: Worker[] = [];
  const note = (worker: Worker): void => void threads.push(worker);
  process.on('worker', note);
  t.after(() => process.off('worker', note));
  const datastores = make();
  await datastores.create(ROOT, { name: 'one', path: path('one'), reuse: false });
  const { store } = await datastores.get('one');
  await threads[0].terminate();
  await datastores.follow();
  const open = await datastores.get('one');
  assert.notEqual(open.store, store);
  await open.pool.all('store.settle', undefined);
  assert.match(ended.join(), /^one: .*lost a thread/);
  assert.ok(warnings.some((warning) => /^one: .*a worker thread ended with code/.test(warning)));
});

test('each change of the list is in the audit log, with who asked for it; what is refused is not', async (t) => {
  const { make, path, state } = fixture(t);
  const datastores = make();
  const anna = { authId: 'anna@local!ci' as AuthId, address: '192.0.2.7' };
  await datastores.create(anna, { name: 'one', path: path('one'), reuse: false });
  const quotas = { namespaces: { '': 5 }, owners: {} };
  await datastores.update(anna, 'one', { comment: 'c', quotas });
  await datastores.update(anna, 'one', { maintenance: { mode: 'read-only', message: 'disks' } });
  await datastores.update(anna, 'one', {});
  await assert.rejects(datastores.create(anna, { name: 'one', path: path('x'), reuse: false }));
  await assert.rejects(datastores.update(anna, 'one', { comment: 'x'.repeat(5000), quotas: NO_LIMITS.quotas }));
  await assert.rejects(datastores.remove(anna, 'two'));
  assert.deepEqual((await readLimits(new Layout(path('one')))).quotas, quotas);
  await datastores.remove(anna, 'one');
  const entries = [...(await authTables(state).audit.list({ limit: 10 }))].reverse();
  assert.ok(
    entries.every(({ by, address, object }) => by === anna.authId && address === '192.0.2.7' && object === 'one'),
  );
  assert.deepEqual(
    entries.map(({ action, detail }) => [action, detail]),
    [
      ['datastore-add', { path: path('one') }],
      ['datastore-update', { fields: ['comment', 'quotas'] }],
      ['datastore-update', { fields: ['maintenance'], maintenance: 'read-only' }],
      ['datastore-remove', { path: path('one') }],
    ],
  );
});

test('comments change; a removed datastore is forgotten, and its files stay', async (t) => {
  const { make, path, state } = fixture(t);
  const datastores = make();
  await datastores.create(ROOT, { name: 'one', path: path('one'), comment: 'a', reuse: false });
  // What a later version wrote stays.
  state.db.exec(`UPDATE datastores SET options = '{"later": [2]}'`);
  await datastores.update(ROOT, 'one', {});
  assert.equal(datastores.list()[0].comment, 'a');
  await datastores.update(ROOT, 'one', { comment: 'b' });
  assert.deepEqual(datastores.list()[0], { name: 'one', path: path('one'), comment: 'b', options: { later: [2] } });
  await datastores.update(ROOT, 'one', { comment: null });
  assert.equal(datastores.list()[0].comment, undefined);
  await assert.rejects(datastores.remove(ROOT, 'one', { destroyData: true }), { code: 'bad-argument', message: /one/ });
  const waiting = datastores.get('one').catch(() => undefined);
  await datastores.remove(ROOT, 'one');
  await waiting;
  assert.deepEqual(datastores.list(), []);
  assert.ok(existsSync(new Layout(path('one')).config));
  for (const call of [datastores.get('one'), datastores.remove(ROOT, 'one'), datastores.update(ROOT, 'one', {})])
    await assert.rejects(call, { code: 'not-found' });
  await datastores.create(ROOT, { name: 'again', path: path('one'), reuse: true });
  assert.equal(datastores.state('again').isOpen, true, 'nobody holds it any more');
});

test('what another process changes in the list is followed: new, gone, and elsewhere under the same name', async (t) => {
  const { make, path, warnings, table } = fixture(t);
  const datastores = make();
  for (const name of ['one', 'two', 'far']) await createDatastore(path(name), 65536);
  const entry = (name: string, where: string) => ({ name, path: path(where), options: {} });
  table.add(entry('one', 'one'));
  await datastores.follow();
  assert.equal(datastores.state('one').isOpen, true);
  table.update(entry('one', 'far'));
  assert.equal((await datastores.get('one')).store.layout.root, path('far'));
  await datastores.release('one');
  await datastores.follow();
  assert.equal(datastores.state('one').isOpen, false, 'what was released stays so until somebody asks for it');
  await datastores.get('one');
  table.remove('one');
  table.add(entry('two', 'two'));
  await datastores.follow();
  assert.equal(datastores.state('two').isOpen, true);
  await assert.rejects(datastores.get('one'), { code: 'not-found' });
  const pool = WorkerPool.start(WORKER, 1);
  const free = await HeldDatastore.open(path('far'), pool);
  await free.close();
  await pool.close();
  table.add(entry('gone', 'nowhere'));
  await datastores.follow();
  await datastores.follow();
  assert.deepEqual(warnings.length, 1, 'one that cannot be opened is warned of once');
});
