import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeList, ListBuilder, type ListEntry } from '../../src/chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES, type StoredObject } from '../../src/chunker/object.ts';
import { IdHasher } from '../../src/chunker/object-id.ts';
import { PageBuilder } from '../../src/chunker/page.ts';
import { type DamagedRange, type DamageSource, DamageWalk } from '../../src/datastore/damage.ts';
import type { Archive } from '../../src/schema/manifest.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const MIB = 1024 * 1024;

const damagedRanges = (source: DamageSource, archive: Archive): DamagedRange[] =>
  new DamageWalk(source).ranges(archive);

/** A store in memory; objects may be known bad, or found bad when they are read. */
class Memory implements DamageSource {
  readonly objects = new Map<string, StoredObject>();
  readonly lost = new Set<string>();
  readonly unreadable = new Set<string>();
  readonly read = (id: ObjectId): StoredObject => {
    const text = id.toString('hex');
    if (this.unreadable.has(text)) throw new HoldfastError('object-damaged', 'bad');
    return this.objects.get(text)!;
  };
  readonly isReadable = (id: ObjectId): boolean => !this.lost.has(id.toString('hex'));
  readonly #hasher = new IdHasher();

  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    const id = this.#hasher.id(kind, refs, payload);
    this.objects.set(id.toString('hex'), { kind, refs: Buffer.from(refs), payload: Buffer.from(payload) });
    return id;
  }

  data(text: string): ObjectId {
    return this.put(Kind.data, Buffer.alloc(0), Buffer.from(text));
  }

  page(pieces: readonly [number, ObjectId | undefined][]): ObjectId {
    const builder = new PageBuilder();
    for (const [length, id] of pieces) {
      if (id === undefined) builder.addHole(length);
      else builder.addData(length, id);
    }
    const { refs, payload } = builder.finish();
    return this.put(Kind.page, refs, payload);
  }
}

async function imageOf(memory: Memory, entries: readonly ListEntry[], leafKind: number = Kind.page): Promise<Archive> {
  const builder = new ListBuilder(leafKind, async (kind, refs, payload) => memory.put(kind, refs, payload));
  for (const entry of entries) await builder.add(entry);
  const sizeBytes = entries.reduce((sum, entry) => sum + entry.length, 0);
  return { name: 'disk.img', kind: 'image', sizeBytes, root: (await builder.finish()).toString('hex') };
}

const range = (offset: number, length: number) => ({ archive: 'disk.img', offset, length });

test('the ranges of lost data, of lost pages, and of a lost root; neighbours joined', async () => {
  const memory = new Memory();
  const [a, b, c] = ['a', 'b', 'c'].map((text) => memory.data(text)) as [ObjectId, ObjectId, ObjectId];
  const page = memory.page([
    [MIB, a],
    [MIB, b],
    [2 * MIB, undefined],
    [MIB, c],
    [11 * MIB, a],
  ]);
  const other = memory.page([
    [MIB, c],
    [15 * MIB, undefined],
  ]);
  const image = await imageOf(memory, [
    { length: PAGE_BYTES, id: page },
    { length: PAGE_BYTES, id: undefined },
    { length: PAGE_BYTES, id: other },
  ]);
  const after = (...ids: ObjectId[]) => {
    memory.lost.clear();
    for (const id of ids) memory.lost.add(id.toString('hex'));
    return damagedRanges(memory, image);
  };
  assert.deepEqual(after(), []);
  assert.deepEqual(after(b), [range(MIB, MIB)]);
  assert.deepEqual(after(a, b), [range(0, 2 * MIB), range(5 * MIB, 11 * MIB)]);
  assert.deepEqual(after(c), [range(4 * MIB, MIB), range(2 * PAGE_BYTES, MIB)]);
  assert.deepEqual(after(page), [range(0, PAGE_BYTES)]);
  assert.deepEqual(after(page, other), [range(0, PAGE_BYTES), range(2 * PAGE_BYTES, PAGE_BYTES)]);
  assert.deepEqual(after(Buffer.from(image.root, 'hex') as ObjectId), [range(0, 3 * PAGE_BYTES)]);
});

test('an object that turns out bad while it is read counts as lost', async () => {
  const memory = new Memory();
  const page = memory.page([[PAGE_BYTES, memory.data('a')]]);
  const image = await imageOf(memory, [{ length: PAGE_BYTES, id: page }]);
  memory.unreadable.add(page.toString('hex'));
  assert.deepEqual(damagedRanges(memory, image), [range(0, PAGE_BYTES)]);
  memory.read.bind(memory);
  const failing: DamageSource = {
    isReadable: () => true,
    read: () => {
      throw new TypeError('a bug');
    },
  };
  assert.throws(() => damagedRanges(failing, image), TypeError);
});

test('a page or list that is malformed, or of another kind than it should be, is damage and not the end', async () => {
  const memory = new Memory();
  const good = memory.page([[PAGE_BYTES, memory.data('good')]]);
  const bad = [
    memory.put(Kind.page, Buffer.alloc(0), Buffer.from('not a page')),
    memory.put(Kind.page, Buffer.alloc(32), Buffer.from('0100000000000000', 'hex')),
    memory.put(Kind.list, Buffer.alloc(0), Buffer.from('not a list')),
    memory.data('data where a page should be'),
    memory.put(77, Buffer.alloc(0), Buffer.alloc(3)),
  ];
  for (const id of bad) {
    const image = await imageOf(memory, [
      { length: PAGE_BYTES, id: good },
      { length: PAGE_BYTES, id },
      { length: PAGE_BYTES, id: good },
    ]);
    assert.deepEqual(damagedRanges(memory, image), [range(PAGE_BYTES, PAGE_BYTES)]);
  }
});

