// Served disks against what they are made of: any range reads as the disk does, any block status tells its holes, within the bounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { STATE_HOLE, STATE_ZERO } from '../../../src/agent/nbd/protocol.ts';
import type { DiskSession } from '../../../src/agent/nbd/served-disk.ts';
import { NodeCache } from '../../../src/agent/serve/disk-node.ts';
import { MIN_CACHE_BYTES, PieceCache } from '../../../src/agent/serve/piece-cache.ts';
import { SESSION_PINNED_BYTES, SnapshotDisk } from '../../../src/agent/serve/snapshot-disk.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES } from '../../../src/chunker/object.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import { MemoryStore, type Piece } from './rig.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

function serve(store: MemoryStore, archive: Archive): DiskSession {
  const slab = new SharedArrayBuffer(MIN_CACHE_BYTES);
  const environment = {
    pieces: new PieceCache(slab, (work) => store.load(slab, work)),
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
