// A job of a host's virtual machines: each is a part of its task, one that fails keeps no other from its backup, and a stop means all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vzdumpKind } from '../../../src/daemon/jobs/vzdump-kind.ts';
import { USUAL } from '../../../src/jobs/schedule/job.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

function setUp(wish: object, backup: (vmid: number) => Promise<unknown> = async () => {}) {
  const asked: unknown[] = [];
  const kind = vzdumpKind({
    isOnline: () => true,
    guestsOf: async (node) => {
      assert.equal(node, 'localhost');
      return [102, 100, 101];
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
    { ...base, all: true, mode: 'later' },
    { ...base, all: true, kind: 'restore' },
  ])
    assert.throws(() => setUp(wish), { code: 'bad-argument' }, JSON.stringify(wish));
});
