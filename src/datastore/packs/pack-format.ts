// Bytes of a pack: header, frames, checkpoint and footer tables. Pure; docs/format.md, section 6, is the specification.
import { crc32 } from 'node:zlib';
import { shortHash } from '../../chunker/object-id.ts';

export const PACK_HEADER_BYTES = 128;
export const FRAME_HEADER_BYTES = 16;
export const TABLE_ENTRY_BYTES = 48;
export const TRAILER_BYTES = 64;
export const BLOCK_BYTES = 4096;
const MAC_BYTES = 16;

/** A pack is closed when the next record would begin behind this. */
export const PACK_TARGET_BYTES = 128 * 1024 * 1024;
/** Bounds footers to 3 MiB, whatever the size of the records. */
export const PACK_MAX_RECORDS = 65536;

export const PackKind = { data: 1, metadata: 2, delta: 3 } as const;
export const FrameType = { record: 1, pad: 2, checkpoint: 3, footer: 4 } as const;

export interface PackHeader {
  readonly packId: Buffer;
  readonly salt: Buffer;
  readonly kind: number;
  readonly sessionId: Buffer;
  readonly epoch: number;
  readonly createdMs: number;
  readonly storeId: Buffer;
}

/** Where one record of a pack stands. Offsets and lengths in bytes, of the record without its frame. */
export interface TableEntry {
  readonly id: Buffer;
  readonly space: number;
  readonly offset: number;
  readonly length: number;
  readonly kind: number;
  readonly depth: number;
}

const HEADER_MAGIC = Buffer.from('HOLDPACK', 'latin1');
const TRAILER_MAGIC = Buffer.from('HOLDFOOT', 'latin1');

export function encodePackHeader(header: PackHeader): Buffer {
  const bytes = Buffer.alloc(PACK_HEADER_BYTES);
  HEADER_MAGIC.copy(bytes, 0);
  bytes.writeUInt16LE(1, 8);
  bytes.writeUInt8(header.kind, 10);
  bytes.writeUInt32LE(PACK_HEADER_BYTES, 12);
  header.packId.copy(bytes, 16);
  header.salt.copy(bytes, 32);
  header.sessionId.copy(bytes, 64);
  bytes.writeBigUInt64LE(BigInt(header.epoch), 80);
  bytes.writeBigUInt64LE(BigInt(header.createdMs), 88);
  header.storeId.copy(bytes, 96);
  shortHash(bytes.subarray(0, 112)).copy(bytes, 112);
  return bytes;
}

/** Undefined when the bytes are not the header of a pack of this version. */
export function decodePackHeader(bytes: Buffer): PackHeader | undefined {
  if (bytes.length < PACK_HEADER_BYTES || !bytes.subarray(0, 8).equals(HEADER_MAGIC) || bytes.readUInt16LE(8) !== 1)
    return undefined;
  if (!shortHash(bytes.subarray(0, 112)).equals(bytes.subarray(112, 128))) return undefined;
  return {
    kind: bytes.readUInt8(10),
    packId: Buffer.from(bytes.subarray(16, 32)),
    salt: Buffer.from(bytes.subarray(32, 64)),
    sessionId: Buffer.from(bytes.subarray(64, 80)),
    epoch: Number(bytes.readBigUInt64LE(80)),
    createdMs: Number(bytes.readBigUInt64LE(88)),
    storeId: Buffer.from(bytes.subarray(96, 112)),
  };
}

export interface Frame {
  readonly type: number;
  readonly bodyLength: number;
  readonly space: number;
  readonly tag: number;
}

/** Writes frame headers of one pack and checks them; keeps scratch space so that nothing is allocated per record. */
export class FrameCodec {
  readonly #scratch = Buffer.alloc(32 + 8 + 12 + MAC_BYTES);

  constructor(salt: Uint8Array) {
    this.#scratch.set(salt, 0);
  }

