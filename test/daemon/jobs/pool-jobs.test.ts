// A backup job of a pool in the scheduler of a server, over a real state: whoever is in the pool when it runs, and what becomes of it without its pool.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { accessServices } from '../../../src/auth/access-services.ts';
import { localJobs, serverJobs } from '../../../src/daemon/jobs/server-jobs.ts';
import { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { authTables } from '../../../src/state/auth-tables.ts';
import { StateDatabase } from '../../../src/state/state-database.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';
import { CheapPasswords, withCode } from '../../auth/access-fixture.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { ROOT } from '../list-fixture.ts';

const KEY = { kind: 'vzdump', id: 'night' };

test('a job backs up whoever is in its pool when it runs; the pool stays while jobs name it, and a job without its pool fails', async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'state', 'state.db');
  const [state, beside] = [StateDatabase.open(path), StateDatabase.open(path)];
  const stores = authTables(state);
  const { pools, createRoot } = accessServices(stores, Date.now, new CheapPasswords());
  await createRoot();
  const others = authTables(beside);
  const store = new TaskTables(state.db);
  const tasks = new Tasks({ store, directory: join(directory, 'tasks'), node: 'node1', clock: Date.now });
  const nowhere = () => assert.fail('it is not asked');
  const backedUp: number[] = [];
  const jobs = serverJobs({
    ...{ state, tasks, clock: Date.now, audit: stores.audit, get: nowhere, order: nowhere, endOf: nowhere },
    ...{
      isOnline: () => true,
      abort: nowhere,
      report: (message) => assert.fail(message),
      onBug: (error) => assert.fail(String(error)),
    },
    guestsOf: async () => [100, 101, 102].map((vmid) => ({ vmid, pool: pools.poolsOfGuests().get(vmid) })),
    orderWithin: async (_node, order) => void backedUp.push(order.vmid),
  });
  jobs.start();
  t.after(() => {
    jobs.stop();
    for (const each of [state, beside]) each.close();
  });
  const run = async (): Promise<string> => {
    backedUp.length = 0;
    const upid = jobs.desk.run(KEY, 'root@pam');
    await tasks.ended(upid as string);
    // The scheduler hears of it in turn.
    for (;;) {
      const [last] = jobs.desk.history(KEY).rows;
      if (last?.upid === upid && last?.endMs !== null) return `${last?.state}: ${last?.message}`;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const wish = { ...KEY, options: { node: 'localhost', store: 'main', pool: 'web', exclude: [101] } };
  assert.throws(() => jobs.desk.create(ROOT, wish), withCode('not-found', /^pool 'web' does not exist$/));
  const command = localJobs({ state: beside, audit: others.audit, clock: Date.now });
  assert.throws(() => command.create(ROOT, wish), withCode('not-found', /^pool 'web' does not exist$/));
  pools.create(ROOT, 'web');
  command.create(ROOT, wish);
  assert.match(await run(), /^warning: /);
  assert.deepEqual(backedUp, []);
  pools.change(ROOT, 'web', { vms: [102, 100, 101, 555] });
  assert.equal(await run(), 'ok: OK');
  assert.deepEqual(backedUp, [100, 102]);
  accessServices(others).pools.change(ROOT, 'web', { vms: [100], delete: true });
  assert.equal(await run(), 'ok: OK');
  assert.deepEqual(backedUp, [102]);
  pools.change(ROOT, 'web', { vms: [101, 102, 555], delete: true });
  assert.throws(() => pools.delete(ROOT, 'web'), withCode('protected', /backed up by jobs: vzdump\/night;/));
  // As a state that was put back by hand may be.
  stores.pools.delete('web' as never);
  assert.equal(await run(), "error: pool 'web' does not exist");
  assert.deepEqual(backedUp, []);
  jobs.desk.remove(ROOT, KEY);
  pools.create(ROOT, 'web');
  pools.delete(ROOT, 'web');
});
