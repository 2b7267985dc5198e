// What a task keeps with its end: the result, and as many warnings as one can read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call } from '../../src/api/method.ts';
import { startTask } from '../../src/api/start-task.ts';
import { FakeTasks } from './fake-tasks.ts';

const callOver = (tasks: FakeTasks): Call =>
  ({ services: { tasks }, identity: { authId: 'anna@pbs', by: 'token' } }) as unknown as Call;

test('the result and the warnings are kept, and the log has them too', async () => {
  const tasks = new FakeTasks();
  const started = startTask(callOver(tasks), { type: 'test', id: 'store1' }, async (task) => {
    task.log('begun');
    for (let n = 0; n < 1001; n++) task.warn(`warning ${n}`);
    return { done: task.upid };
  });
  await started.done;
  const { user, type, id, data, status } = tasks.get(started.upid) ?? {};
  assert.deepEqual([user, type, id, status], ['anna@pbs', 'test', 'store1', 'WARNINGS: 1001']);
  const { result, warnings } = data as { result: unknown; warnings: string[] };
  assert.deepEqual(result, { done: started.upid });
  assert.deepEqual([warnings.length, warnings[0], warnings.at(-1)], [1000, 'warning 0', 'warning 999']);
  assert.equal(tasks.entries.get(started.upid)?.lines[0], 'begun');
});

test('work that fails keeps nothing but its failure', async () => {
  const tasks = new FakeTasks();
  const started = startTask(callOver(tasks), { type: 'test', id: 'store1' }, async () => {
    throw new Error('no');
  });
  const { status } = await started.done;
  assert.deepEqual([status, tasks.get(started.upid)?.data], ['no', null]);
});
