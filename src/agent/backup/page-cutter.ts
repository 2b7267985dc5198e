// Backs up one page of an image in a worker: reads it in windows into the arena, cuts, puts the pieces, puts the page. With a change
// map only what changed is read: unchanged pieces are taken over from the page before, and cutting stops where it meets them again.

import type { Cutter } from '../../chunker/cutter.ts';
import { copyId, ID_BYTES, Kind, type ObjectId, PAGE_BYTES, type StoredObject } from '../../chunker/object.ts';
import { PageBuilder, parsePage } from '../../chunker/page.ts';
import type { Area } from '../../util/arena.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ObjectSink } from '../object-sink.ts';
import { joinRanges, without } from '../sources/ranges.ts';
import type { DiskReader, Range } from '../sources/source.ts';

/** Pages that a thread has under way: while one is read, the other is cut. */
export const PAGE_LANES = 2;
/** Where a thread hears at once that its pages are given up. */
export const ABORT_LANE = PAGE_LANES;
/** Read at once at most: worth a round trip over a socket, and still in the cache when it is hashed. */
const READ_STEP_BYTES = 2 * 1024 * 1024;
/** At a piece that may be taken over: as far as a cut decision looks, so that what is known stays unread. */
const CHANGE_STEP_BYTES = 16 * 1024;
const BLOCK_BYTES = 4096;
/** Room before the window: the hash of a data object borrows 4 bytes before it. */
const HEADROOM_BYTES = 4096;
/** How far beyond its end a cut decision looks: the four blocks that make a hole. */
const LOOKAHEAD_BYTES = 4 * 4096;

export interface PageWork {
  /** Place of the page in the image, in bytes. */
  readonly offset: number;
  readonly length: number;
  /** Page-local ranges that the source knows to be zeros. */
  readonly zeros: readonly Range[];
  /** The page of the base snapshot (undefined: it was zeros) and what changed since, page-local; absent for a full read. */
  readonly base: { readonly page: ObjectId | undefined; readonly changed: readonly Range[] } | undefined;
  /** What the base has here, for a full read whose sink is far away. */
  readonly expected?: Uint8Array | undefined;
}

export interface PageResult {
  /** Undefined when the whole page is zeros. */
  readonly page: ObjectId | undefined;
  readonly bytesRead: number;
}

/** What is known of a page before it is read. */
interface Known {
  /** Ranges of whole blocks that are zeros, ascending. */
  readonly zeros: readonly Range[];
  /** Pieces of the base page that may be taken over, by their offset. */
  readonly pieces: ReadonlyMap<number, KnownPiece>;
}

interface KnownPiece {
  readonly length: number;
  readonly id: Uint8Array;
  /** Behind a hole a piece does not begin with zeros; elsewhere it may. */
  readonly afterHole: boolean;
}

export class PageCutter {
  readonly #cutter: Cutter;
  readonly #window: Area;
  readonly #builder = new PageBuilder();
  #windowEnd: number;

  /** `window` is an area of the cutter's memory with room for `windowBytes(maxBytes)`. */
  constructor(cutter: Cutter, window: Area) {
    this.#cutter = cutter;
    this.#window = window;
    this.#windowEnd = window.bytes.length;
  }

  /** Bytes that the window needs for pieces of at most `maxBytes`. */
  static windowBytes(maxBytes: number): number {
    return HEADROOM_BYTES + READ_STEP_BYTES + maxBytes + LOOKAHEAD_BYTES;
  }

  /** Says how long pieces get: the part of the window that is in use stays as small as that allows. */
  setMaxPiece(maxBytes: number): void {
    this.#windowEnd = PageCutter.windowBytes(maxBytes);
  }

  /** Backs up one page. A page that is wholly zero has no object. */
  async run(work: PageWork, reader: DiskReader, sink: ObjectSink): Promise<PageResult> {
    const { foresight } = sink;
    const { expected } = work;
    if (expected !== undefined && foresight?.isWorthIt) {
      const { page, bytesRead } = await this.#cut(work, reader, sink, (at, length) => foresight.dataId(at, length));
      if (page === undefined) return { page, bytesRead };
      const id = copyId(sink.id(Kind.page, page.refs, page.payload));
      if (id.equals(expected)) {
        foresight.take(id, page.refs);
        return { page: id, bytesRead };
      }
    }
    const { page, bytesRead } = await this.#cut(work, reader, sink, (at, length) => sink.putData(at, length));
    if (page === undefined) return { page, bytesRead };
    // A copy: before the answer has left another page may be put.
    const id = copyId(sink.put(Kind.page, page.refs, page.payload));
    if (expected !== undefined) foresight?.learn(id.equals(expected));
    return { page: id, bytesRead };
  }