test('streams and blobs', async () => {
  const memory = new Memory();
  const [a, b] = [memory.data('a'), memory.data('b')];
  const stream = {
    ...(await imageOf(
      memory,
      [
        { length: 100, id: a },
        { length: 50, id: b },
      ],
      Kind.data,
    )),
    kind: 'stream' as const,
  };
  memory.lost.add(b.toString('hex'));
  assert.deepEqual(damagedRanges(memory, stream), [range(100, 50)]);
  const blob: Archive = { name: 'disk.img', kind: 'blob', sizeBytes: 7, root: a.toString('hex') };
  assert.deepEqual(damagedRanges(memory, blob), []);
  assert.deepEqual(damagedRanges(memory, { ...blob, root: b.toString('hex') }), [range(0, 7)]);
});

test('in trees of several levels, any set of lost pieces gives exactly their bytes', async () => {
  const memory = new Memory();
  const leaves = Array.from({ length: 2500 }, (_, n) => ({ length: 1 + (n % 3), id: memory.data(`leaf ${n}`) }));
  const stream = await imageOf(memory, leaves, Kind.data);
  const offsets = leaves.map((_, n) => leaves.slice(0, n).reduce((sum, leaf) => sum + leaf.length, 0));
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(leaves.length - 1), { maxLength: 12 }), (lost) => {
      memory.lost.clear();
      for (const n of lost) memory.lost.add(leaves[n]!.id.toString('hex'));
      const found = new Set(
        damagedRanges(memory, stream).flatMap(({ offset, length }) => Array.from({ length }, (_, n) => offset + n)),
      );
      const expected = new Set(
        lost.flatMap((n) => Array.from({ length: leaves[n]!.length }, (_, at) => offsets[n]! + at)),
      );
      assert.deepEqual([...found].sort(), [...expected].sort());
    }),
    { numRuns: 10 },
  );
});

test('an empty list has no ranges', () => {
  const memory = new Memory();
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries: [] });
  const root = memory.put(Kind.list, refs, payload).toString('hex');
  assert.deepEqual(damagedRanges(memory, { name: 'disk.img', kind: 'image', sizeBytes: 0, root }), []);
});

/** A store that counts how often each object is read. */
class Counting extends Memory {
  reads = 0;
  override readonly read = (id: ObjectId): StoredObject => {
    this.reads++;
    return this.objects.get(id.toString('hex'))!;
  };
}

test('snapshots that share trees cost one walk, and damage in what they share is named in each', async () => {
  const memory = new Counting();
  const pages = Array.from({ length: 1500 }, (_, n) => ({
    length: PAGE_BYTES,
    id: memory.page([[PAGE_BYTES, memory.data(`shared ${n}`)]]),
  }));
  const archives: Archive[] = [];
  for (let night = 0; night < 30; night++) {
    pages[1200 + night] = { length: PAGE_BYTES, id: memory.page([[PAGE_BYTES, memory.data(`night ${night}`)]]) };
    archives.push(await imageOf(memory, pages));
  }
  memory.lost.add(memory.data('shared 7').toString('hex'));
  const walk = new DamageWalk(memory);
  for (const archive of archives) assert.deepEqual(walk.ranges(archive), [range(7 * PAGE_BYTES, PAGE_BYTES)]);
  // 1,500 pages, a changed one each night, and each night the list above it and the root; the first list is shared.
  assert.ok(memory.reads <= 1500 + 30 + 2 * 30 + 1, `${memory.reads} reads`);
});

test('a tree that names one list again and again costs no more than its objects, and its ranges are bounded', () => {
  const memory = new Counting();
  const lost = memory.data('lost');
  memory.lost.add(lost.toString('hex'));
  const good = memory.data('good');
  let length = 3;
  let { refs, payload } = encodeList({
    childKind: Kind.data,
    height: 1,
    entries: [
      { length: 1, id: good },
      { length: 1, id: lost },
      { length: 1, id: good },
    ],
  });
  let id = memory.put(Kind.list, refs, payload);
  for (let height = 2; height <= 5; height++) {
    const child = { length, id };
    ({ refs, payload } = encodeList({
      childKind: Kind.list,
      height,
      entries: Array.from({ length: 1000 }, () => child),
    }));
    length *= 1000;
    id = memory.put(Kind.list, refs, payload);
  }
  const archive: Archive = { name: 'disk.img', kind: 'stream', sizeBytes: length, root: id.toString('hex') };
  const ranges = new DamageWalk(memory, 500).ranges(archive);
  assert.equal(memory.reads, 5);
  assert.equal(ranges.length, 500);
  assert.deepEqual(ranges.slice(0, 2), [range(1, 1), range(4, 1)]);
  const last = ranges.at(-1)!;
  assert.equal(last.offset + last.length, length - 1, 'the last one covers all damage that is left');
  for (const [place, each] of ranges.entries())
    if (place > 0) assert.ok(each.offset > ranges[place - 1]!.offset + ranges[place - 1]!.length);
});
