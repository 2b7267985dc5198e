// Served disks against what they are made of: any range reads as the disk does, any block status tells its holes, within the bounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { STATE_HOLE, STATE_ZERO } from '../../../src/agent/nbd/protocol.ts';
import type { DiskSession } from '../../../src/agent/nbd/served-disk.ts';
import { NodeCache } from '../../../src/agent/serve/disk-node.ts';
import { MIN_CACHE_BYTES, PieceCache } from '../../../src/agent/serve/piece-cache.ts';
import { SESSION_PINNED_BYTES, type ServeEnvironment, SnapshotDisk } from '../../../src/agent/serve/snapshot-disk.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, LIST_FANOUT, type ObjectId, PAGE_BYTES } from '../../../src/chunker/object.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import { MemoryStore, type Piece } from './rig.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

function serve(
  store: MemoryStore,
  archive: Archive,
  slabBytes = MIN_CACHE_BYTES,
  change: (pieces: PieceCache) => ServeEnvironment['pieces'] = (pieces) => pieces,
): DiskSession {
  const slab = new SharedArrayBuffer(slabBytes);
  const environment = {
    pieces: change(new PieceCache(slab, (work) => store.load(slab, work))),
    nodes: new NodeCache(64 * KiB),
    read: async (_: number, id: ObjectId) => store.get(id),
  };
  return new SnapshotDisk({ label: 'a disk', archive, space: 0, isFixed: true }, environment).connect();
}

async function read(session: DiskSession, offset: number, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let at = offset;
  for await (const part of session.read(offset, length)) {
    assert.equal(part.offset, at);
    at += part.length;
    parts.push(part.views === undefined ? Buffer.alloc(part.length) : Buffer.concat(part.views));
    assert.equal(parts.at(-1)!.length, part.length);
    part.release();
  }
  assert.equal(at, offset + length);
  return Buffer.concat(parts);
}

const piece: fc.Arbitrary<Piece> = fc.record({
  length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 100 * KiB, max: MiB })),
  seed: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined, freq: 2 }),
});

test('any range of any disk reads as the disk, and holes are told where they are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece, { minLength: 1, maxLength: 60 }),
      fc.array(fc.nat(), { minLength: 4 }),
      async (pieces, numbers) => {
        const store = new MemoryStore();
        const { archive, content } = await store.image(pieces);
        const session = serve(store, archive);
        for (let place = 0; place + 1 < numbers.length; place++) {
          const offset = numbers[place]! % content.length;
          const length = 1 + (numbers[place + 1]! % (content.length - offset));
          assert.ok((await read(session, offset, length)).equals(content.subarray(offset, offset + length)));
          const extents = await session.extents(offset, length, false);
          assert.deepEqual(await session.extents(offset, length, true), extents.slice(0, 1));
          let at = offset;
          extents.forEach((extent, index) => {
            assert.equal(extent.offset, at);
            assert.ok(extent.length > 0);
            assert.notEqual(extent.flags, extents[index + 1]?.flags);
            at += extent.length;
            const isZero = content.subarray(extent.offset, at).every((byte) => byte === 0);
            assert.equal(extent.flags, isZero ? STATE_HOLE | STATE_ZERO : 0);
          });
          assert.equal(at, offset + length);
        }
      },
    ),
    { numRuns: 25 },
  );
});

test('a hole of a whole page takes no reading of data or pages', async () => {
  const store = new MemoryStore();
  const { archive } = await store.image([{ length: 3 * PAGE_BYTES, seed: undefined }]);
  const session = serve(store, archive);
  assert.ok((await read(session, 5, 40 * MiB)).every((byte) => byte === 0));
  assert.deepEqual(await session.extents(0, 40 * MiB, false), [{ offset: 0, length: 40 * MiB, flags: 3 }]);
  assert.deepEqual([store.reads, store.loads], [1, []], 'the root alone');
});

test('parts that are not released hold the next one back', async () => {
  const store = new MemoryStore();
  const { archive } = await store.image(
    Array.from({ length: 64 }, (_, seed) => ({ length: 256 * KiB, seed: seed + 1 })),
  );
  const session = serve(store, archive);
  const parts = session.read(0, 16 * MiB)[Symbol.asyncIterator]();
  const held = [];
  let pinnedBytes = 0;
  for (;;) {
    const next = parts.next();
    const part = await Promise.race([
      next,
      new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 100)),
    ]);
    if (part === undefined) {
      held.forEach((each) => {
        each.release();
      });
      assert.equal((await next).done, false, 'and it goes on after that');
      break;
    }
    held.push(part.value);
    pinnedBytes += part.value.length;
  }
  assert.ok(pinnedBytes <= SESSION_PINNED_BYTES, `${pinnedBytes}`);
});

