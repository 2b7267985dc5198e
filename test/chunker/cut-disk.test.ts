import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type DiskCutParameters, diskCutParameters } from '../../src/chunker/cut-parameters.ts';
import { CutDriver, ends, mergeHoles } from './cut-driver.ts';
import { BLOCK_KINDS, drawPage, makePage, type PageRecipe, xorshiftBytes } from './cut-inputs.ts';
import { blockHasher, type Piece, referenceDiskPieces } from './reference-cutter.ts';

const KIB = 1024;
const BLOCK = 4 * KIB;
const driver = new CutDriver(16 * KIB * KIB);

const seedHex = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const parameters = fc
  .tuple(fc.constantFrom(16 * KIB, 32 * KIB), seedHex)
  .map(([average, seed]) => diskCutParameters(average, seed));
// Runs of equal blocks, so that zero runs of every length around 4 come up everywhere, also at both ends.
const page: fc.Arbitrary<PageRecipe> = fc.record({
  seed: fc.integer({ min: 1, max: 0x7fffffff }),
  runs: fc.array(fc.tuple(fc.constantFrom('noise', ...BLOCK_KINDS), fc.integer({ min: 1, max: 7 })), {
    minLength: 1,
    maxLength: 12,
  }),
  tailBytes: fc.oneof(fc.constant(BLOCK), fc.constantFrom(1, 15, 16, 512, BLOCK - 1)),
});

function cut(bytes: Uint8Array, cutParameters: DiskCutParameters): Piece[] {
  driver.cutter.setDisk(cutParameters);
  return driver.diskPieces(bytes);
}

test('WebAssembly and the reference give the same pieces', () => {
  fc.assert(
    fc.property(page, parameters, (recipe, chosen) => {
      const bytes = makePage(recipe);
      assert.deepEqual(mergeHoles(cut(bytes, chosen)), referenceDiskPieces(bytes, chosen));
    }),
    { numRuns: 300 },
  );
});

test('they agree for every average', () => {
  const bytes = xorshiftBytes(77, 8 * KIB * KIB + 512);
  bytes.fill(0, 3_000_000, 3_200_000);
  for (const average of [16, 32, 64, 128, 256, 512, 1024]) {
    const chosen = diskCutParameters(average * KIB);
    assert.deepEqual(mergeHoles(cut(bytes, chosen)), referenceDiskPieces(bytes, chosen), `${average} KiB`);
  }
});

test('the pieces do not depend on how the page is shown, nor on what lies behind', () => {
  const step = fc.oneof(
    fc.integer({ min: 1, max: 3 * BLOCK }),
    fc.integer({ min: 1, max: 60 }).map((n) => n * BLOCK),
  );
  fc.assert(
    fc.property(page, parameters, fc.infiniteStream(step), fc.constantFrom(0, 0xa5), (recipe, chosen, steps, decoy) => {
      const bytes = makePage(recipe);
      driver.cutter.setDisk(chosen);
      const split = driver.diskPieces(bytes, () => steps.next().value as number, decoy);
      assert.deepEqual(mergeHoles(split), mergeHoles(driver.diskPieces(bytes)));
    }),
    { numRuns: 300 },
  );
});

test('maxBytes + 16 KiB are always enough for an answer', () => {
  fc.assert(
    fc.property(page, parameters, (recipe, chosen) => {
      const bytes = makePage(recipe);
      driver.cutter.setDisk(chosen);
      const enough = chosen.maxBytes + 16 * KIB;
      let calls = 0;
      const pieces = driver.diskPieces(bytes, () => {
        calls++;
        return enough;
      });
      assert.equal(calls, pieces.length);
    }),
    { numRuns: 100 },
  );
});

test('the pieces cover the page, stay within the bounds, and holes are exactly the long zero runs', () => {
  fc.assert(
    fc.property(page, parameters, (recipe, chosen) => {
      const bytes = makePage(recipe);
      const pieces = mergeHoles(cut(bytes, chosen));
      assert.equal(
        pieces.reduce((sum, piece) => sum + piece.length, 0),
        bytes.length,
      );
      const inHole = new Set<number>();
      let at = 0;
      pieces.forEach((piece, index) => {
        const last = index === pieces.length - 1;
        assert.equal(at % BLOCK, 0);
        const content = bytes.subarray(at, at + piece.length);
        assert.equal(
          piece.hole,
          content.every((byte) => byte === 0),
          'a piece is a hole if and only if it is all zero',
        );
        if (piece.hole) {
          assert.ok(piece.length >= 4 * BLOCK || last);
          for (let block = at / BLOCK; block * BLOCK < at + piece.length; block++) inHole.add(block);
        } else {
          assert.ok(piece.length <= chosen.maxBytes);
          assert.ok(piece.length >= chosen.minBytes || last || pieces[index + 1].hole);
        }
        at += piece.length;
      });
      const blocks = Math.ceil(bytes.length / BLOCK);
      const isZero = (block: number) => bytes.subarray(block * BLOCK, (block + 1) * BLOCK).every((byte) => byte === 0);
      for (let start = 0; start < blocks; start++) {
        if (!isZero(start)) continue;
        let end = start;
        while (end < blocks && isZero(end)) end++;
        for (let block = start; end - start >= 4 && block < end; block++)
          assert.ok(inHole.has(block), `block ${block}`);
        if (end - start < 4 && end < blocks) assert.ok(!inHole.has(start), `block ${start}`);
        start = end;
      }
    }),
    { numRuns: 300 },
  );
});

