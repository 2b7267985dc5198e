// Real threads insert and look up at once. What one thread has announced, every other must find, through any growth.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { ObjectIndex } from '../../../src/datastore/index/object-index.ts';
import { SharedBuffers } from '../../../src/util/shared-buffers.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { bundle } from '../../util/bundle.ts';

const PROGRAM = `
import { createHash } from 'node:crypto';
import { ObjectIndex } from './datastore/index/object-index.ts';
import { SharedBuffers } from './util/shared-buffers.ts';
import { serveCalls } from './util/worker-pool.ts';

const idOf = (n) => createHash('sha256').update(String(n)).digest();
let shared, index;
const lost = [];
serveCalls({
  listen: (channel) => { shared = new SharedBuffers(channel); },
  join: (snapshot) => { shared.adopt(snapshot); index = ObjectIndex.attach(shared); },
  // progress[t] objects of thread t are published: numbers t * count ... and a shared object per 64.
  run: ({ thread, threads, count, progress }) => {
    const done = new Int32Array(progress);
    let checks = 0;
    for (let n = 0; n < count; n++) {
      index.insert(1, idOf(thread * count + n), thread, n, 10);
      if (n % 64 === 0) index.insert(2, idOf(n), thread, n, 10);
      Atomics.store(done, thread, n + 1);
      if (n % 4 !== 0) continue;
      for (let other = 0; other < threads; other++) {
        const limit = Atomics.load(done, other);
        if (limit === 0) continue;
        for (const m of [limit - 1, (n * 7919) % limit]) {
          const entry = index.first(1, idOf(other * count + m));
          if (entry < 0 || index.pack(entry) !== other || index.offset(entry) !== m) lost.push([other, m, entry]);
          checks++;
        }
      }
    }
    return { checks, lost };
  },
});
`;

test('three threads insert and look up at once', async (t) => {
  const threads = 3;
  const count = 20_000;
  const pool = WorkerPool.start(await bundle(t, PROGRAM), threads);
  t.after(() => pool.close());
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  const index = ObjectIndex.create(shared, 0);
  await pool.all('listen', shared.channelName);
  await pool.all('join', shared.snapshot());
  const progress = new SharedArrayBuffer(threads * 4);
  const outcomes = await Promise.all(
    Array.from({ length: threads }, (_, thread) =>
      pool.call<{ checks: number; lost: unknown[] }>(thread, 'run', { thread, threads, count, progress }),
    ),
  );
  for (const { checks, lost } of outcomes) {
    assert.ok(checks > count / 4);
    assert.deepEqual(lost, []);
  }
  const copies = Math.ceil(count / 64);
  assert.equal(index.count, threads * (count + copies));
  const seen = new Set<string>();
  const perObject = new Map<string, number>();
  for (const entry of index.entries()) {
    seen.add(`${index.space(entry)} ${index.pack(entry)} ${index.offset(entry)}`);
    if (index.space(entry) === 2) {
      const id = index.id(entry).toString('hex');
      perObject.set(id, (perObject.get(id) ?? 0) + 1);
    }
  }
  assert.equal(seen.size, threads * (count + copies), 'every entry stands in the table once');
  assert.equal(perObject.size, copies);
  assert.ok([...perObject.values()].every((number) => number === threads));
});