test('a reader in order finds the next bytes there already; one at random causes no reading ahead', async () => {
  const store = new MemoryStore();
  const pieces = Array.from({ length: 1024 }, (_, seed) => ({ length: 64 * KiB, seed: seed + 1 }));
  const { archive } = await store.image(pieces);
  const ordered = serve(store, archive);
  for (let at = 0; at < 2 * MiB; at += 64 * KiB) await read(ordered, at, 64 * KiB);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const loaded = store.loads.reduce((sum, count) => sum + count, 0);
  assert.ok(loaded >= 32 + 100 && loaded <= 32 + 160, `${loaded} pieces: 2 MiB and 8 MiB ahead`);
  store.loads.length = 0;
  await read(ordered, 2 * MiB, 6 * MiB);
  const random = serve(store, archive);
  store.loads.length = 0;
  for (const at of [60, 3, 40, 20, 57, 12]) await read(random, at * MiB, 4 * KiB);
  assert.deepEqual(store.loads, [1, 1, 1, 1, 1, 1]);
});

test('a bad piece, page or list: an error with disk and range for what touches it, the rest reads', async () => {
  const store = new MemoryStore();
  const pieces = Array.from({ length: 48 }, (_, seed) => ({ length: MiB, seed: seed + 1 }));
  const { archive, content } = await store.image(pieces);
  const session = serve(store, archive);
  const spoil = (kind: number, place: number): string => {
    const [hex] = [...store.objects].filter(([, object]) => object.kind === kind)[place]!;
    store.bad.add(hex);
    return hex;
  };
  spoil(Kind.data, 5);
  await assert.rejects(
    read(session, 5 * MiB + 7, 1),
    /a disk: bytes 5242880 to 6291455 cannot be read: object .* is missing/,
  );
  await assert.rejects(read(session, 4 * MiB, 16 * MiB), { code: 'object-missing' });
  assert.ok((await read(session, 0, 5 * MiB)).equals(content.subarray(0, 5 * MiB)));
  assert.ok((await read(session, 6 * MiB, 40 * MiB)).equals(content.subarray(6 * MiB, 46 * MiB)));
  const page = spoil(Kind.page, 1);
  const fresh = serve(store, archive);
  await assert.rejects(read(fresh, 20 * MiB, 1), /byte 20971520 and what follows cannot be read/);
  assert.ok((await read(fresh, 32 * MiB, 16 * MiB)).equals(content.subarray(32 * MiB)));
  assert.deepEqual(
    await fresh.extents(0, 48 * MiB, false),
    [{ offset: 0, length: 16 * MiB, flags: 0 }],
    'as far as is known',
  );
  await assert.rejects(fresh.extents(16 * MiB, MiB, false), { code: 'object-missing' });
  store.bad.delete(page);
  assert.ok((await read(fresh, 20 * MiB, MiB)).equals(content.subarray(20 * MiB, 21 * MiB)), 'healed');
});

test('metadata that contradicts itself is damage, not a crash', async () => {
  const store = new MemoryStore();
  const { archive } = await store.image([{ length: MiB, seed: 1 }]);
  await assert.rejects(read(serve(store, { ...archive, sizeBytes: MiB + 1 }), 0, 1), { code: 'object-damaged' });
  const data = [...store.objects].find(([, object]) => object.kind === Kind.data)![0];
  await assert.rejects(read(serve(store, { ...archive, root: data }), 0, 1), { code: 'object-damaged' });
  let root = Buffer.from(archive.root, 'hex') as ObjectId;
  for (let height = 2; height < 20; height++) {
    const { refs, payload } = encodeList({ childKind: Kind.list, height, entries: [{ length: MiB, id: root }] });
    root = store.put(Kind.list, refs, payload);
  }
  await assert.rejects(read(serve(store, { ...archive, root: root.toString('hex') }), 0, 1), {
    code: 'object-damaged',
  });
});

/** Lists of data right below each other, `children` in each. */
function listsOfData(store: MemoryStore, lists: number, children: number, isHole: (child: number) => boolean): Archive {
  const ids = Array.from({ length: lists }, (_, list) => {
    const entries = Array.from({ length: children }, (_, child) => ({
      length: 1,
      id: isHole(child) ? undefined : (Buffer.alloc(32, list + 1) as ObjectId),
    }));
    const { refs, payload } = encodeList({ childKind: Kind.data, height: 1, entries });
    return store.put(Kind.list, refs, payload);
  });
  const top = encodeList({ childKind: Kind.list, height: 2, entries: ids.map((id) => ({ length: children, id })) });
  const root = store.put(Kind.list, top.refs, top.payload).toString('hex');
  return { name: 'disk0.img', kind: 'image', sizeBytes: lists * children, root };
}

test('one answer to a block status tells 16,384 extents or looks at 64 lists or pages, and what follows is asked for again', async () => {
  const store = new MemoryStore();
  const many = serve(
    store,
    listsOfData(store, 20, LIST_FANOUT, (child) => child % 2 === 1),
  );
  const first = await many.extents(0, 20 * LIST_FANOUT, false);
  assert.deepEqual(
    [first.length, first.at(-1)],
    [16_384, { offset: 16_383, length: 1, flags: STATE_HOLE | STATE_ZERO }],
  );
  assert.equal((await many.extents(16_384, 20 * LIST_FANOUT - 16_384, false)).length, 20 * LIST_FANOUT - 16_384);
  const long = serve(
    store,
    listsOfData(store, 100, 3, () => false),
  );
  assert.deepEqual(await long.extents(0, 300, false), [{ offset: 0, length: 64 * 3, flags: 0 }]);
  assert.deepEqual(await long.extents(192, 108, false), [{ offset: 192, length: 108, flags: 0 }]);
});

