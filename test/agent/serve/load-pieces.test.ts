// Pieces into the slab by the real decoder: each into its own blocks, and those that cannot be had are named and keep none of the others back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectFetcher } from '../../../src/agent/object-sink.ts';
import { PieceRestorer } from '../../../src/agent/restore/piece-restorer.ts';
import { loadPieces } from '../../../src/agent/serve/load-pieces.ts';
import { blocksOf, SLAB_BLOCK_BYTES, slabViews } from '../../../src/agent/serve/slab.ts';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { Kind, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { Arena } from '../../../src/util/arena.ts';
import { pattern } from '../nbd/servers.ts';
import { MemoryStore } from './rig.ts';

const NONE = new Uint8Array(0);
const MAX_PIECE_BYTES = 256 * 1024;
const LENGTHS = [5, SLAB_BLOCK_BYTES, SLAB_BLOCK_BYTES + 1, 100_000, 3 * SLAB_BLOCK_BYTES, 777];

/** Records of a store in memory; what it does not have is delivered as nothing, and refused by `get`. */
class Fetcher implements ObjectFetcher {
  readonly codec = createCodec(undefined);
  readonly #store: MemoryStore;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  get(id: ObjectId): StoredObject {
    return this.#store.get(id);
  }

  fetch(ids: readonly Uint8Array[], deliver: (place: number, record: Uint8Array | undefined) => void): void {
    for (const [place, id] of ids.entries()) {
      const hex = Buffer.from(id).toString('hex');
      const object = this.#store.bad.has(hex) ? undefined : this.#store.objects.get(hex);
      deliver(place, object && this.#record(id, object));
    }
  }

  #record(id: Uint8Array, { kind, refs, payload }: StoredObject): Buffer {
    const target = Buffer.alloc(this.codec.recordBound(refs.length, payload.length));
    return target.subarray(0, this.codec.encode(target, { kind, id, refs, payload }));
  }
}

function rig() {
  const store = new MemoryStore();
  const bytes = PieceRestorer.outputBytes(MAX_PIECE_BYTES);
  const arena = new Arena(65536 + bytes + 8192);
  const restorer = new PieceRestorer(arena.bytes, arena.allocate(bytes));
  const pieces = LENGTHS.map((length, place) => ({
    id: store.put(Kind.data, NONE, pattern(length, place + 1)),
    length,
  }));
  const total = LENGTHS.reduce((sum, length) => sum + blocksOf(length), 0);
  const slab = new Uint8Array(2 * total * SLAB_BLOCK_BYTES).fill(0xee);
  // Every other block, the last first: none follows another.
  const blocks = Int32Array.from({ length: total }, (_, place) => 2 * (total - place) - 1);
  const fetcher = new Fetcher(store);
  return {
    store,
    pieces,
    slab,
    blocks,
    fetcher,
    load: () => loadPieces({ space: 0, pieces, blocks }, slab, restorer, fetcher),
  };
}

function bytesOf({ slab, blocks }: { slab: Uint8Array; blocks: Int32Array }, place: number): Buffer {
  const first = LENGTHS.slice(0, place).reduce((sum, length) => sum + blocksOf(length), 0);
  const own = blocks.subarray(first, first + blocksOf(LENGTHS[place]!));
  return Buffer.concat(slabViews(slab, own, 0, LENGTHS[place]!));
}

test('each piece lies in the blocks that it was given, and nothing is written to others', () => {
  const all = rig();
  assert.deepEqual(all.load(), []);
  LENGTHS.forEach((length, place) => {
    assert.ok(bytesOf(all, place).equals(pattern(length, place + 1)), `piece ${place}`);
  });
  for (let block = 0; block < all.slab.length / SLAB_BLOCK_BYTES; block += 2) {
    const bytes = all.slab.subarray(block * SLAB_BLOCK_BYTES, (block + 1) * SLAB_BLOCK_BYTES);
    assert.ok(
      bytes.every((byte) => byte === 0xee),
      `block ${block} is of nobody`,
    );
  }
});

test('pieces that are lost, or of another length than is said, are named by their places; the others are there', () => {
  const all = rig();
  all.store.bad.add(all.pieces[1]!.id.toString('hex'));
  all.store.bad.add(all.pieces[4]!.id.toString('hex'));
  const { id } = all.pieces[5]!;
  all.store.objects.set(id.toString('hex'), { kind: Kind.data, refs: NONE, payload: pattern(778, 6) });
  assert.deepEqual(
    all.load().map(({ place, error }) => [place, (error as { code?: string }).code]),
    [
      [1, 'object-missing'],
      [4, 'object-missing'],
      [5, 'object-damaged'],
    ],
  );
  for (const place of [0, 2, 3]) assert.ok(bytesOf(all, place).equals(pattern(LENGTHS[place]!, place + 1)), `${place}`);
});

test('a fault that says nothing of the pieces is no failure of theirs', () => {
  const all = rig();
  const { fetcher } = all;
  const fetch = fetcher.fetch.bind(fetcher);
  let calls = 0;
  fetcher.fetch = (ids, deliver) => {
    if (++calls > 1) throw new Error('a disk broke');
    fetch(ids, deliver);
  };
  all.store.bad.add(all.pieces[2]!.id.toString('hex'));
  assert.throws(all.load, /a disk broke/, 'also when they are loaded one by one');
  assert.throws(all.load, /a disk broke/);
  assert.equal(calls, 3, 'which is not done for it');
});
