// The case that nearly every directory of a nightly run is: nothing changed. A scan is held against the leaf of the base, bytes against bytes,
// without making an object of any entry; what is the same is named as it is. A quarter of what the way through entries costs.
import { Content, ENTRY_BYTES, isLeaf, LEAF_HEADER_BYTES, Mark } from '../../../chunker/directory.ts';
import { FileType, fileType, sizeOf } from '../../../chunker/stat-block.ts';
import type { ByteString } from '../../../util/byte-string.ts';
import { isWholeRecord, recordAt } from '../file-calls.ts';

/** What an unchanged leaf holds. */
export interface LeafCounts {
  readonly entries: number;
  readonly bytesLogical: number;
}

/**
 * What the leaf holds when each record of `scan` is an entry of it and the other way round, all of them certain and none a directory, for
 * whose objects one must wait; else undefined. `isExcluded` is asked about each name.
 */
export function unchangedLeaf(
  scan: Buffer,
  payload: Uint8Array,
  isExcluded: ((name: ByteString) => boolean) | undefined,
): LeafCounts | undefined {
  const leaf = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  if (!isLeaf(leaf)) return undefined;
  let entries = 0;
  let bytesLogical = 0;
  let place = LEAF_HEADER_BYTES;
  for (let at = 0; at < scan.length; at += scan.readUInt32LE(at)) {
    if (place + ENTRY_BYTES > leaf.length || !isWholeRecord(scan, at)) return undefined;
    const { stat, name, xattrs, target, end } = recordAt(scan, at);
    const fixedEnd = place + ENTRY_BYTES + (leaf[place] as number);
    const xattrEnd = fixedEnd + leaf.readUInt32LE(place + 4);
    const contentEnd = xattrEnd + leaf.readUInt32LE(place + 8);
    if (contentEnd > leaf.length) return undefined;
    const content = leaf[place + 1] as number;
    const marks = leaf[place + 2] as number;
    // A mount point may be one no longer, or be entered now.
    if (content === Content.unreadable || (marks & (Mark.racy | Mark.mountPoint)) !== 0) return undefined;
    if (xattrs - name !== leaf[place] || target - xattrs !== leaf.readUInt32LE(place + 4)) return undefined;
    if (scan.compare(leaf, place + ENTRY_BYTES - (name - stat), xattrEnd, stat, target) !== 0) return undefined;
    const type = fileType(scan.subarray(stat, name));
    if (type === FileType.directory) return undefined;
    if (type === FileType.symlink && scan.compare(leaf, xattrEnd, contentEnd, target, end) !== 0) return undefined;
    if (isExcluded?.(scan.toString('latin1', name, xattrs) as ByteString) === true) return undefined;
    bytesLogical += sizeOf(scan.subarray(stat, name));
    entries++;
    place = contentEnd;
  }
  return place === leaf.length && entries > 0 ? { entries, bytesLogical } : undefined;
}
