// A job of a host's backup waits for the order's task, ends as it ended, and takes it along when it is aborted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { backupKind } from '../../../src/daemon/jobs/backup-kind.ts';
import { USUAL } from '../../../src/jobs/schedule/job.ts';
import type { TaskEnd } from '../../../src/jobs/tasks/task.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

function setUp() {
  const asked: unknown[] = [];
  const aborted: string[] = [];
  let end = (_: TaskEnd): void => undefined;
  const ended = new Promise<TaskEnd>((resolve) => {
    end = resolve;
  });
  const kind = backupKind({
    isOnline: () => true,
    order: (...order) => {
      asked.push(order);
      return { upid: 'UPID:inner' };
    },
    endOf: () => ended,
    abort: (upid, reason) => aborted.push(`${upid} ${reason}`),
  });
  const options = kind.check({ node: 'web1', store: 'main', group: 'host/web1', archives: ['root.tree:/'] });
  const job = { kind: 'backup', id: 'web', schedule: null, enabled: true, comment: '', options, ...USUAL };
  const stop = new AbortController();
  const warnings: string[] = [];
  const nothing = (): void => undefined;
  const work = { upid: 'x', signal: stop.signal, log: nothing, progress: nothing, onProgress: nothing };
  const done = kind.run({ job, authId: 'root@pam', nowMs: 0 }, { ...work, warn: (text) => void warnings.push(text) });
  return { kind, job, asked, aborted, end, stop, warnings, done };
}

test('the order is that of the job, and its warnings and failures are those of the run', async () => {
  const good = setUp();
  assert.deepEqual(good.kind.claims(good.job.options), ['datastore:main', 'node:web1']);
  good.end({ upid: 'UPID:inner', outcome: 'warning', status: 'WARNINGS: 1', endtime: 0 });
  assert.deepEqual(await good.done, { upid: 'UPID:inner' });
  assert.match(good.warnings.join(), /WARNINGS: 1/);
  const order = { store: 'main', group: 'host/web1', archives: ['root.tree:/'], kind: 'backup' };
  assert.deepEqual(good.asked, [['web1', order, 'root@pam']]);
  const sized = setUp();
  const data = { result: { bytesStored: 7 }, warnings: [] };
  sized.end({ upid: 'UPID:inner', outcome: 'ok', status: 'OK', endtime: 0, data });
  assert.deepEqual(await sized.done, { upid: 'UPID:inner', result: { bytesStored: 7 } }, 'and its figures');
  const bad = setUp();
  bad.end({ upid: 'UPID:inner', outcome: 'error', status: 'the disk is full', endtime: 0 });
  await assert.rejects(bad.done, { message: 'the disk is full' });
});

test('a run that is aborted stops the order, and ends with the reason', async () => {
  const { stop, end, aborted, done } = setUp();
  await setImmediate();
  stop.abort(new HoldfastError('timed-out', 'too long'));
  assert.deepEqual(aborted, ['UPID:inner too long']);
  end({ upid: 'UPID:inner', outcome: 'error', status: 'aborted', endtime: 0 });
  await assert.rejects(done, { code: 'timed-out' });
});
