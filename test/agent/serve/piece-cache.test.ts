// The cache of decoded pieces: loads once, keeps what is pinned, gives way in order of use, forgets what failed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CachedPiece,
  type DataPiece,
  MIN_CACHE_BYTES,
  PieceCache,
  PieceFailure,
} from '../../../src/agent/serve/piece-cache.ts';
import { SLAB_BLOCK_BYTES } from '../../../src/agent/serve/slab.ts';
import { Kind } from '../../../src/chunker/object.ts';
import { pattern } from '../nbd/servers.ts';
import { MemoryStore } from './rig.ts';

const NONE = new Uint8Array(0);

function rig(blocks: number) {
  const store = new MemoryStore();
  const slab = new SharedArrayBuffer(blocks * SLAB_BLOCK_BYTES);
  const cache = new PieceCache(slab, (work) => store.load(slab, work));
  const piece = (seed: number, length = SLAB_BLOCK_BYTES): DataPiece => ({
    id: store.put(Kind.data, NONE, pattern(length, seed)),
    length,
  });
  const bytesOf = (held: CachedPiece, { length }: DataPiece, start = 0, end = length): Buffer =>
    Buffer.concat(cache.views(held, start, end));
  return { store, cache, piece, bytesOf };
}

test('pieces of any length come back, whole and in part, also in blocks that do not follow each other', async () => {
  const { cache, piece, bytesOf } = rig(8);
  const small = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => piece(seed));
  const held = await cache.acquire(0, small);
  cache.release(held.filter((_, place) => place % 2 === 1));
  const long = piece(9, 3 * SLAB_BLOCK_BYTES + 777);
  const [got] = (await cache.acquire(0, [long])) as [CachedPiece];
  assert.ok(bytesOf(got, long).equals(pattern(long.length, 9)));
  for (const [start, end] of [
    [1, 2],
    [SLAB_BLOCK_BYTES - 1, SLAB_BLOCK_BYTES + 1],
    [5000, long.length],
    [3 * SLAB_BLOCK_BYTES, long.length],
  ])
    assert.ok(
      bytesOf(got, long, start, end).equals(pattern(long.length, 9).subarray(start, end)),
      `${start} to ${end}`,
    );
  held.forEach((each, place) => {
    if (place % 2 === 0) assert.ok(bytesOf(each, small[place]!).equals(pattern(SLAB_BLOCK_BYTES, place + 1)), 'pinned');
  });
});

test('what is asked for by several at once, or twice in a row, is loaded once', async () => {
  const { store, cache, piece } = rig(8);
  const [a, b] = [piece(1), piece(2)];
  const both = await Promise.all([cache.acquire(0, [a, b, a]), cache.acquire(0, [b])]);
  for (const held of both) cache.release(held);
  cache.release(await cache.acquire(0, [a]));
  assert.deepEqual(store.loads, [2]);
  await cache.acquire(1, [a]);
  assert.deepEqual(store.loads, [2, 1], 'an id of another space is another object');
});

test('the piece used least recently gives way, never a pinned one', async () => {
  const { store, cache, piece } = rig(3);
  const [a, b, c, d] = [piece(1), piece(2), piece(3), piece(4)];
  for (const each of [a, b, c, a]) cache.release(await cache.acquire(0, [each]));
  cache.release(await cache.acquire(0, [d]));
  store.loads.length = 0;
  for (const each of [a, c, d]) cache.release(await cache.acquire(0, [each]));
  assert.deepEqual(store.loads, [], 'b went');
  const pinned = await cache.acquire(0, [a, c]);
  cache.release(await cache.acquire(0, [b]));
  cache.release(await cache.acquire(0, [d]));
  assert.deepEqual(store.loads, [1, 1]);
  cache.release(await cache.acquire(0, [a]));
  assert.deepEqual(store.loads, [1, 1]);
  await assert.rejects(cache.acquire(0, [piece(5), piece(6)]), /more pieces are pinned/);
  cache.release(pinned);
});

test('a bad piece fails with its place, keeps no memory, and is tried again', async () => {
  const { store, cache, piece, bytesOf } = rig(3);
  const [a, b, c] = [piece(1), piece(2), piece(3)];
  store.bad.add(b.id.toString('hex'));
  for (let time = 0; time < 10; time++) {
    await assert.rejects(cache.acquire(0, [a, b, c]), (error: PieceFailure) => {
      assert.equal(error.place, 1);
      assert.equal(error.known?.code, 'object-missing');
      return error instanceof PieceFailure;
    });
  }
  store.bad.clear();
  const held = await cache.acquire(0, [a, b, c]);
  assert.ok(bytesOf(held[1]!, b).equals(pattern(b.length, 2)));
  cache.release(held);
});

test('read-ahead loads what is missing, pins nothing after it, and stops at its bound', async () => {
  const { store, cache, piece } = rig(MIN_CACHE_BYTES / SLAB_BLOCK_BYTES);
  let open = (): void => {};
  store.gate = new Promise((resolve) => {
    open = resolve;
  });
  let loads = 0;
  for (let seed = 1; cache.prefetch(0, [piece(seed, 1024 * 1024)]); seed++) loads++;
  assert.equal(loads, 16, '16 MiB');
  const wanted = piece(1, 1024 * 1024);
  const waiting = cache.acquire(0, [wanted]);
  open();
  cache.release(await waiting);
  assert.equal(store.loads.length, 16, 'and whoever wants it then waits for that');
  assert.ok(cache.prefetch(0, [wanted]), 'there is room again');
  const pieces = Array.from({ length: MIN_CACHE_BYTES / 1024 / 1024 }, (_, place) => piece(100 + place, 1024 * 1024));
  cache.release(await cache.acquire(0, pieces));
});
