// What a hypervisor's dirty bitmap says after a quiet hour: scattered 64 KiB extents, 1 % of the image, each of them really rewritten.
import { closeSync, openSync, writeSync } from 'node:fs';
import { BLOCK_BYTES, dataBlocks } from './blocks.ts';
import { guestWrite } from './contents.ts';
import { SeededRandom } from './seeded-random.ts';

export interface Extent {
  offset: number;
  length: number;
}

const EXTENT_BYTES = 64 << 10;
const CHANGED_SHARE = 0.01;

/** Seeded, sorted 64 KiB extents that hold data; together 1 % of `sizeBytes`. */
export function scatterExtents(path: string, sizeBytes: number, seed: string): Extent[] {
  const random = new SeededRandom(`${seed} change map`);
  const blocks = dataBlocks(path, sizeBytes);
  const perExtent = EXTENT_BYTES / BLOCK_BYTES;
  const slots = Array.from({ length: sizeBytes / EXTENT_BYTES }, (_, slot) => slot).filter((slot) =>
    blocks.subarray(slot * perExtent, (slot + 1) * perExtent).includes(1),
  );
  const chosen = new Set<number>();
  const wanted = Math.min(slots.length, Math.max(1, Math.round((sizeBytes / EXTENT_BYTES) * CHANGED_SHARE)));
  while (chosen.size < wanted) chosen.add(slots[random.below(slots.length)]);
  return [...chosen].sort((a, b) => a - b).map((slot) => ({ offset: slot * EXTENT_BYTES, length: EXTENT_BYTES }));
}

/** Fills the extents of `path` with new guest data, the same for the same seed whatever the size of the file. */
export function rewriteExtents(path: string, extents: readonly Extent[], seed: string): void {
  const random = new SeededRandom(`${seed} change map contents`);
  const file = openSync(path, 'r+');
  try {
    for (const { offset, length } of extents) writeSync(file, guestWrite(random, length), 0, length, offset);
  } finally {
    closeSync(file);
  }
}
