// Reads what a pack file holds: a sealed one by its footer, any other frame by frame. A scan trusts nothing it has not checked:
// after a bad frame it goes on only at a checkpoint that the pack's own salt vouches for. docs/format.md, section 6.
import { fstatSync } from 'node:fs';
import { MAX_OBJECT_BYTES } from '../../chunker/object.ts';
import { recordId, recordIsWhole } from '../../chunker/record.ts';
import { readFully } from '../../util/direct-io.ts';
import {
  BLOCK_BYTES,
  decodeCheckpoint,
  decodeFooter,
  decodePackHeader,
  decodeTrailer,
  FRAME_HEADER_BYTES,
  type Frame,
  FrameCodec,
  FrameType,
  PACK_HEADER_BYTES,
  PACK_MAX_RECORDS,
  type PackHeader,
  readFrame,
  readTableEntry,
  TABLE_ENTRY_BYTES,
  type TableEntry,
  TRAILER_BYTES,
} from './pack-format.ts';

/** No frame of ours is longer: the largest record with room for its refs, or a full footer. */
const MAX_FRAME_BODY = Math.max(2 * MAX_OBJECT_BYTES, PACK_MAX_RECORDS * TABLE_ENTRY_BYTES + 2 * BLOCK_BYTES);

/** A checkpoint lists no more than a pack holds: what claims to be longer in a guest's data is not read. */
const MAX_CHECKPOINT_BODY = PACK_MAX_RECORDS * TABLE_ENTRY_BYTES + 2 * BLOCK_BYTES;

export interface SealedPack {
  readonly header: PackHeader;
  readonly fileLength: number;
  /** Where the footer's frame begins. */
  readonly footerOffset: number;
  readonly footerMac: Buffer;
  /** Table of all records, 48 bytes each. */
  readonly table: Buffer;
}

/** The header of a pack file; undefined when it has none of ours. */
export function readPackHeader(fd: number): PackHeader | undefined {
  const bytes = Buffer.alloc(PACK_HEADER_BYTES);
  return readFully(fd, bytes, 0) === bytes.length ? decodePackHeader(bytes) : undefined;
}

/** Reads header and footer of a sealed pack; undefined when either does not hold. */
export function readSealedPack(fd: number): SealedPack | undefined {
  const fileLength = fstatSync(fd).size;
  const header = readPackHeader(fd);
  const end = Buffer.alloc(TRAILER_BYTES);
  if (header === undefined || fileLength < PACK_HEADER_BYTES + TRAILER_BYTES) return undefined;
  readFully(fd, end, fileLength - TRAILER_BYTES);
  const trailer = decodeTrailer(end);
  if (
    trailer === undefined ||
    !trailer.packId.equals(header.packId) ||
    trailer.footerOffset + TRAILER_BYTES > fileLength
  )
    return undefined;
  if (fileLength - trailer.footerOffset > MAX_FRAME_BODY) return undefined;
  const frame = Buffer.alloc(fileLength - trailer.footerOffset);
  readFully(fd, frame, trailer.footerOffset);
  const footer = readFrame(frame);
  const isFooter = footer?.type === FrameType.footer && footer.bodyLength === frame.length - FRAME_HEADER_BYTES;
  if (!isFooter || !new FrameCodec(header.salt).check(frame, trailer.footerOffset, footer)) return undefined;
  const table = decodeFooter(frame, header.salt);
  return table === undefined || table.length !== trailer.count * TABLE_ENTRY_BYTES
    ? undefined
    : { header, fileLength, footerOffset: trailer.footerOffset, footerMac: trailer.mac, table };
}

