import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../src/util/errors.ts';
import { serveCalls, WorkerPool } from '../../src/util/worker-pool.ts';
import { bundle } from './bundle.ts';

const PROGRAM = `
import { threadId } from 'node:worker_threads';
import { HoldfastError } from './util/errors.ts';
import { announce, serveCalls } from './util/worker-pool.ts';

let running = 0;
let most = 0;
const order = [];
serveCalls({
  echo: (value) => value,
  thread: () => threadId,
  sleep: async ({ ms, name }) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, ms));
    running--;
    order.push(name);
    return { most, order };
  },
  ours: () => {
    const cause = new HoldfastError('object-damaged', 'below', { data: { id: 'ab' }, cause: new TypeError('deepest') });
    throw new HoldfastError('write-failed', 'above', { cause, data: { pack: 7 } });
  },
  theirs: () => { throw new RangeError('not ours'); },
  text: () => { throw 'just text'; },
  fake: () => { throw Object.assign(new Error('looks like ours'), { code: 'disk-full' }); },
  uncloneable: () => () => {},
  announce: (value) => announce('seen', value),
  die: () => process.exit(3),
  crash: () => { setTimeout(() => { throw new Error('nobody catches this'); }, 0); return new Promise(() => {}); },
  hang: () => new Promise(() => {}),
  fill: (bytes) => bytes.fill(5),
});
`;

async function start(
  t: Parameters<typeof bundle>[0],
  size = 1,
  onEvent?: (event: string, argument: unknown) => void,
): Promise<WorkerPool> {
  const pool = WorkerPool.start(await bundle(t, PROGRAM), size, onEvent);
  t.after(() => pool.close());
  return pool;
}

test('calls go to the thread that is asked, and results come back', async (t) => {
  const pool = await start(t, 2);
  assert.equal(pool.size, 2);
  const value = { text: 'ä', bytes: new Uint8Array([1, 2]), map: new Map([['a', 1]]), none: undefined };
  assert.deepEqual(await pool.call(1, 'echo', value), value);
  const threads = await pool.all<number>('thread', undefined);
  assert.equal(new Set(threads).size, 2);
  assert.equal(await pool.call(1, 'thread', undefined), threads[1]);
});

test('a thread handles one call after the other, in order', async (t) => {
  const pool = await start(t);
  const calls = [30, 1, 10].map((ms, name) => pool.call<{ most: number; order: number[] }>(0, 'sleep', { ms, name }));
  const last = (await Promise.all(calls))[2]!;
  assert.deepEqual(last, { most: 1, order: [0, 1, 2] });
});

test('while a call waits, those of another lane go on; those of its own wait for it', async (t) => {
  const pool = await start(t);
  const nap = (name: string, ms: number, lane: number) =>
    pool.call<{ most: number; order: string[] }>(0, 'sleep', { name, ms }, [], lane);
  const calls = [nap('slow', 60, 0), nap('behind it', 0, 0), nap('beside it', 0, 1)];
  const { most, order } = (await Promise.all(calls))[1] as { most: number; order: string[] };
  assert.deepEqual(order, ['beside it', 'slow', 'behind it']);
  assert.equal(most, 2);
});

test('memory is handed over, not copied, where that is asked', async (t) => {
  const pool = await start(t);
  const bytes = new Uint8Array(8);
  assert.deepEqual(await pool.call(0, 'fill', bytes, [bytes.buffer]), new Uint8Array(8).fill(5));
  assert.equal(bytes.length, 0);
});

test('errors of the catalogue cross with code, data and causes; all others as plain errors with their stack', async (t) => {
  const pool = await start(t);
  await assert.rejects(pool.call(0, 'ours', undefined), (error: HoldfastError) => {
    assert.ok(error instanceof HoldfastError);
    assert.deepEqual([error.code, error.message, error.data], ['write-failed', 'above', { pack: 7 }]);
    const cause = error.cause as HoldfastError;
    assert.ok(cause instanceof HoldfastError);
    assert.deepEqual([cause.code, cause.data], ['object-damaged', { id: 'ab' }]);
    assert.equal((cause.cause as Error).message, 'deepest');
    return true;
  });
  await assert.rejects(pool.call(0, 'theirs', undefined), (error: Error) => {
    assert.ok(!(error instanceof HoldfastError));
    assert.match(error.stack ?? '', /RangeError: not ours/);
    return error.message === 'not ours';
  });
  await assert.rejects(pool.call(0, 'text', undefined), { message: 'just text' });
  await assert.rejects(pool.call(0, 'fake', undefined), (error: Error) => !(error instanceof HoldfastError));
  await assert.rejects(pool.call(0, 'none', undefined), { message: 'no method none' });
  await assert.rejects(pool.call(0, 'uncloneable', undefined), /could not be cloned/);
  assert.equal(await pool.call(0, 'echo', 'still there'), 'still there');
});

test('all waits for every thread and then raises the first failure', async (t) => {
  const pool = await start(t, 3);
  const slow = pool.call(2, 'sleep', { ms: 50, name: 'slow' });
  let slowIsDone = false;
  const noted = slow.then(() => {
    slowIsDone = true;
  });
  await assert.rejects(pool.all('ours', undefined), { code: 'write-failed' });
  assert.ok(slowIsDone);
  await noted;
});

test('announcements reach the owner, in order and before the result of the call', async (t) => {
  const events: unknown[] = [];
  const pool = await start(t, 1, (event, argument) => events.push([event, argument]));
  for (const n of [1, 2]) await pool.call(0, 'announce', n);
  assert.deepEqual(events, [
    ['seen', 1],
    ['seen', 2],
  ]);
});

for (const [death, message] of [
  ['die', /ended with code 3/],
  ['crash', /nobody catches this/],
] as const) {
  test(`a thread that dies (${death}) fails every call that waits, and every later one`, async (t) => {
    const pool = await start(t, 2);
    const waiting = [pool.call(0, 'hang', undefined), pool.call(1, death, undefined), pool.call(1, 'echo', 1)];
    for (const outcome of await Promise.allSettled(waiting)) {
      assert.equal(outcome.status, 'rejected');
      assert.match(String((outcome as PromiseRejectedResult).reason), message);
    }
    await assert.rejects(pool.call(0, 'echo', 1), message);
    // Its end is told after its error: by now both were heard.
    await sleep(50);
    await assert.rejects(pool.call(0, 'echo', 1), message);
  });
}

test('a program that is not there fails the first call', async (t) => {
  const pool = WorkerPool.start(new URL('file:///nowhere/worker.mjs'), 1);
  t.after(() => pool.close());
  await assert.rejects(pool.call(0, 'echo', 1), /Cannot find module|ended with code/);
});

test('closing rejects what waits and what comes later; nothing hangs', async (t) => {
  const pool = await start(t, 2);
  await pool.all('echo', 1);
  const waiting = assert.rejects(pool.call(0, 'hang', undefined), /closed/);
  await pool.close();
  await waiting;
  await assert.rejects(pool.call(0, 'echo', 1), /closed/);
  await pool.close();
});

test('calls are served in worker threads only', () => {
  assert.throws(() => serveCalls({}), /worker thread/);
});
