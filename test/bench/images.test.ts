// The test images are what bench/images.ts promises: the same bytes each time, the wanted share changed, the map exact.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { BLOCK_BYTES, changedBlocks, dataBlocks } from '../../bench/images/blocks.ts';
import type { Extent } from '../../bench/images/change-map.ts';
import { type Images, openImages } from '../../bench/images.ts';
import { missingTools } from '../../bench/tools.ts';
import { requireSame } from '../../bench/workspace.ts';

const MIB = 2 ** 20;

suite('bench images at 1/64 of their size', { skip: missingTools('mke2fs', 'debugfs', 'cmp') ?? false }, () => {
  let directory: string;
  let images: Images;
  const open = (name: string): Images =>
    openImages({ cacheDirectory: join(directory, name), scale: 1 / 64, roots: ['node_modules'] });

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'holdfast-images-'));
    images = open('first');
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  test('the base image is filled with real files and repeats byte for byte', () => {
    const base = images.base();
    assert.equal(base.sizeBytes, 64 * MIB);
    assert.ok(
      base.dataBytes > 0.55 * base.sizeBytes && base.dataBytes < 0.7 * base.sizeBytes,
      `${base.dataBytes} bytes of data`,
    );
    requireSame(base.path, open('again').base().path);
  });

  test('a made image is taken from the cache', () => {
    const { path } = images.base();
    const { mtimeMs } = statSync(path);
    images.base();
    assert.equal(statSync(path).mtimeMs, mtimeMs);
  });

  test('the data file holds exactly the blocks that are not zero', () => {
    const base = images.base();
    const image = readFileSync(base.path);
    const kept: Buffer[] = [];
    for (const [index, used] of dataBlocks(base.path, base.sizeBytes).entries()) {
      const block = image.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
      assert.equal(
        block.some((byte) => byte !== 0),
        used === 1,
      );
      if (used === 1) kept.push(block);
    }
    assert.ok(Buffer.concat(kept).equals(readFileSync(images.baseData().path)));
  });

  test('2 to 3 % of the blocks differ in the second version, and it repeats', () => {
    const second = images.second();
    const share = changedBlocks(images.base().path, second.path).length / (second.sizeBytes / BLOCK_BYTES);
    assert.ok(share > 0.02 && share < 0.03, `${share} changed`);
    assert.equal(second.changedShare, share);
    requireSame(second.path, open('again').second().path);
  });

  test('the change map covers exactly the blocks that differ, about 1 % of the image', () => {
    const mapped = images.mapped();
    assert.deepEqual(changedBlocks(images.base().path, mapped.path), blocksOf(mapped.extents));
    const share = mapped.mapBytes / mapped.sizeBytes;
    assert.ok(share > 0.009 && share < 0.011, `${share} in the map`);
  });

  test('the wide image is the same data with a hole behind it', () => {
    const [wide, mapped] = [images.wide(), images.wideMapped()];
    assert.equal(wide.sizeBytes, 16 * images.base().sizeBytes);
    requireSame(images.base().path, wide.path, images.base().sizeBytes);
    assert.deepEqual(changedBlocks(wide.path, mapped.path, images.base().sizeBytes), blocksOf(images.mapped().extents));
    assert.ok(statSync(wide.path).blocks * 512 < images.base().sizeBytes);
  });

  test('the huge image holds data in its runs and nowhere else', () => {
    const huge = images.huge();
    assert.equal(huge.sizeBytes, 16 * 1024 * MIB);
    assert.ok(huge.dataBytes >= 6 * MIB && statSync(huge.path).blocks * 512 < huge.dataBytes + MIB);
    for (const [index, run] of huge.runs.entries()) {
      const end = run.offset + run.length;
      assert.ok(end <= (huge.runs[index + 1]?.offset ?? huge.sizeBytes));
    }
  });
});

function blocksOf(extents: readonly Extent[]): number[] {
  return extents.flatMap(({ offset, length }) =>
    Array.from({ length: length / BLOCK_BYTES }, (_, index) => offset / BLOCK_BYTES + index),
  );
}
