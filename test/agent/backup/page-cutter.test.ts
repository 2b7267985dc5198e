import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PageResult } from '../../../src/agent/backup/page-cutter.ts';
import { without } from '../../../src/agent/sources/ranges.ts';
import type { Range } from '../../../src/agent/sources/source.ts';
import { diskCutParameters } from '../../../src/chunker/cut-parameters.ts';
import { type ObjectId, PAGE_BYTES } from '../../../src/chunker/object.ts';
import { parsePage } from '../../../src/chunker/page.ts';
import { referenceDiskPieces } from '../../chunker/reference-cutter.ts';
import { pattern } from '../nbd/servers.ts';
import { applyChanges, BLOCK, changes, disks, fillBytes, MemoryReader, makeDisk, PageRig } from './page-rig.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

const hex = (result: PageResult): string | undefined => result.page?.toString('hex');

/** Fails with both lists of pieces when two ways to the same content gave different pages. */
function assertSamePage(rig: PageRig, actual: PageResult, expected: PageResult): void {
  if (hex(actual) === hex(expected)) return;
  const pieces = (result: PageResult): unknown => {
    if (result.page === undefined) return 'zeros';
    const { payload, refs } = rig.sink.get(result.page);
    return parsePage(payload, refs.length / 32).map(
      ({ offset, length, ref }) => `${offset / BLOCK}+${length / BLOCK}${ref < 0 ? ' hole' : ''}`,
    );
  };
  assert.deepEqual(pieces(actual), pieces(expected));
  assert.fail('the pieces are cut alike but their content differs');
}

function totalBytes(ranges: readonly Range[]): number {
  return ranges.reduce((sum, range) => sum + range.length, 0);
}

test('a full read gives the pieces of the reference rule, and every byte', async () => {
  const rig = new PageRig(16 * KiB);
  await fc.assert(
    fc.asyncProperty(disks, async (recipe) => {
      const disk = makeDisk(recipe);
      const { page, bytesRead } = await rig.full(disk);
      assert.equal(bytesRead, disk.length);
      const expected = referenceDiskPieces(disk, diskCutParameters(rig.averageBytes));
      const stored = page === undefined ? undefined : rig.sink.get(page);
      const pieces =
        stored === undefined ? [{ length: disk.length, ref: -1 }] : parsePage(stored.payload, stored.refs.length / 32);
      assert.deepEqual(
        pieces.map(({ length, ref }) => ({ length, hole: ref < 0 })),
        expected,
      );
      assert.ok(rig.sink.pageBytes(page, disk.length).equals(disk));
    }),
    { numRuns: 150 },
  );
});

test('a page that the base has is taken over by its id; another one is put, and learnt from', async () => {
  const rig = new PageRig(16 * KiB);
  const disk = pattern(3 * MiB, 4);
  const before = (await rig.full(disk)).page as ObjectId;
  const objects = rig.sink.objects.size;
  rig.sink.objects.clear();
  const taken: number[] = [];
  const learnt: boolean[] = [];
  const foresight = {
    isWorthIt: true,
    dataId: (offset: number, length: number) => rig.sink.dataId(offset, length),
    take: (_: ObjectId, refs: Uint8Array) => void taken.push(refs.length / 32),
    learn: (wasExpected: boolean) => void learnt.push(wasExpected),
  };
  assert.equal((await rig.expecting(disk, before, foresight)).page?.toString('hex'), before.toString('hex'));
  assert.deepEqual([rig.sink.objects.size, taken, learnt], [0, [objects - 1], []]);
  const changed = Buffer.from(disk);
  changed[MiB] ^= 1;
  const after = await rig.expecting(changed, before, foresight);
  assert.equal(after.bytesRead, changed.length, 'of the disk, however often it was looked at');
  assert.ok(rig.sink.pageBytes(after.page, changed.length).equals(changed));
  foresight.isWorthIt = false;
  await rig.expecting(disk, before, foresight);
  assert.deepEqual([taken.length, learnt], [1, [false, true]]);
  assert.equal((await rig.expecting(Buffer.alloc(MiB), before, foresight)).page, undefined);
});