test('a whole disk is read through little memory, and reads that fail take none of it', {
  timeout: 20_000,
}, async () => {
  const store = new MemoryStore();
  const pieces = Array.from({ length: 40 }, (_, seed) => ({ length: 400 * KiB, seed: seed + 1 }));
  const { archive, content } = await store.image(pieces);
  const [bad] = [...store.objects].find(([, { kind }]) => kind === Kind.data)!;
  store.bad.add(bad);
  const session = serve(store, archive, SESSION_PINNED_BYTES, (cache) => ({
    acquire: (space, wanted) => cache.acquire(space, wanted),
    release: (held) => cache.release(held),
    views: (piece, start, end) => cache.views(piece, start, end),
    prefetch: () => true,
  }));
  for (let time = 0; time < 20; time++) await assert.rejects(read(session, 0, 400 * KiB), { code: 'object-missing' });
  store.bad.clear();
  assert.ok((await read(session, 0, content.length)).equals(content));
});

test('a piece that is longer than any that is cut is damage; of several pieces the bad one is named', async () => {
  const store = new MemoryStore();
  const { archive } = await store.image([
    { length: MiB, seed: 1 },
    { length: MiB + 1, seed: 2 },
  ]);
  const session = serve(store, archive);
  await read(session, 0, MiB);
  await assert.rejects(read(session, MiB + 5, 1), /bytes 1048576 to 2097152 cannot be read: the piece is too long/);
  const parts = new MemoryStore();
  const image = await parts.image([1, 2, 3].map((seed) => ({ length: 100_000, seed })));
  const [, [second]] = [...parts.objects].filter(([, { kind }]) => kind === Kind.data) as [unknown, [string, unknown]];
  parts.bad.add(second);
  await assert.rejects(read(serve(parts, image.archive), 50_000, 200_000), /bytes 100000 to 199999 cannot be read/);
});

/** Reads from `start` to `end` in order, 64 KiB at a time. */
async function readInOrder(session: DiskSession, start: number, end: number): Promise<void> {
  for (let at = start; at < end; at += 64 * KiB) await read(session, at, 64 * KiB);
}

test('reading ahead goes on with the reader, offers each piece once, and again when there was no room for it', async () => {
  const store = new MemoryStore();
  const pieces = Array.from({ length: 512 }, (_, seed) => ({ length: 64 * KiB, seed: seed + 1 }));
  const { archive } = await store.image(pieces);
  const offered: string[] = [];
  let refusals = 2;
  const session = serve(store, archive, MIN_CACHE_BYTES, (cache) => ({
    acquire: (space, wanted) => cache.acquire(space, wanted),
    release: (held) => cache.release(held),
    views: (piece, start, end) => cache.views(piece, start, end),
    prefetch: (space, wanted) => {
      if (refusals-- > 0) return false;
      offered.push(...wanted.map(({ id }) => id.toString('hex')));
      return cache.prefetch(space, wanted);
    },
  }));
  await readInOrder(session, 0, 32 * MiB);
  const ids = [...store.objects].filter(([, { kind }]) => kind === Kind.data).map(([hex]) => hex);
  // Trusted with the eighth request, and refused with it and the next.
  assert.deepEqual(offered, ids.slice(10));
});

test('a page that cannot be read is tried once by reading ahead, and not with every request before it', async () => {
  const store = new MemoryStore();
  const pieces = Array.from({ length: 768 }, (_, seed) => ({ length: 64 * KiB, seed: seed + 1 }));
  const { archive } = await store.image(pieces);
  const [, [page]] = [...store.objects].filter(([, { kind }]) => kind === Kind.page) as [unknown, [string, unknown]];
  store.bad.add(page);
  const session = serve(store, archive);
  store.reads = 0;
  await readInOrder(session, 4 * MiB, 16 * MiB);
  const data = store.loads.reduce((sum, count) => sum + count, 0);
  assert.deepEqual([data, store.reads], [192, 192 + 3], 'the data, the list, the page before it, and that page');
});

test('a range that a client says it will ask for is loaded before it does', async () => {
  const store = new MemoryStore();
  const pieces = Array.from({ length: 64 }, (_, seed) => ({ length: 64 * KiB, seed: seed + 1 }));
  const { archive } = await store.image(pieces);
  const session = serve(store, archive);
  session.prefetch(MiB, MiB);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(store.loads, [16]);
  await read(session, MiB, 256 * KiB);
  assert.deepEqual(store.loads, [16]);
  session.prefetch(3 * MiB, 100 * MiB);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(store.loads, [16, 16], 'as far as the disk goes');
});
