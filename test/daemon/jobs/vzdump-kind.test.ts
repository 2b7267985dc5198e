// A job of a host's virtual machines: each is a part of its task, one that fails keeps no other from its backup, and a stop means all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoreKindParts } from '../../../src/daemon/jobs/store-options.ts';
import { vzdumpKind } from '../../../src/daemon/jobs/vzdump-kind.ts';
import { USUAL } from '../../../src/jobs/schedule/job.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { commitImage, createTemporaryStore, OpenStore } from '../../support/store.ts';

const NO_STORE: StoreKindParts['get'] = () => assert.fail('the datastore is not asked');

const POOLS = new Set(['web', 'empty']);

function setUp(wish: object, backup: (vmid: number) => Promise<unknown> = async () => {}, get = NO_STORE) {
  const asked: unknown[] = [];
  const kind = vzdumpKind({
    get,
    isOnline: () => true,
    requirePool: (pool) => {
      if (!POOLS.has(pool)) throw new HoldfastError('not-found', `pool '${pool}' does not exist`);
    },
    guestsOf: async (node) => {
      assert.equal(node, 'localhost');
      return [{ vmid: 102, tags: 'office;web', pool: 'web' }, { vmid: 100, tags: 'lab', pool: 'web' }, { vmid: 101 }];
    },
    orderWithin: async (node, order) => {
      asked.push([node, order]);
      return await backup(order.vmid);
    },
  });
  const options = kind.check(wish);
  const job = { kind: 'vzdump', id: 'night', schedule: null, enabled: true, comment: '', options, ...USUAL };
  const stop = new AbortController();
  const lines: string[] = [];
  const say = (text: string): void => void lines.push(text);
  const nothing = (): void => undefined;
  const run = async () =>
    await kind.run(
      { job, authId: 'root@pam', nowMs: 0 },
      { upid: 'x', signal: stop.signal, log: say, warn: say, progress: nothing, onProgress: nothing },
    );
  return { kind, job, asked, stop, lines, run };
}

test('named guests are backed up in order, with what the job says of each', async () => {
  const wish = { node: 'pve2', store: 'main', ns: 'office', vmid: [201, 200], mode: 'suspend', bwlimit: 1024 };
  const { kind, job, asked, lines, run } = setUp(wish);
  assert.deepEqual(kind.claims(job.options), ['datastore:main', 'node:pve2']);
  assert.equal(kind.workerId(job), 'main:pve2:night');
  await run();
  const order = { kind: 'vm-backup', store: 'main', ns: 'office', mode: 'suspend', bwlimit: 1024 };
  assert.deepEqual(asked, [
    ['pve2', { ...order, vmid: 200 }],
    ['pve2', { ...order, vmid: 201 }],
  ]);
  assert.match(
    lines.join('\n'),
    /Starting Backup of VM 200[\s\S]*Finished Backup of VM 201[\s\S]*finished successfully/,
  );
});

test('all but those that are excluded are looked up when the job runs', async () => {
  const { asked, run } = setUp({ node: 'localhost', store: 'main', all: true, exclude: [101] });
  await run();
  assert.deepEqual(
    asked.map((each) => (each as [string, { vmid: number }])[1].vmid),
    [100, 102],
  );
});

test('of all those that have one of the tags, when the job runs', async () => {
  const { job, asked, run } = setUp({ node: 'localhost', store: 'main', all: true, tags: ['Web', 'lab,db'] });
  assert.deepEqual(job.options.tags, ['db', 'lab', 'web']);
  await run();
  const vmids = (): number[] => asked.map((each) => (each as [string, { vmid: number }])[1].vmid);
  assert.deepEqual(vmids(), [100, 102]);
  const but = setUp({ node: 'localhost', store: 'main', all: true, tags: ['web', 'lab'], exclude: [100] });
  await but.run();
  assert.deepEqual(
    but.asked.map((each) => (each as [string, object])[1]),
    [{ kind: 'vm-backup', store: 'main', vmid: 102 }],
    'and the agent hears nothing of tags',
  );
  const wrong = { node: 'localhost', store: 'main' };
  assert.throws(() => setUp({ ...wrong, vmid: [100], tags: ['web'] }), /exclude and tags go with all/);
  assert.throws(() => setUp({ ...wrong, all: true, tags: ['a b/c'] }), /is no tag/);
});

