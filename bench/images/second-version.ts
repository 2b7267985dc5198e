// The image a day later: 2.5 % of its 4 KiB blocks differ. 70 % of the rewrites lie in twenty hot regions (a database, a log),
// the rest is scattered; a tenth of the changed blocks is data that moved. The file system inside is not kept consistent.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { BLOCK_BYTES, dataBlocks } from './blocks.ts';
import { guestWrite } from './contents.ts';
import { SeededRandom } from './seeded-random.ts';

const CHANGED_SHARE = 0.025;
const MOVED_SHARE = 0.1;
const HOT_SHARE = 0.7;
const HOT_REGIONS = 20;
const HOT_REGION_BYTES = 8 << 20;
const FULL_SIZE_BYTES = 4 * 2 ** 30;
const LONGEST_RUN_BLOCKS = 64;
const MOVED_RUN_BLOCKS = [64, 256] as const;

/** Rewrites `path`, a copy of the base image, in place. Runs never overlap and never touch blocks that were all zero. */
export function rewriteAsSecondVersion(path: string, sizeBytes: number, seed: string): void {
  const random = new SeededRandom(`${seed} second version`);
  const blocks = sizeBytes / BLOCK_BYTES;
  const free = dataBlocks(path, sizeBytes);
  const target = Math.round(blocks * CHANGED_SHARE);
  const regionBlocks = Math.max(
    LONGEST_RUN_BLOCKS,
    Math.round((HOT_REGION_BYTES * sizeBytes) / FULL_SIZE_BYTES / BLOCK_BYTES),
  );
  const hot = hotRegions(free, regionBlocks, random);
  const file = openSync(path, 'r+');
  let tries = 0;
  try {
    for (let left = Math.round(target * MOVED_SHARE); left > 0; ) {
      const length = Math.min(left, random.logUniform(MOVED_RUN_BLOCKS[0], MOVED_RUN_BLOCKS[1]));
      const to = random.below(blocks - length);
      const from = random.below(blocks - length);
      if (++tries > blocks) throw new Error(`${path} has too little data to move any`);
      if (!isFree(free, from, length) || !take(free, to, length)) continue;
      const data = Buffer.alloc(length * BLOCK_BYTES);
      readSync(file, data, 0, data.length, from * BLOCK_BYTES);
      writeSync(file, data, 0, data.length, to * BLOCK_BYTES);
      left -= length;
    }
    for (let left = target - Math.round(target * MOVED_SHARE); left > 0; ) {
      const length = Math.min(left, random.logUniform(1, LONGEST_RUN_BLOCKS));
      const isHot = random.fraction() < HOT_SHARE;
      const start = isHot
        ? hot[random.below(hot.length)] + random.below(regionBlocks - length + 1)
        : random.below(blocks - length);
      if (++tries > 100 * blocks) throw new Error(`${path} has too little data for a second version`);
      if (!take(free, start, length)) continue;
      writeSync(file, guestWrite(random, length * BLOCK_BYTES), 0, length * BLOCK_BYTES, start * BLOCK_BYTES);
      left -= length;
    }
  } finally {
    closeSync(file);
  }
}

/** Starts of regions that hold the most data among a seeded choice, so that rewrites find room there. */
function hotRegions(free: Uint8Array, regionBlocks: number, random: SeededRandom): number[] {
  const slots = Math.floor(free.length / regionBlocks);
  const fill = (slot: number): number =>
    free.subarray(slot * regionBlocks, (slot + 1) * regionBlocks).reduce((sum, used) => sum + used, 0);
  const full = Array.from({ length: slots }, (_, slot) => slot).filter((slot) => fill(slot) > 0.8 * regionBlocks);
  if (full.length === 0) throw new Error('the image has no region that is full of data');
  return Array.from({ length: HOT_REGIONS }, () => full[random.below(full.length)] * regionBlocks);
}

const isFree = (free: Uint8Array, start: number, length: number): boolean =>
  !free.subarray(start, start + length).includes(0);

function take(free: Uint8Array, start: number, length: number): boolean {
  if (start + length > free.length || !isFree(free, start, length)) return false;
  free.fill(0, start, start + length);
  return true;
}