  #tag(fileOffset: number, header: Uint8Array, bodyEnd: Uint8Array | undefined): number {
    this.#scratch.writeUInt32LE(fileOffset % 0x100000000, 32);
    this.#scratch.writeUInt32LE(Math.floor(fileOffset / 0x100000000), 36);
    this.#scratch.set(header.subarray(0, 12), 40);
    if (bodyEnd === undefined) return crc32(this.#scratch.subarray(0, 52));
    this.#scratch.set(bodyEnd, 52);
    return crc32(this.#scratch);
  }

  /** Writes the header of a frame that will stand at `fileOffset`; its body of `bodyLength` bytes already follows in `frame`. */
  writeHeader(frame: Uint8Array, fileOffset: number, type: number, bodyLength: number, space: number): void {
    this.#writeFields(frame, type, bodyLength, space);
    this.#writeTag(frame, fileOffset, this.#bodyEnd(frame, type, bodyLength));
  }

  /** Writes the header of a record's frame that will stand at `fileOffset`; the record lies elsewhere. */
  writeRecordHeader(header: Uint8Array, fileOffset: number, record: Uint8Array, space: number): void {
    this.#writeFields(header, FrameType.record, record.length, space);
    this.#writeTag(header, fileOffset, record.subarray(record.length - MAC_BYTES));
  }

  #writeFields(header: Uint8Array, type: number, bodyLength: number, space: number): void {
    const view = new DataView(header.buffer, header.byteOffset, FRAME_HEADER_BYTES);
    view.setUint32(0, bodyLength, true);
    view.setUint32(4, type, true);
    view.setUint32(8, space, true);
  }

  #writeTag(header: Uint8Array, fileOffset: number, bodyEnd: Uint8Array | undefined): void {
    const view = new DataView(header.buffer, header.byteOffset, FRAME_HEADER_BYTES);
    view.setUint32(12, this.#tag(fileOffset, header, bodyEnd), true);
  }

  /** Whether header and the end of the body belong together, to this pack and to this place. `frame` holds both. */
  check(frame: Uint8Array, fileOffset: number, header: Frame): boolean {
    return this.#tag(fileOffset, frame, this.#bodyEnd(frame, header.type, header.bodyLength)) === header.tag;
  }

  #bodyEnd(frame: Uint8Array, type: number, bodyLength: number): Uint8Array | undefined {
    if (type === FrameType.pad) return undefined;
    const end = FRAME_HEADER_BYTES + bodyLength;
    return frame.subarray(end - MAC_BYTES, end);
  }
}

/** Reads a frame header without checking its tag; undefined when its shape is impossible. */
export function readFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < FRAME_HEADER_BYTES || (bytes.readUInt32LE(4) & 0xffffff00) !== 0) return undefined;
  const frame = {
    bodyLength: bytes.readUInt32LE(0),
    type: bytes.readUInt8(4),
    space: bytes.readUInt32LE(8),
    tag: bytes.readUInt32LE(12),
  };
  if (frame.type < FrameType.record || frame.type > FrameType.footer) return undefined;
  if (frame.type !== FrameType.pad && frame.bodyLength < MAC_BYTES) return undefined;
  return frame;
}

export function writeTableEntry(table: Buffer, at: number, entry: TableEntry): void {
  table.set(entry.id, at);
  table.writeUInt32LE(entry.space, at + 32);
  table.writeUInt32LE(entry.offset, at + 36);
  table.writeUInt32LE(entry.length, at + 40);
  table.writeUInt8(entry.kind, at + 44);
  table.writeUInt8(entry.depth, at + 45);
  table.writeUInt16LE(0, at + 46);
}

export function readTableEntry(table: Buffer, at: number): TableEntry {
  return {
    id: table.subarray(at, at + 32),
    space: table.readUInt32LE(at + 32),
    offset: table.readUInt32LE(at + 36),
    length: table.readUInt32LE(at + 40),
    kind: table.readUInt8(at + 44),
    depth: table.readUInt8(at + 45),
  };
}

const roundUp = (value: number): number => Math.ceil(value / BLOCK_BYTES) * BLOCK_BYTES;

/** Bytes of the pad frame that brings `fileOffset` to a block boundary; 0 when it is at one. */
export function padBytes(fileOffset: number): number {
  const gap = roundUp(fileOffset) - fileOffset;
  return gap === 0 || gap >= FRAME_HEADER_BYTES ? gap : gap + BLOCK_BYTES;
}