test('a page rebuilt from a change map equals a full read of the new content', async () => {
  const rig = new PageRig(16 * KiB);
  await fc.assert(
    fc.asyncProperty(
      disks,
      fc.array(changes, { maxLength: 6 }),
      fc.array(changes, { maxLength: 2 }),
      async (recipe, writes, superfluous) => {
        const disk = makeDisk(recipe);
        const base = await rig.full(disk);
        const { bytes, changed } = applyChanges(disk, writes);
        const more = applyChanges(disk, superfluous).changed;
        const all = [...changed, ...more].sort((a, b) => a.offset - b.offset);
        const incremental = await rig.incremental(bytes, base.page, all);
        // Before the full read puts the same objects: what the page names must be there already.
        assert.ok(rig.sink.pageBytes(incremental.page, bytes.length).equals(bytes));
        assertSamePage(rig, incremental, await rig.full(bytes));
        rig.sink.objects.clear();
      },
    ),
    { numRuns: 300 },
  );
});

test('a last page that grew or shrank equals a full read', async () => {
  const rig = new PageRig(16 * KiB);
  const sizes = fc.oneof(
    fc.integer({ min: -5 * BLOCK, max: 5 * BLOCK }),
    fc.integer({ min: -40, max: 40 }).map((blocks) => blocks * BLOCK),
  );
  await fc.assert(
    fc.asyncProperty(disks, sizes, fc.array(changes, { maxLength: 3 }), async (recipe, growth, writes) => {
      const disk = makeDisk(recipe);
      const base = await rig.full(disk);
      const { bytes, changed } = applyChanges(disk, writes, Math.max(1, disk.length + growth));
      assertSamePage(rig, await rig.incremental(bytes, base.page, changed), await rig.full(bytes));
    }),
    { numRuns: 200 },
  );
});

test('zeros before a piece that begins with zeros become one hole with them', async () => {
  const rig = new PageRig(16 * KiB);
  // The repeated byte has no cut point, so a piece of the largest size ends right before two zero blocks: too few for a hole.
  const disk = Buffer.concat([
    fillBytes({ kind: 'repeated', seed: 3 }, 64 * KiB),
    Buffer.alloc(2 * BLOCK),
    pattern(64 * KiB, 9),
  ]);
  const base = await rig.full(disk);
  for (let blocks = 1; blocks <= 16; blocks++) {
    const bytes = Buffer.from(disk).fill(0, 64 * KiB - blocks * BLOCK, 64 * KiB);
    const changed = [{ offset: 64 * KiB - blocks * BLOCK, length: blocks * BLOCK }];
    assertSamePage(rig, await rig.incremental(bytes, base.page, changed), await rig.full(bytes));
  }
});

test('changes at the first and the last byte, and inside, at the start and at the end of a hole', async () => {
  const rig = new PageRig(16 * KiB);
  const disk = Buffer.concat([
    pattern(300 * KiB, 5),
    Buffer.alloc(200 * KiB),
    pattern(100 * KiB + 77, 6),
    Buffer.alloc(3 * BLOCK + 5),
  ]);
  const base = await rig.full(disk);
  for (const at of [0, 300 * KiB - 1, 300 * KiB, 400 * KiB, 500 * KiB - 1, 500 * KiB, 600 * KiB, disk.length - 1]) {
    for (const value of [0, 1]) {
      const bytes = Buffer.from(disk);
      bytes[at] = value;
      assertSamePage(rig, await rig.incremental(bytes, base.page, [{ offset: at, length: 1 }]), await rig.full(bytes));
    }
  }
});

