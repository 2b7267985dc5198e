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

test('blocks that ascend and do not follow each other are no neighbours; those that are make one view', async () => {
  const { cache, piece, bytesOf } = rig(8);
  const held = await cache.acquire(
    0,
    [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => piece(seed)),
  );
  // Given back from the end, so that those that come first are taken first.
  for (const place of [6, 4, 2]) cache.release([held[place]!]);
  for (let seed = 10; seed < 13; seed++) cache.release(await cache.acquire(0, [piece(seed)]));
  const long = piece(9, 2 * SLAB_BLOCK_BYTES + 5);
  const [got] = (await cache.acquire(0, [long])) as [CachedPiece];
  assert.deepEqual(
    [...got.blocks],
    [...got.blocks].sort((a, b) => a - b),
    'the case that is meant',
  );
  assert.ok(bytesOf(got, long).equals(pattern(long.length, 9)));
  assert.equal(cache.views(got, 0, long.length).length, 3);
  const other = rig(4);
  const [row] = (await other.cache.acquire(0, [other.piece(1, 4 * SLAB_BLOCK_BYTES)])) as [CachedPiece];
  assert.equal(other.cache.views(row, 100, 3 * SLAB_BLOCK_BYTES).length, 1);
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
  cache.release(pinned);
});

test('without room for all pieces none is taken, and none counts as loaded that nobody loaded', async () => {
  const { store, cache, piece, bytesOf } = rig(3);
  const [a, b, c, d, e] = [piece(1), piece(2), piece(3), piece(4), piece(5)];
  const pinned = await cache.acquire(0, [a, b]);
  for (let time = 0; time < 3; time++) {
    await assert.rejects(cache.acquire(0, [a, c, d]), /more pieces are pinned/);
    assert.throws(() => cache.prefetch(0, [b, d, c]), /more pieces are pinned/);
  }
  const [held] = (await cache.acquire(0, [c])) as [CachedPiece];
  assert.ok(bytesOf(held, c).equals(pattern(c.length, 3)), 'it is loaded now');
  cache.release([held]);
  cache.release(pinned);
  store.loads.length = 0;
  cache.release(await cache.acquire(0, [c, d, e]));
  assert.deepEqual(store.loads, [2], 'all of it is free again, and c is still there');
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

test('a thread that ends takes no piece for loaded, and keeps no memory; one of another length is another piece', async () => {
  const store = new MemoryStore();
  const slab = new SharedArrayBuffer(3 * SLAB_BLOCK_BYTES);
  let ended = true;
  const cache = new PieceCache(slab, async (work) => {
    if (ended) throw new Error('a worker thread ended');
    return await store.load(slab, work);
  });
  const pieces = [1, 2, 3].map((seed) => ({
    id: store.put(Kind.data, NONE, pattern(SLAB_BLOCK_BYTES, seed)),
    length: SLAB_BLOCK_BYTES,
  }));
  for (let time = 0; time < 3; time++) {
    await assert.rejects(cache.acquire(0, pieces), (error: PieceFailure) => {
      assert.equal(error.known, undefined, 'no fault of the datastore');
      return /a worker thread ended/.test(error.message);
    });
    assert.ok(cache.prefetch(0, pieces));
    await new Promise((resolve) => setImmediate(resolve));
  }
  ended = false;
  const held = await cache.acquire(0, pieces);
  held.forEach((each, place) => {
    assert.ok(Buffer.concat(cache.views(each, 0, SLAB_BLOCK_BYTES)).equals(pattern(SLAB_BLOCK_BYTES, place + 1)));
  });
  cache.release(held);
  store.loads.length = 0;
  const shorter = { ...pieces[0]!, length: 100 };
  store.bad.add(shorter.id.toString('hex'));
  await assert.rejects(cache.acquire(0, [shorter]), { place: 0 });
  assert.deepEqual(store.loads, [1]);
});

test('who asks again for a piece that fails has it loaded again, while the first one is still held by others', async () => {
  const { store, cache, piece, bytesOf } = rig(3);
  const [a, b] = [piece(1), piece(2)];
  const opened: (() => void)[] = [];
  const hold = (): void => {
    store.gate = new Promise((resolve) => void opened.push(resolve));
  };
  store.bad.add(a.id.toString('hex'));
  hold();
  const first = cache.acquire(0, [a]);
  hold();
  // Fails with the first, but waits for the second of its pieces.
  const both = cache.acquire(0, [a, b]);
  opened[0]!();
  await assert.rejects(first, PieceFailure);
  store.bad.clear();
  store.gate = Promise.resolve();
  const again = (await cache.acquire(0, [a])) as [CachedPiece];
  opened[1]!();
  await assert.rejects(both, { place: 0 });
  assert.ok(bytesOf(again[0], a).equals(pattern(a.length, 1)));
  cache.release(again);
  store.loads.length = 0;
  cache.release(await cache.acquire(0, [a]));
  assert.deepEqual(store.loads, [], 'the end of the failed one has not thrown out the good one');
});

test('a piece that is read ahead twice in one go is free after it', async () => {
  const { cache, piece } = rig(1);
  const a = piece(1);
  assert.ok(cache.prefetch(0, [a, a]));
  cache.release(await cache.acquire(0, [a]));
  cache.release(await cache.acquire(0, [piece(2)]));
});