/** A whole checkpoint frame for a block boundary at `fileOffset`; `table` holds the entries since the checkpoint before. */
export function encodeCheckpoint(
  codec: FrameCodec,
  salt: Uint8Array,
  fileOffset: number,
  previous: number,
  table: Buffer,
): Buffer {
  const length = roundUp(FRAME_HEADER_BYTES + 16 + table.length + MAC_BYTES);
  const frame = Buffer.alloc(length);
  frame.writeUInt32LE(table.length / TABLE_ENTRY_BYTES, FRAME_HEADER_BYTES);
  frame.writeBigUInt64LE(BigInt(previous), FRAME_HEADER_BYTES + 8);
  table.copy(frame, FRAME_HEADER_BYTES + 16);
  writeMac(frame, salt);
  codec.writeHeader(frame, fileOffset, FrameType.checkpoint, length - FRAME_HEADER_BYTES, 0);
  return frame;
}

/** The table of a checkpoint frame; undefined when its mac fails. */
export function decodeCheckpoint(frame: Buffer, salt: Uint8Array): Buffer | undefined {
  if (!macHolds(frame, salt)) return undefined;
  return tableAt(frame, FRAME_HEADER_BYTES + 16, frame.readUInt32LE(FRAME_HEADER_BYTES), MAC_BYTES);
}

/** A whole footer frame, trailer included, that ends the file at a block boundary. */
export function encodeFooter(
  codec: FrameCodec,
  header: { salt: Buffer; packId: Buffer },
  fileOffset: number,
  table: Buffer,
): Buffer {
  const content = FRAME_HEADER_BYTES + 8 + table.length + TRAILER_BYTES;
  const length = roundUp(fileOffset + content) - fileOffset;
  const frame = Buffer.alloc(length);
  const count = table.length / TABLE_ENTRY_BYTES;
  frame.writeUInt32LE(count, FRAME_HEADER_BYTES);
  table.copy(frame, FRAME_HEADER_BYTES + 8);
  const trailer = length - TRAILER_BYTES;
  TRAILER_MAGIC.copy(frame, trailer);
  frame.writeBigUInt64LE(BigInt(fileOffset), trailer + 8);
  frame.writeUInt32LE(count, trailer + 16);
  header.packId.copy(frame, trailer + 24);
  writeMac(frame, header.salt);
  codec.writeHeader(frame, fileOffset, FrameType.footer, length - FRAME_HEADER_BYTES, 0);
  return frame;
}

export interface Trailer {
  readonly footerOffset: number;
  readonly count: number;
  readonly packId: Buffer;
  readonly mac: Buffer;
}

/** Reads the trailer that ends a sealed pack (its last 64 bytes); undefined when there is none. */
export function decodeTrailer(bytes: Buffer): Trailer | undefined {
  if (bytes.length !== TRAILER_BYTES || !bytes.subarray(0, 8).equals(TRAILER_MAGIC)) return undefined;
  return {
    footerOffset: Number(bytes.readBigUInt64LE(8)),
    count: bytes.readUInt32LE(16),
    packId: Buffer.from(bytes.subarray(24, 40)),
    mac: Buffer.from(bytes.subarray(48, 64)),
  };
}

/** The table of a footer frame; undefined when its mac fails or its count is impossible. */
export function decodeFooter(frame: Buffer, salt: Uint8Array): Buffer | undefined {
  if (frame.length < FRAME_HEADER_BYTES + 8 + TRAILER_BYTES || !macHolds(frame, salt)) return undefined;
  return tableAt(frame, FRAME_HEADER_BYTES + 8, frame.readUInt32LE(FRAME_HEADER_BYTES), TRAILER_BYTES);
}

function tableAt(frame: Buffer, at: number, count: number, tail: number): Buffer | undefined {
  const end = at + count * TABLE_ENTRY_BYTES;
  return end + tail > frame.length ? undefined : frame.subarray(at, end);
}

function writeMac(frame: Buffer, salt: Uint8Array): void {
  const at = frame.length - MAC_BYTES;
  shortHash(frame.subarray(FRAME_HEADER_BYTES, at), salt).copy(frame, at);
}

function macHolds(frame: Buffer, salt: Uint8Array): boolean {
  const at = frame.length - MAC_BYTES;
  return shortHash(frame.subarray(FRAME_HEADER_BYTES, at), salt).equals(frame.subarray(at));
}