test('a page of zeros has no object, before and after a change', async () => {
  const rig = new PageRig(64 * KiB);
  const zeros = Buffer.alloc(MiB + 1);
  assert.deepEqual(await rig.full(zeros), { page: undefined, bytesRead: zeros.length });
  assert.deepEqual(await rig.incremental(zeros, undefined, []), { page: undefined, bytesRead: 0 });
  const written = Buffer.from(zeros).fill(7, 500_000, 600_000);
  const page = await rig.incremental(written, undefined, [{ offset: 500_000, length: 100_000 }]);
  assertSamePage(rig, page, await rig.full(written));
  assert.ok(page.bytesRead < 250_000, `${page.bytesRead} bytes read`);
  const erased = await rig.incremental(zeros, page.page, [{ offset: 500_000, length: 100_000 }]);
  assert.equal(erased.page, undefined);
});

test('ranges that the source knows to be zeros are not read and do not change the result', async () => {
  const rig = new PageRig(16 * KiB);
  const shares = fc.array(fc.tuple(fc.nat(9000), fc.nat(9000)), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(disks, shares, async (recipe, cuts) => {
      const disk = makeDisk(recipe);
      const zeros = cutRanges(zeroRuns(disk), cuts);
      const reader = new MemoryReader(disk);
      const result = await rig.full(disk, zeros, reader);
      assertSamePage(rig, result, await rig.full(disk));
      assert.equal(result.bytesRead, totalBytes(reader.reads));
    }),
    { numRuns: 300 },
  );
  const disk = Buffer.concat([pattern(MiB, 1), Buffer.alloc(4 * MiB), pattern(MiB, 2)]);
  const { bytesRead } = await rig.full(disk, [{ offset: MiB, length: 4 * MiB }]);
  assert.ok(bytesRead <= 2 * MiB + 64 * KiB, `${bytesRead} bytes read of 2 MiB of data`);
});

test('what changed and is known to be zeros now is not read, and the page is that of a full read', async () => {
  const rig = new PageRig(16 * KiB);
  const shares = fc.array(fc.tuple(fc.nat(9000), fc.nat(9000)), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(disks, fc.array(changes, { maxLength: 6 }), shares, async (recipe, writes, cuts) => {
      const disk = makeDisk(recipe);
      const base = await rig.full(disk);
      const { bytes, changed } = applyChanges(disk, writes);
      const told = cutRanges(without(changed, without(changed, zeroRuns(bytes))), cuts);
      const incremental = await rig.incremental(bytes, base.page, changed, new MemoryReader(bytes), told);
      assert.ok(rig.sink.pageBytes(incremental.page, bytes.length).equals(bytes));
      assertSamePage(rig, incremental, await rig.full(bytes));
      rig.sink.objects.clear();
    }),
    { numRuns: 300 },
  );
  const disk = Buffer.from(pattern(8 * MiB, 1));
  const base = await rig.full(disk);
  const trimmed = { offset: MiB, length: 6 * MiB };
  disk.fill(0, MiB, 7 * MiB);
  const { bytesRead } = await rig.incremental(disk, base.page, [trimmed], new MemoryReader(disk), [trimmed]);
  assert.ok(bytesRead <= 256 * KiB, `${bytesRead} bytes read where 6 MiB became zeros`);
});

test('64 KiB extents at 1 % of a page cost at most four times their bytes', async () => {
  const rig = new PageRig(64 * KiB);
  let seed = 1;
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed / 2 ** 32;
  };
  let read = 0;
  let named = 0;
  for (let round = 0; round < 6; round++) {
    const disk = pattern(PAGE_BYTES, 100 + round);
    const base = await rig.full(disk);
    const bytes = Buffer.from(disk);
    const changed = Array.from({ length: 3 }, () => ({
      offset: Math.floor(random() * 255) * 64 * KiB,
      length: 64 * KiB,
    })).sort((a, b) => a.offset - b.offset);
    for (const { offset, length } of changed) bytes.set(pattern(length, offset + 3), offset);
    const reader = new MemoryReader(bytes);
    const result = await rig.incremental(bytes, base.page, changed, reader);
    assert.equal(result.bytesRead, totalBytes(reader.reads));
    read += result.bytesRead;
    named += totalBytes(changed);
    assertSamePage(rig, result, await rig.full(bytes));
    rig.sink.objects.clear();
  }
  assert.ok(read <= 4 * named + 256 * KiB, `${read} bytes read for ${named} named`);
});

