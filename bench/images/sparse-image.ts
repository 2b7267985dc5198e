// A huge disk that is nearly empty: seeded runs of guest data scattered over a sparse file.
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Extent } from './change-map.ts';
import { guestWrite } from './contents.ts';
import { SeededRandom } from './seeded-random.ts';

const RUN_BYTES = [64 << 10, 2 << 20] as const;

/** Makes the file and returns its runs in order of offset; together at least `dataBytes`. Equal slots keep runs from overlapping. */
export function makeSparseImage(path: string, sizeBytes: number, dataBytes: number, seed: string): Extent[] {
  const random = new SeededRandom(`${seed} sparse image`);
  const lengths: number[] = [];
  for (let left = dataBytes; left > 0; left -= lengths.at(-1)!) {
    lengths.push(Math.floor(random.logUniform(RUN_BYTES[0], RUN_BYTES[1]) / 4096) * 4096);
  }
  const slotBytes = Math.floor(sizeBytes / lengths.length / 4096) * 4096;
  if (slotBytes < RUN_BYTES[1]) throw new Error(`${dataBytes} bytes do not lie scattered in ${sizeBytes}`);
  const file = openSync(path, 'w');
  try {
    ftruncateSync(file, sizeBytes);
    return lengths.map((length, slot) => {
      const offset = slot * slotBytes + 4096 * random.below((slotBytes - length) / 4096 + 1);
      writeSync(file, guestWrite(random, length), 0, length, offset);
      return { offset, length };
    });
  } finally {
    closeSync(file);
  }
}
