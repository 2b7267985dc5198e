// Holds a change map against the disk: one piece that is said to be unchanged is read and compared with what the base has.

import { ID_BYTES, Kind, type ObjectId } from '../../chunker/object.ts';
import { parsePage } from '../../chunker/page.ts';
import type { ObjectSink } from '../object-sink.ts';
import type { DiskReader, Range } from '../sources/source.ts';
import { readablePage } from './page-cutter.ts';

/** What is read of a hole, which may be the whole page: as much as an average chunk. */
const HOLE_SAMPLE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE_SAMPLE_BYTES);

export interface SampleWork {
  /** Place of the page in the image, in bytes. */
  readonly offset: number;
  readonly length: number;
  /** Undefined: the page was zeros. */
  readonly page: ObjectId | undefined;
  /** Page-local. */
  readonly changed: readonly Range[];
  /** In [0, 1): which piece. */
  readonly pick: number;
}

export interface SampleResult {
  readonly bytesRead: number;
  /** Where in the image the disk differs from the base although the map says it does not. */
  readonly lie: Range | undefined;
  /** The page of the base has no good copy any more: it cannot be named, the disk has to be read. */
  readonly isLost: boolean;
}

export async function comparePiece(work: SampleWork, reader: DiskReader, sink: ObjectSink): Promise<SampleResult> {
  const base = work.page === undefined ? undefined : readablePage(sink, Buffer.from(work.page) as ObjectId);
  if (work.page !== undefined && base === undefined) return { bytesRead: 0, lie: undefined, isLost: true };
  const pieces =
    base === undefined
      ? [{ offset: 0, length: work.length, ref: -1 }]
      : parsePage(base.payload, base.refs.length / ID_BYTES);
  const unchanged = pieces.filter(
    (piece) =>
      piece.offset + piece.length <= work.length &&
      !work.changed.some(
        (range) => range.offset < piece.offset + piece.length && range.offset + range.length > piece.offset,
      ),
  );
  const piece = unchanged[Math.floor(work.pick * unchanged.length)];
  if (piece === undefined) return { bytesRead: 0, lie: undefined, isLost: false };
  const length = piece.ref < 0 ? Math.min(piece.length, HOLE_SAMPLE_BYTES) : piece.length;
  const offset =
    work.offset + piece.offset + (piece.ref < 0 ? Math.floor((work.pick * (piece.length - length)) / 4096) * 4096 : 0);
  const bytes = Buffer.alloc(length);
  await reader.readInto(offset, bytes);
  const same =
    piece.ref < 0
      ? bytes.equals(ZEROS.subarray(0, length))
      : sink
          .id(Kind.data, new Uint8Array(0), bytes)
          .equals((base as { refs: Uint8Array }).refs.subarray(piece.ref * ID_BYTES, (piece.ref + 1) * ID_BYTES));
  return { bytesRead: length, lie: same ? undefined : { offset, length }, isLost: false };
}
