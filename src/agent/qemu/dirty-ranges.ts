// What a dirty bitmap says, read over NBD. Bounded: a bitmap in more than a million pieces is told in coarser ones, which are read in vain and lose nothing.
import { BITMAP_GRANULARITY } from '../../guests/bitmaps/bitmap-names.ts';
import { type Extent, NbdClient } from '../nbd/client.ts';
import { joinRanges } from '../sources/ranges.ts';
import type { Range } from '../sources/source.ts';

const MAX_RANGES = 1 << 20;
const DIRTY = 1;

export interface BitmapExport {
  /** What messages call the disk. */
  readonly label: string;
  readonly socketPath: string;
  readonly exportName: string;
  readonly bitmap: string;
}

/** Ascending ranges that were written to. @throws `source-failed`, `aborted`. */
export async function readDirtyRanges(
  { label, socketPath, exportName, bitmap }: BitmapExport,
  signal: AbortSignal,
): Promise<Range[]> {
  const context = `qemu:dirty-bitmap:${bitmap}`;
  // A connection of its own: QEMU garbles the errors of several contexts on one.
  const client = await NbdClient.connect({ label, socketPath, exportName, metaContexts: [context], signal });
  try {
    return await dirtyRanges(client.blockStatus(context, 0, client.sizeBytes), MAX_RANGES);
  } finally {
    await client.close();
  }
}

/** Those of the dirty extents: with clean bytes in them, ever more of these, as far as it takes to have no more than `maxRanges`. */
export async function dirtyRanges(extents: AsyncIterable<Extent>, maxRanges: number): Promise<Range[]> {
  let ranges: Range[] = [];
  let gap = 0;
  for await (const { offset, length, flags } of extents) {
    if ((flags & DIRTY) === 0) continue;
    ranges.push({ offset, length });
    if (ranges.length <= maxRanges) continue;
    ranges = joinRanges(ranges, gap);
    // Down to half, so that it is not done for each extent that follows.
    while (ranges.length > maxRanges / 2) {
      gap = Math.max(BITMAP_GRANULARITY, gap * 2);
      ranges = joinRanges(ranges, gap);
    }
  }
  return ranges;
}
