// What a bitmap says stays bounded, and never says less than the bitmap.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { dirtyRanges } from '../../../src/agent/qemu/dirty-ranges.ts';
import { BITMAP_GRANULARITY as GRAIN } from '../../../src/guests/bitmaps/bitmap-names.ts';
import { randomNumbers } from '../../support/power-cut/crash-points.ts';

/** Extents as QEMU tells them: one after the other, dirty or not. `grains[i]`: whether the i-th is dirty. */
async function* extentsOf(grains: readonly boolean[]) {
  for (let from = 0, to = 0; from < grains.length; from = to) {
    while (to < grains.length && grains[to] === grains[from]) to++;
    yield { offset: from * GRAIN, length: (to - from) * GRAIN, flags: grains[from] ? 1 : 0 };
  }
}

const isCovered = (ranges: readonly { offset: number; length: number }[], grain: number): boolean =>
  ranges.some(({ offset, length }) => offset <= grain * GRAIN && offset + length >= (grain + 1) * GRAIN);

suite('the ranges of a dirty bitmap', () => {
  test('as long as they are few they are exact', async () => {
    const grains = [false, true, true, false, false, true];
    assert.deepEqual(await dirtyRanges(extentsOf(grains), 2), [
      { offset: GRAIN, length: 2 * GRAIN },
      { offset: 5 * GRAIN, length: GRAIN },
    ]);
  });

  test('many become few, ascending and apart, with all that is dirty in them', async () => {
    const random = randomNumbers(7);
    for (const [share, max] of [
      [0.5, 16],
      [0.02, 8],
      [0.9, 3],
      [0.3, 100],
    ] as const) {
      const grains = Array.from({ length: 2_000 }, () => random() < share);
      const ranges = await dirtyRanges(extentsOf(grains), max);
      assert.ok(ranges.length <= max, `${ranges.length} of ${max}`);
      for (const [place, { offset, length }] of ranges.entries()) {
        assert.ok(length > 0 && offset + length <= grains.length * GRAIN);
        const before = ranges[place - 1];
        assert.ok(before === undefined || before.offset + before.length < offset, 'ascending, and apart');
      }
      for (const [grain, isDirty] of grains.entries())
        assert.ok(!isDirty || isCovered(ranges, grain), `grain ${grain} is missing`);
    }
  });

  test('a gap that was enough once stays', async () => {
    // Every other grain is dirty: joined over one clean grain they are one range.
    const grains = Array.from({ length: 4_000 }, (_, grain) => grain % 2 === 0);
    const far = Array.from({ length: 40 }, (_, grain) => grain === 20);
    const ranges = await dirtyRanges(extentsOf([...grains, ...far]), 50);
    const last = ranges.at(-1);
    assert.deepEqual(last, { offset: 4_020 * GRAIN, length: GRAIN }, 'what lies far off is not joined');
  });
});
