// Work of serving goes to the thread that has the least to do, also after some of it failed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServePool } from '../../../src/agent/serve/serve-pool.ts';
import type { ObjectId } from '../../../src/chunker/object.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';

test('the thread with the least to do is asked, also after some of it failed', async () => {
  const asked: number[] = [];
  const ends: ((error?: Error) => void)[] = [];
  const slabs: unknown[] = [];
  const pool = {
    size: 3,
    all: async (method: string, slab: unknown) => void slabs.push([method, slab]),
    call: (thread: number) =>
      new Promise<void>((resolve, reject) => {
        asked.push(thread);
        ends.push((error) => (error === undefined ? resolve() : reject(error)));
      }),
  } as unknown as WorkerPool;
  const slab = new SharedArrayBuffer(0);
  const serving = await ServePool.start(pool, slab);
  assert.deepEqual(slabs, [['serve.slab', slab]]);
  const load = () => serving.load({ space: 0, pieces: [], blocks: new Int32Array(0) });
  const work = [load(), serving.read(0, Buffer.alloc(32) as ObjectId), load(), load()];
  assert.deepEqual(asked, [0, 1, 2, 0]);
  ends[1]!(new Error('gone'));
  await assert.rejects(work[1]!, /gone/);
  ends[2]!();
  await work[2];
  const more = [load(), load(), load()];
  assert.deepEqual(asked.slice(4), [1, 2, 1], 'those that ended are counted no more');
  for (const end of ends) end();
  await Promise.all([work[0], work[3], ...more]);
});
