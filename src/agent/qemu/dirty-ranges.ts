// What a dirty bitmap says, read over NBD. Bounded: a bitmap in more than a million pieces is told in coarser ones, which are read in vain and lose nothing.
import { NbdClient } from '../nbd/client.ts';
import type { Range } from '../sources/source.ts';

const MAX_RANGES = 1 << 20;
const DIRTY = 1;

export interface BitmapExport {
  readonly socketPath: string;
  readonly exportName: string;
  readonly bitmap: string;
}

/** Ascending ranges that were written to. @throws `source-failed`, `aborted`. */
export async function readDirtyRanges(
  { socketPath, exportName, bitmap }: BitmapExport,
  signal: AbortSignal,
): Promise<Range[]> {
  const context = `qemu:dirty-bitmap:${bitmap}`;
  // A connection of its own: QEMU garbles the errors of several contexts on one.
  const client = await NbdClient.connect({ socketPath, exportName, metaContexts: [context], signal });
  try {
    let ranges: { offset: number; length: number }[] = [];
    let gap = 0;
    for await (const { offset, length, flags } of client.blockStatus(context, 0, client.sizeBytes)) {
      if ((flags & DIRTY) === 0) continue;
      const last = ranges.at(-1);
      if (last !== undefined && offset - (last.offset + last.length) <= gap)
        last.length = offset + length - last.offset;
      else ranges.push({ offset, length });
      while (ranges.length > MAX_RANGES) {
        gap = Math.max(65_536, gap * 2);
        ranges = joinedOver(ranges, gap);
      }
    }
    return ranges;
  } finally {
    await client.close();
  }
}

/** Ranges with no more than `gap` clean bytes between them become one. */
function joinedOver(ranges: readonly Range[], gap: number): { offset: number; length: number }[] {
  const joined: { offset: number; length: number }[] = [];
  for (const { offset, length } of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && offset - (last.offset + last.length) <= gap) last.length = offset + length - last.offset;
    else joined.push({ offset, length });
  }
  return joined;
}
