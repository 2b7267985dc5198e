import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { SharedBuffers } from '../../src/util/shared-buffers.ts';
import { WorkerPool } from '../../src/util/worker-pool.ts';
import { bundle } from './bundle.ts';

function open(t: TestContext, channel: string): SharedBuffers {
  const buffers = new SharedBuffers(channel);
  t.after(() => buffers.close());
  return buffers;
}

test('what one adds the others have, at once and as the same memory', (t) => {
  const channel = randomUUID();
  const [a, b, c] = [open(t, channel), open(t, channel), open(t, channel)];
  const buffer = a.add('table', 64);
  assert.equal(a.get('table'), buffer);
  new Uint8Array(buffer)[3] = 7;
  for (const other of [b, c]) {
    const view = new Uint8Array(other.get('table'));
    assert.equal(view.length, 64);
    assert.equal(view[3], 7);
  }
  new Uint8Array(b.get('table'))[4] = 8;
  assert.equal(new Uint8Array(buffer)[4], 8);
});

test('another channel has nothing to do with it', (t) => {
  const a = open(t, randomUUID());
  const b = open(t, randomUUID());
  a.add('table', 8);
  assert.deepEqual([...b.snapshot().keys()], []);
});

test('who joins later adopts a snapshot, and hears of what comes after it', (t) => {
  const a = open(t, randomUUID());
  a.add('early', 8);
  const b = open(t, a.channelName);
  const snapshot = a.snapshot();
  a.add('late', 16);
  b.adopt(snapshot);
  assert.deepEqual([b.get('early').byteLength, b.get('late').byteLength], [8, 16]);
  assert.deepEqual([...b.snapshot().keys()].sort(), ['early', 'late']);
});

test('what is dropped is gone here, and stays with the others', (t) => {
  const a = open(t, randomUUID());
  const b = open(t, a.channelName);
  a.add('table', 8);
  b.drain();
  a.drop('table');
  assert.deepEqual([...a.snapshot().keys()], []);
  assert.equal(b.get('table').byteLength, 8);
});

test('a name that is announced again means the newer buffer', (t) => {
  const a = open(t, randomUUID());
  const b = open(t, a.channelName);
  a.add('table', 8);
  a.add('table', 24);
  assert.equal(a.get('table').byteLength, 24);
  assert.equal(b.get('table').byteLength, 24);
});

test('a thread in the middle of a computation picks up what another adds', async (t) => {
  const program = `
    import { SharedBuffers } from './util/shared-buffers.ts';
    import { serveCalls } from './util/worker-pool.ts';
    let shared;
    serveCalls({
      listen: (channel) => { shared = new SharedBuffers(channel); },
      // No turn of the event loop between: the flag is set by the other thread.
      spin: ({ flag }) => {
        const word = new Int32Array(flag);
        while (Atomics.load(word, 0) === 0);
        return new Uint8Array(shared.get('late'))[0];
      },
      add: ({ flag }) => {
        const buffer = shared.add('late', 8);
        new Uint8Array(buffer)[0] = 42;
        Atomics.store(new Int32Array(flag), 0, 1);
      },
    });
  `;
  const pool = WorkerPool.start(await bundle(t, program), 2);
  t.after(() => pool.close());
  await pool.all('listen', randomUUID());
  const flag = new SharedArrayBuffer(4);
  const spinning = pool.call<number>(0, 'spin', { flag });
  await pool.call(1, 'add', { flag });
  assert.equal(await spinning, 42);
});