test('of those that are in its pool when the job runs; a pool that is gone is a failure, one without guests a warning', async (t) => {
  const base = { node: 'localhost', store: 'main' };
  const vmids = ({ asked }: { asked: unknown[] }): number[] =>
    asked.map((each) => (each as [string, { vmid: number }])[1].vmid);
  const web = setUp({ ...base, pool: 'web' });
  await web.run();
  assert.deepEqual(vmids(web), [100, 102]);
  assert.deepEqual(web.asked[0], ['localhost', { kind: 'vm-backup', store: 'main', vmid: 100 }]);
  const but = setUp({ ...base, pool: 'web', exclude: [100] });
  await but.run();
  assert.deepEqual(vmids(but), [102]);
  const empty = setUp({ ...base, pool: 'empty' });
  await empty.run();
  assert.deepEqual(empty.asked, []);
  assert.match(empty.lines.join('\n'), /there is no guest to back up in pool 'empty'/);
  const gone = setUp({ ...base, pool: 'web' });
  t.after(() => POOLS.add('web'));
  POOLS.delete('web');
  await assert.rejects(gone.run(), { code: 'not-found', message: "pool 'web' does not exist" });
  assert.deepEqual(gone.asked, []);
  assert.throws(() => setUp({ ...base, pool: 'web' }), { code: 'not-found' });
});

test('the figures of all guests together are those of the job', async () => {
  const result = (n: number) => ({ snapshot: 'vm/1/x', bytesRead: n, bytesStored: 10 * n, bytesLogical: 'much' });
  const { run } = setUp({ node: 'localhost', store: 'main', vmid: [100, 101, 102] }, async (vmid) =>
    vmid === 102 ? { data: { result: { tooLarge: true }, warnings: [] } } : { data: { result: result(vmid) } },
  );
  assert.deepEqual(await run(), { guests: 3, bytesRead: 201, bytesStored: 2010 });
});

test('after one that fails come the others, and then the failure', async () => {
  const { asked, lines, run } = setUp({ node: 'localhost', store: 'main', all: true }, async (vmid) => {
    if (vmid === 101) throw new HoldfastError('guest-locked', 'it is locked');
    return { data: { result: { bytesStored: 5 } } };
  });
  const left = { guests: 2, bytesStored: 10, warnings: ['VM 101: it is locked'] };
  await assert.rejects(run(), { code: 'task-failed', message: 'job errors', data: { left } });
  assert.equal(asked.length, 3);
  assert.match(lines.join('\n'), /Backup of VM 101 failed - it is locked[\s\S]*Finished Backup of VM 102/);
});

test('with keep rules the backups of each guest are pruned after its new one, and of one that failed they stay', async (t) => {
  const { root, remove } = await createTemporaryStore();
  const open = await OpenStore.open(root, 1);
  t.after(async () => {
    await open.close();
    await remove();
  });
  const groups = ['vm/100', 'vm/101', 'vm/102'];
  for (const group of groups) for (const content of ['one', 'two']) await commitImage(open, [content], group);
  const wish = { node: 'localhost', store: 'main', vmid: [100, 101], 'keep-last': 2, 'without-effect': { zstd: 1 } };
  const backup = async (vmid: number): Promise<void> => {
    if (vmid === 101) throw new HoldfastError('guest-locked', 'VM 101 is locked');
    await commitImage(open, ['three'], `vm/${vmid}`);
  };
  const { asked, lines, run } = setUp(wish, backup, async (name) => ({ name, store: open.store }));
  await assert.rejects(run(), { message: 'job errors' });
  const left = groups.map(async (group) => await open.store.groups.times(parseNamespace(''), parseGroup(group)));
  assert.deepEqual(
    (await Promise.all(left)).map(({ length }) => length),
    [2, 2, 2],
  );
  assert.deepEqual(asked[0], ['localhost', { kind: 'vm-backup', store: 'main', vmid: 100 }]);
  assert.match(lines.join('\n'), /removed 1 snapshots of vm\/100/);
});

test('whoever stops it means all of it', async () => {
  const { asked, stop, run } = setUp({ node: 'localhost', store: 'main', all: true }, async () => {
    stop.abort(new HoldfastError('aborted', 'stopped by root@pam'));
    throw new HoldfastError('aborted', 'the order was stopped');
  });
  await assert.rejects(run(), { message: 'stopped by root@pam' });
  assert.equal(asked.length, 1);
});

test('what is no job of guests is refused', () => {
  const base = { node: 'localhost', store: 'main' };
  for (const wish of [
    base,
    { ...base, vmid: [] },
    { ...base, vmid: [100], all: true },
    { ...base, vmid: [100], exclude: [100] },
    { ...base, vmid: [100, 100] },
    { ...base, vmid: [7] },
    { ...base, pool: 'web', all: true },
    { ...base, pool: 'web', vmid: [100] },
    { ...base, pool: 'web', tags: ['lab'] },
    { ...base, pool: '../web' },
    { ...base, all: true, mode: 'later' },
    { ...base, all: true, kind: 'restore' },
  ])
    assert.throws(() => setUp(wish), { code: 'bad-argument' }, JSON.stringify(wish));
});