/** Pieces of a page drawn with one letter per block: x noise, 0 zero. Holes are negative. Counts blocks. */
function drawn(picture: string, tailBytes = BLOCK): number[] {
  // An average so large that only zeros and the end cut.
  const bytes = drawPage(picture, tailBytes);
  const pieces = mergeHoles(cut(bytes, diskCutParameters(1024 * KIB)));
  return pieces.map((piece) => (piece.hole ? -1 : 1) * Math.ceil(piece.length / BLOCK));
}

test('holes, case by case', () => {
  assert.deepEqual(drawn('xx000xx'), [7], 'three zero blocks are data');
  assert.deepEqual(drawn('xx0000xx'), [2, -4, 2], 'four are a hole');
  assert.deepEqual(drawn('xx000'), [5], 'a short zero tail stays in its piece');
  assert.deepEqual(drawn('xx0000'), [2, -4]);
  assert.deepEqual(drawn('0'), [-1], 'all of the page is zero');
  assert.deepEqual(drawn('0', 1), [-1]);
  assert.deepEqual(drawn('000xx'), [5], 'a short zero head is data');
  assert.deepEqual(drawn('0000xx'), [-4, 2]);
  assert.deepEqual(drawn('xx0000', 512), [2, -4], 'the short last block counts as a block');
  assert.deepEqual(drawn('xx000', 512), [5]);
  assert.deepEqual(drawn('x', 1), [1]);
  assert.deepEqual(drawn(''), []);
});

test('a hole that is shown in parts keeps its last blocks', () => {
  driver.cutter.setDisk(diskCutParameters());
  const bytes = drawPage('x00000000xx');
  const shown = [5, 3, 1, 2].map((blocks) => blocks * BLOCK);
  const pieces = driver.diskPieces(bytes, () => shown.shift() ?? BLOCK, 0xff);
  assert.ok(pieces.filter((piece) => piece.hole).length > 1, 'the hole came in parts');
  assert.deepEqual(
    mergeHoles(pieces).map((piece) => [piece.length / BLOCK, piece.hole]),
    [
      [1, false],
      [8, true],
      [2, false],
    ],
  );
});

test('a cut falls before the block whose hash matches, strictly before the average and loosely after', () => {
  const chosen = diskCutParameters(64 * KIB);
  const hash = blockHasher(chosen.cutSeed);
  const candidates = Array.from({ length: 400 }, (_, index) => xorshiftBytes(index + 1, BLOCK));
  const strict = candidates.find((block) => hash(block) >>> 27 === 0);
  const loose = candidates.find((block) => hash(block) >>> 29 === 0 && hash(block) >>> 27 !== 0);
  const neither = candidates.find((block) => hash(block) >>> 29 !== 0);
  assert.ok(strict && loose && neither);
  const build = (at: number, special: Uint8Array) =>
    Buffer.concat(Array.from({ length: 80 }, (_, index) => (index === at ? special : neither)));
  const first = (at: number, special: Uint8Array) => cut(build(at, special), chosen)[0].length / BLOCK;
  assert.equal(first(3, strict), 64, 'below the minimum nothing cuts; the maximum does');
  assert.equal(first(4, strict), 4);
  assert.equal(first(15, strict), 15);
  assert.equal(first(15, loose), 64);
  assert.equal(first(16, loose), 16);
  assert.equal(first(63, loose), 63);
});

test('the short last block is never cut off by its hash', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const chosen = diskCutParameters(16 * KIB);
    const bytes = xorshiftBytes(seed, 5 * BLOCK + 512);
    const pieces = cut(bytes, chosen);
    assert.ok(pieces[pieces.length - 1].length > 512);
  }
});

test('a changed block moves only cuts near it', () => {
  const size = 4 * KIB * KIB;
  driver.cutter.setDisk(diskCutParameters(16 * KIB));
  for (let seed = 1; seed <= 20; seed++) {
    const bytes = xorshiftBytes(seed, size);
    const before = ends(driver.diskPieces(bytes).map((piece) => piece.length));
    const changed = 256 * BLOCK;
    bytes.set(xorshiftBytes(seed + 1000, BLOCK), changed);
    const after = ends(driver.diskPieces(bytes).map((piece) => piece.length));
    assert.deepEqual(
      after.filter((end) => end < changed),
      before.filter((end) => end < changed),
    );
    const settled = changed + 512 * KIB;
    assert.deepEqual(
      after.filter((end) => end > settled),
      before.filter((end) => end > settled),
      `seed ${seed}`,
    );
  }
});

test('another seed gives other cuts, and the mean stays near the average', () => {
  const bytes = xorshiftBytes(5, 16 * KIB * KIB);
  const seeds = [undefined, '00000000000000000000000000000000', '00000000000000000000000000000001', 'ff'.repeat(16)];
  const all = seeds.map((seed) => {
    const pieces = cut(bytes, diskCutParameters(64 * KIB, seed));
    const mean = bytes.length / pieces.length / KIB;
    assert.ok(mean > 60 && mean < 90, `mean ${mean} KiB`);
    return new Set(ends(pieces.map((piece) => piece.length)));
  });
  for (const [index, one] of all.entries()) {
    for (const other of all.slice(index + 1)) {
      const common = [...one].filter((end) => other.has(end)).length;
      assert.ok(common < one.size / 4, `${common} of ${one.size} cuts in common`);
    }
  }
});