  /** Reads and cuts the page; `put` makes ids of its pieces. Valid until the next call. */
  async #cut(
    work: PageWork,
    reader: DiskReader,
    sink: ObjectSink,
    put: (at: number, length: number) => ObjectId,
  ): Promise<{ page: { refs: Uint8Array; payload: Uint8Array } | undefined; bytesRead: number }> {
    const known = whatIsKnown(work, sink);
    const { bytes, pointer } = this.#window;
    this.#builder.clear();
    let hasData = false;
    let bytesRead = 0;
    let afterHole = false;
    // The window holds page bytes [position, position + held), beginning at `start`.
    let position = 0;
    let start = HEADROOM_BYTES;
    let held = 0;
    const advance = (length: number): void => {
      position += length;
      held = Math.max(0, held - length);
      start = held === 0 ? HEADROOM_BYTES : start + length;
    };
    while (position < work.length) {
      const zeros = zerosAt(known.zeros, position);
      if (zeros >= LOOKAHEAD_BYTES || (zeros > 0 && (afterHole || position + zeros === work.length))) {
        this.#builder.addHole(zeros);
        afterHole = true;
        advance(zeros);
        continue;
      }
      const old = known.pieces.get(position);
      // Behind a new hole the zeros that an old piece may begin with belong to the hole.
      if (old !== undefined && (old.afterHole || !afterHole)) {
        this.#builder.addData(old.length, old.id);
        hasData = true;
        afterHole = false;
        advance(old.length);
        continue;
      }
      const piece: number =
        held === 0 ? 0 : this.#cutter.nextDisk(pointer + start, held, position + held === work.length, afterHole);
      if (piece === 0) {
        if (start + held + READ_STEP_BYTES > this.#windowEnd) {
          bytes.copyWithin(HEADROOM_BYTES, start, start + held);
          start = HEADROOM_BYTES;
        }
        const at = position + held;
        const wanted = Math.min(READ_STEP_BYTES, toNextKnown(known.pieces, at), work.length - at);
        const length = readLength(known.zeros, at, wanted);
        const pending = reader.readInto(work.offset + at, bytes.subarray(start + held, start + held + length));
        if (pending !== undefined) await pending;
        held += length;
        bytesRead += length;
        continue;
      }
      const pieceBytes = Math.abs(piece);
      afterHole = piece < 0;
      if (afterHole) {
        this.#builder.addHole(pieceBytes);
      } else {
        this.#builder.addData(pieceBytes, put(pointer + start, pieceBytes));
        hasData = true;
      }
      advance(pieceBytes);
    }
    return { page: hasData ? this.#builder.finish() : undefined, bytesRead };
  }
}

function whatIsKnown(work: PageWork, sink: ObjectSink): Known {
  const pieces = new Map<number, KnownPiece>();
  const told = work.zeros.flatMap((range) => wholeBlocks(range, work.length));
  if (work.base === undefined) return { zeros: told, pieces };
  const { page, changed } = work.base;
  const holes: Range[] = [];
  if (page === undefined) {
    holes.push({ offset: 0, length: work.length });
  } else {
    const stored = readablePage(sink, page);
    if (stored === undefined) return { zeros: told, pieces };
    const { refs, payload } = stored;
    let afterHole = false;
    for (const piece of parsePage(payload, refs.length / ID_BYTES)) {
      const isAfterHole = afterHole;
      afterHole = piece.ref < 0;
      // The last page of a disk that grew or shrank has pieces that no longer end where they did.
      if (piece.offset + piece.length > work.length) continue;
      if (piece.ref < 0) holes.push(piece);
      else if (!isTouched(piece, changed))
        pieces.set(piece.offset, {
          length: piece.length,
          id: refs.subarray(piece.ref * ID_BYTES, (piece.ref + 1) * ID_BYTES),
          afterHole: isAfterHole,
        });
    }
  }
  const kept = without(holes, changed).flatMap((range) => wholeBlocks(range, work.length));
  return { zeros: joinRanges([...kept, ...told]), pieces };
}

/** The page of the base, or undefined when it has no good copy: the disk is read instead, which heals it. */
export function readablePage(sink: ObjectSink, page: ObjectId): StoredObject | undefined {
  try {
    return sink.get(page);
  } catch (error) {
    if (error instanceof HoldfastError && ['object-damaged', 'object-missing'].includes(error.code)) return undefined;
    throw error;
  }
}

/** Whether a change reaches a piece, or the bytes behind it on which its end depends. */
function isTouched(piece: Range, changed: readonly Range[]): boolean {
  const end = Math.min(piece.offset + piece.length + LOOKAHEAD_BYTES, PAGE_BYTES);
  return changed.some((range) => range.offset < end && range.offset + range.length > piece.offset);
}

/** The whole blocks inside a range; the page's end counts as the end of a block. */
function wholeBlocks(range: Range, pageLength: number): Range[] {
  const from = Math.ceil(range.offset / BLOCK_BYTES) * BLOCK_BYTES;
  const end = range.offset + range.length;
  const to = end >= pageLength ? pageLength : Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES;
  return to > from ? [{ offset: from, length: to - from }] : [];
}

/** How many bytes from `position` on are known to be zeros. */
function zerosAt(zeros: readonly Range[], position: number): number {
  const range = zeros.find((known) => known.offset <= position && position < known.offset + known.length);
  return range === undefined ? 0 : range.offset + range.length - position;
}

/**
 * How far it is to the next piece that may be taken over, and as far behind it as the cut there looks: all of it has to be read, so one read gets it;
 * infinite without one. A round trip to a running guest's disk takes half a millisecond.
 */
function toNextKnown(pieces: Known['pieces'], at: number): number {
  for (const offset of pieces.keys()) if (offset >= at) return offset - at + CHANGE_STEP_BYTES;
  return Number.POSITIVE_INFINITY;
}

/** How much to read at once: not far into a range that is known to be zeros. */
function readLength(zeros: readonly Range[], at: number, wanted: number): number {
  const range = zeros.find((known) => known.offset + known.length > at);
  if (range === undefined || range.offset >= at + wanted) return wanted;
  return Math.min(wanted, Math.max(range.offset - at, LOOKAHEAD_BYTES));
}
