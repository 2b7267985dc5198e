// Priorities as the kernel has them: the main thread's is raised, those of threads that are started are as ever.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { getPriority, setPriority } from 'node:os';
import { test } from 'node:test';
import { mainThreadFirst } from '../../src/daemon/main-priority.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';

const WORKER = new URL('../../dist/worker.js', import.meta.url);
const mayRaise = process.getuid?.() === 0 ? false : 'only root may raise a priority';

/** Niceness of each thread of this process. */
function niceness(): Map<number, number> {
  const tids = readdirSync('/proc/self/task').map(Number);
  return new Map(
    tids.map((tid) => {
      const stat = readFileSync(`/proc/self/task/${tid}/stat`, 'latin1');
      return [tid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])];
    }),
  );
}

function usualAgain(usual: number): void {
  for (const tid of niceness().keys()) setPriority(tid, usual);
}

test('the main thread goes first, and threads that are started meanwhile do not', { skip: mayRaise }, async (t) => {
  const usual = getPriority(process.pid);
  t.after(() => usualAgain(usual));
  await stat('/');
  const first = [...niceness().keys()];
  const start = mainThreadFirst((workers) => WorkerPool.start(WORKER, workers));
  for (let time = 0; time < 2; time++) {
    const before = niceness();
    const pool = start(
      2,
      () => {},
      () => {},
    );
    const after = niceness();
    await pool.close();
    assert.equal(after.get(process.pid), usual - 10);
    const fresh = [...after.keys()].filter((tid) => !before.has(tid));
    assert.ok(fresh.length >= 2);
    for (const tid of fresh) assert.equal(after.get(tid), usual);
    assert.ok(first.length > 8, 'four threads of V8 and four that read files, at least');
    for (const tid of first) assert.equal(after.get(tid), usual - 10);
  }
});

test('a pool that cannot be started leaves the main thread first', { skip: mayRaise }, (t) => {
  const usual = getPriority(process.pid);
  t.after(() => usualAgain(usual));
  const start = mainThreadFirst(() => {
    throw new Error('no threads');
  });
  assert.throws(
    () =>
      start(
        1,
        () => {},
        () => {},
      ),
    /no threads/,
  );
  assert.equal(getPriority(process.pid), usual - 10);
});
