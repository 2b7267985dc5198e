// Which records of a pack are read with one direct read: those that lie close together.

/** Where a record is. */
export interface Place {
  readonly pack: number;
  readonly offset: number;
  readonly length: number;
}

/** Most bytes of one read; it bounds the buffer, and larger reads are not faster. */
export const RUN_BYTES = 2 * 1024 * 1024;
/** A direct read begins and ends at block boundaries. */
export const SLACK_BYTES = 8192;
/** A gap this small is cheaper to read over than to skip with a second read. */
const GAP_BYTES = 64 * 1024;

/** Whether `next` can come with the read of `start` to `end`, and all of it stays within `maxBytes`. */
export function continuesRun(start: Place, end: number, next: Place, maxBytes = RUN_BYTES): boolean {
  return (
    next.pack === start.pack &&
    next.offset >= end &&
    next.offset - end <= GAP_BYTES &&
    next.offset + next.length - start.offset <= maxBytes
  );
}