/** Yields the place of every good record of a pack without a trusted footer, in file order. */
export function* scanRecords(fd: number, header: PackHeader): Generator<TableEntry> {
  const scan = new Scan(fd, header);
  let offset = PACK_HEADER_BYTES;
  while (offset < scan.fileLength) {
    const frame = scan.frameAt(offset);
    if (frame === undefined) {
      const checkpoint = scan.nextCheckpoint(offset);
      if (checkpoint === undefined) return;
      for (const entry of checkpoint.entries) {
        if (entry.offset >= offset && scan.holdsRecord(entry)) yield entry;
      }
      offset = checkpoint.end;
      continue;
    }
    if (frame.entry !== undefined) yield frame.entry;
    // Nothing follows a footer.
    if (frame.type === FrameType.footer) return;
    offset = frame.end;
  }
}

class Scan {
  readonly fileLength: number;
  readonly #fd: number;
  readonly #header: PackHeader;
  readonly #codec: FrameCodec;

  constructor(fd: number, header: PackHeader) {
    this.#fd = fd;
    this.#header = header;
    this.#codec = new FrameCodec(header.salt);
    this.fileLength = fstatSync(fd).size;
  }

  /** The frame at an offset when it and its content hold; undefined for a bad one. */
  frameAt(offset: number): { type: number; end: number; entry: TableEntry | undefined } | undefined {
    const read = this.#readFrame(offset);
    if (read === undefined) return undefined;
    const { frame, bytes } = read;
    const end = offset + FRAME_HEADER_BYTES + frame.bodyLength;
    if (frame.type !== FrameType.record) return { type: frame.type, end, entry: undefined };
    const record = bytes.subarray(FRAME_HEADER_BYTES);
    if (!recordIsWhole(record)) return undefined;
    const entry = {
      id: recordId(record),
      space: frame.space,
      offset: offset + FRAME_HEADER_BYTES,
      length: frame.bodyLength,
      kind: record[5] as number,
      depth: record[21] as number,
    };
    return { type: frame.type, end, entry };
  }

  /** The first authentic checkpoint at a block boundary at or after `offset`. */
  nextCheckpoint(offset: number): { end: number; entries: TableEntry[] } | undefined {
    for (let at = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES; at < this.fileLength; at += BLOCK_BYTES) {
      const read = this.#readFrame(at, FrameType.checkpoint);
      const table = read === undefined ? undefined : decodeCheckpoint(read.bytes, this.#header.salt);
      if (read === undefined || table === undefined) continue;
      const entries: TableEntry[] = [];
      for (let place = 0; place < table.length; place += TABLE_ENTRY_BYTES) entries.push(readTableEntry(table, place));
      return { end: at + FRAME_HEADER_BYTES + read.frame.bodyLength, entries };
    }
    return undefined;
  }

  /** Whether a whole record with this id stands where the entry says. */
  holdsRecord(entry: TableEntry): boolean {
    if (entry.offset + entry.length > this.fileLength || entry.length > MAX_FRAME_BODY) return false;
    const record = Buffer.allocUnsafe(entry.length);
    return (
      readFully(this.#fd, record, entry.offset) === entry.length &&
      recordIsWhole(record) &&
      recordId(record).equals(entry.id)
    );
  }

  #readFrame(offset: number, onlyType?: number): { frame: Frame; bytes: Buffer } | undefined {
    const head = Buffer.alloc(FRAME_HEADER_BYTES);
    if (readFully(this.#fd, head, offset) < head.length) return undefined;
    const frame = readFrame(head);
    if (frame === undefined || (onlyType !== undefined && frame.type !== onlyType)) return undefined;
    const longest = frame.type === FrameType.checkpoint ? MAX_CHECKPOINT_BODY : MAX_FRAME_BODY;
    if (frame.bodyLength > longest || offset + FRAME_HEADER_BYTES + frame.bodyLength > this.fileLength)
      return undefined;
    const bytes = frame.type === FrameType.pad ? head : Buffer.allocUnsafe(FRAME_HEADER_BYTES + frame.bodyLength);
    if (bytes !== head && readFully(this.#fd, bytes, offset) < bytes.length) return undefined;
    return this.#codec.check(bytes, offset, frame) ? { frame, bytes } : undefined;
  }
}
