// A job of a node whose agent is away: it is waited for, but not for ever, and no longer than the run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { awaitNode } from '../../../src/daemon/jobs/await-node.ts';
import { backupKind } from '../../../src/daemon/jobs/backup-kind.ts';
import { vzdumpKind } from '../../../src/daemon/jobs/vzdump-kind.ts';
import { USUAL } from '../../../src/jobs/schedule/job.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

function workOf(stop = new AbortController()) {
  const lines: string[] = [];
  const log = (text: string): void => void lines.push(text);
  const nothing = (): void => undefined;
  const work = { upid: 'x', signal: stop.signal, log, warn: log, progress: nothing, onProgress: nothing };
  return { lines, stop, work };
}

test('both kinds of a node give their order when its agent has come', async () => {
  for (const name of ['backup', 'vzdump']) {
    let looks = 0;
    const orders: number[] = [];
    const isOnline = (node: string): boolean => {
      assert.equal(node, 'web1');
      return ++looks > 3;
    };
    const order = { upid: 'UPID:inner' };
    const end = { upid: 'UPID:inner', outcome: 'ok', status: 'OK', endtime: 0 } as const;
    const note = () => {
      orders.push(looks);
      return order;
    };
    const [kind, more] =
      name === 'backup'
        ? [
            backupKind({ isOnline, order: note, endOf: async () => end, abort: () => {} }),
            { group: 'host/web1', archives: ['root.tree:/'] },
          ]
        : [
            vzdumpKind({
              ...{ isOnline, guestsOf: async () => [], orderWithin: async () => note() },
              ...{ get: assert.fail, requirePool: assert.fail },
            }),
            { vmid: [100] },
          ];
    const options = kind.check({ node: 'web1', store: 'main', ...more });
    const job = { kind: name, id: 'x', schedule: null, enabled: true, comment: '', options, ...USUAL };
    const { lines, work } = workOf();
    await kind.run({ job, authId: 'root@pam', nowMs: 0 }, work);
    assert.deepEqual(orders, [4], name);
    assert.match(lines[0] ?? '', /web1 is not connected: it is waited for, 90 s/);
  }
});

test('an agent that does not come is given up, a node that is not there at once, and a stop ends the wait', async () => {
  const { work, lines } = workOf();
  await awaitNode('web1', () => false, work, 300);
  assert.equal(lines.length, 1);
  await assert.rejects(
    awaitNode(
      'nobody',
      () => {
        throw new HoldfastError('not-found', 'there is no node nobody');
      },
      work,
    ),
    { code: 'not-found' },
  );
  const stopped = workOf();
  const waits = awaitNode('web1', () => false, stopped.work);
  stopped.stop.abort(new HoldfastError('aborted', 'stopped'));
  await assert.rejects(waits, { code: 'aborted' });
});