test('a long change takes few reads: up to the next piece that may be taken over', async () => {
  const rig = new PageRig(64 * KiB);
  const disk = pattern(PAGE_BYTES, 7);
  const base = await rig.full(disk);
  const bytes = Buffer.from(disk);
  const changed = [{ offset: MiB, length: 2 * MiB }];
  bytes.set(pattern(2 * MiB, 8), MiB);
  const reader = new MemoryReader(bytes);
  assertSamePage(rig, await rig.incremental(bytes, base.page, changed, reader), await rig.full(bytes));
  // Two for the change and the pieces that it cuts into, then steps until the cuts are those of before.
  assert.ok(reader.reads.length <= 40, `${reader.reads.length} reads`);
  assert.ok(
    reader.reads.some(({ length }) => length >= MiB),
    'none long',
  );
  assert.ok(totalBytes(reader.reads) <= 3 * MiB, `${totalBytes(reader.reads)} bytes read`);
});

test('a reader that answers later gives the same pages', async () => {
  const rig = new PageRig(16 * KiB);
  await fc.assert(
    fc.asyncProperty(disks, fc.array(changes, { maxLength: 3 }), async (recipe, writes) => {
      const disk = makeDisk(recipe);
      const base = await rig.full(disk);
      assertSamePage(rig, await rig.full(disk, [], new MemoryReader(disk, true)), base);
      const { bytes, changed } = applyChanges(disk, writes);
      const slow = await rig.incremental(bytes, base.page, changed, new MemoryReader(bytes, true));
      assertSamePage(rig, slow, await rig.full(bytes));
    }),
    { numRuns: 60 },
  );
});

test('pages that a thread has under way at the same time are those of one after the other', async () => {
  const rig = new PageRig(16 * KiB);
  const pages = [1, 2].map((seed) => pattern(PAGE_BYTES, seed));
  const [first, second] = await rig.sideBySide(pages);
  assert.ok(!first.page?.equals(second.page as Buffer));
  assertSamePage(rig, first, await rig.full(pages[0]));
  assertSamePage(rig, second, await rig.full(pages[1]));
});

test('a page of the base that cannot be read is read from the disk', async () => {
  const rig = new PageRig(16 * KiB);
  const disk = pattern(MiB, 12);
  const lost = Buffer.alloc(32, 7) as unknown as ObjectId;
  const result = await rig.incremental(disk, lost, [{ offset: 0, length: 1 }]);
  assertSamePage(rig, result, await rig.full(disk));
  assert.equal(result.bytesRead, disk.length);
});

test('an error of the reader or of the sink ends the page', async () => {
  const rig = new PageRig(16 * KiB);
  const disk = pattern(MiB, 4);
  const failing = {
    sizeBytes: disk.length,
    readInto: () => Promise.reject(new Error('no medium')),
    close: async () => {},
  };
  await assert.rejects(rig.full(disk, [], failing as unknown as MemoryReader), /no medium/);
  assert.equal(hex(await rig.full(disk)), hex(await rig.full(disk)), 'the cutter works on after a failure');
});

/** Where a disk holds zeros, by single bytes. */
function zeroRuns(bytes: Uint8Array): Range[] {
  const runs: Range[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== 0) {
      at++;
      continue;
    }
    let end = at;
    while (end < bytes.length && bytes[end] === 0) end++;
    runs.push({ offset: at, length: end - at });
    at = end;
  }
  return runs;
}

/** Takes some off both ends of the ranges: what a source knows need not be everything. */
function cutRanges(ranges: readonly Range[], cuts: readonly (readonly [number, number])[]): Range[] {
  return ranges
    .map(({ offset, length }, place) => {
      const [front, back] = cuts[place % Math.max(1, cuts.length)] ?? [0, 0];
      return { offset: offset + front, length: length - front - back };
    })
    .filter((range) => range.length > 0);
}
