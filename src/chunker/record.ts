// The record codec: one object as bytes, the same in a pack and on the wire. docs/format.md, section 3.
import { copyShared } from '../util/copy-shared.ts';
import { HoldfastError } from '../util/errors.ts';
import { ID_BYTES, MAX_OBJECT_BYTES, type ObjectId } from './object.ts';
import { type IdHasher, shortHash } from './object-id.ts';
import { type Compressor, compressBound, type Decompressor } from './zstd.ts';

export const RECORD_HEADER_BYTES = 56;
/** Where the id stands in a record. */
export const RECORD_ID_AT = 24;
export const CHECKSUM_BYTES = 16;
const MAGIC = 0x52464448; // "HDFR"
const VERSION = 1;

export const Codec = { raw: 0, zstd: 1, zstdWithBases: 2 } as const;
export const Crypt = { plain: 0, aes256Gcm: 1 } as const;

/** Below this saving a payload is stored as it is: it decodes at the speed of memcpy, and 3 % is not worth zstd's. */
const WORTHWHILE = 0.97;

/** Whether a compressed payload is to be stored rather than the plain one. */
export const isWorthwhile = (compressedBytes: number, payloadBytes: number): boolean =>
  compressedBytes <= payloadBytes * WORTHWHILE;

/** Most bytes that a record with these plain sizes can take, room for the compressor included. */
export function recordBound(refsBytes: number, payloadBytes: number): number {
  return RECORD_HEADER_BYTES + refsBytes + compressBound(payloadBytes) + CHECKSUM_BYTES;
}

/** The fields of a record's header, checked for plausibility; `data` is not looked at beyond it. */
export interface RecordHeader {
  readonly kind: number;
  readonly codec: number;
  readonly crypt: number;
  readonly refCount: number;
  readonly storedLength: number;
  readonly rawLength: number;
  readonly baseCount: number;
  readonly depth: number;
  /** Where the stored payload begins: behind bases and refs. */
  readonly storedAt: number;
  readonly recordLength: number;
}

/**
 * Writes the record of an object into `target` (at least `recordBound` bytes) and returns its length.
 * `payload` must not overlap `target`.
 */
export function encodeRecord(
  target: Uint8Array,
  object: { kind: number; id: Uint8Array; refs: Uint8Array; payload: Uint8Array },
  compressor: Compressor,
): number {
  const { refs, payload } = object;
  const payloadAt = RECORD_HEADER_BYTES + refs.length;
  let codec: number = Codec.zstd;
  let storedLength = compressor.compress(target.subarray(payloadAt, target.length - CHECKSUM_BYTES), payload);
  if (!isWorthwhile(storedLength, payload.length)) {
    codec = Codec.raw;
    storedLength = payload.length;
    copyShared(target, payloadAt, payload);
  }
  writeRecordHeader(target, object, { codec, crypt: Crypt.plain, storedLength, rawLength: payload.length });
  return sealRecord(target, payloadAt + storedLength);
}

/** Writes header and refs of a record without bases; returns a view on all of `target`. */
export function writeRecordHeader(
  target: Uint8Array,
  { kind, id, refs }: { kind: number; id: Uint8Array; refs: Uint8Array },
  { codec, crypt, storedLength, rawLength }: Pick<RecordHeader, 'codec' | 'crypt' | 'storedLength' | 'rawLength'>,
): DataView {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, VERSION);
  view.setUint8(5, kind);
  view.setUint8(6, codec);
  view.setUint8(7, crypt);
  view.setUint32(8, refs.length / ID_BYTES, true);
  view.setUint32(12, storedLength, true);
  view.setUint32(16, rawLength, true);
  view.setUint32(20, 0, true);
  target.set(id, RECORD_ID_AT);
  target.set(refs, RECORD_HEADER_BYTES);
  return view;
}

/** Writes the checksum of what stands before `end`; returns the length of the record. */
export function sealRecord(target: Uint8Array, end: number): number {
  target.set(shortHash(target.subarray(0, end)), end);
  return end + CHECKSUM_BYTES;
}

/** Reads a record's header; undefined when the bytes cannot be a record of this version. */
export function readRecordHeader(record: Uint8Array): RecordHeader | undefined {
  if (record.length < RECORD_HEADER_BYTES + CHECKSUM_BYTES) return undefined;
  const view = new DataView(record.buffer, record.byteOffset, RECORD_HEADER_BYTES);
  if (view.getUint32(0, true) !== MAGIC || view.getUint8(4) !== VERSION || view.getUint8(5) === 0) return undefined;
  const refCount = view.getUint32(8, true);
  const storedLength = view.getUint32(12, true);
  const rawLength = view.getUint32(16, true);
  const baseCount = view.getUint8(20);
  if (baseCount > 4 || refCount * ID_BYTES + Math.max(storedLength, rawLength) > 2 * MAX_OBJECT_BYTES) return undefined;
  const storedAt = RECORD_HEADER_BYTES + (baseCount + refCount) * ID_BYTES;
  return {
    kind: view.getUint8(5),
    codec: view.getUint8(6),
    crypt: view.getUint8(7),
    refCount,
    storedLength,
    rawLength,
    baseCount,
    depth: view.getUint8(21),
    storedAt,
    recordLength: storedAt + storedLength + CHECKSUM_BYTES,
  };
}

/** Whether the bytes are exactly one record whose checksum holds. Says nothing of its id. */
export function recordIsWhole(record: Uint8Array): boolean {
  const header = readRecordHeader(record);
  if (header === undefined || header.recordLength !== record.length) return false;
  const end = record.length - CHECKSUM_BYTES;
  return shortHash(record.subarray(0, end)).equals(record.subarray(end));
}

export function recordId(record: Uint8Array): ObjectId {
  return Buffer.from(record.subarray(RECORD_ID_AT, RECORD_ID_AT + ID_BYTES)) as ObjectId;
}

/** The refs of a record, one after the other; a view on it. */
export function recordRefs(record: Uint8Array, header: RecordHeader): Uint8Array {
  const at = RECORD_HEADER_BYTES + header.baseCount * ID_BYTES;
  return record.subarray(at, at + header.refCount * ID_BYTES);
}

/**
 * Decodes the payload of a plain record into `target` and returns its length.
 * @throws HoldfastError `object-damaged` when the record is not decodable, or does not fit `target`.
 */
export function decodePayload(record: Uint8Array, target: Uint8Array, decompressor: Decompressor): number {
  const header = readRecordHeader(record);
  if (header === undefined || header.recordLength > record.length)
    throw damagedRecord(record, 'its header is not a record header');
  if (header.crypt !== Crypt.plain)
    throw damagedRecord(record, 'it is encrypted, which no record of space plain may be');
  if (header.rawLength > target.length)
    throw damagedRecord(record, `it holds ${header.rawLength} bytes where ${target.length} were expected`);
  const stored = record.subarray(header.storedAt, header.storedAt + header.storedLength);
  unpackPayload(record, header.codec, stored, target.subarray(0, header.rawLength), decompressor);
  return header.rawLength;
}

/**
 * Fills `target`, which has the plain length, from a payload as `codec` says. `record` is named in errors.
 * @throws HoldfastError `object-damaged` when that is not what the payload gives.
 */
export function unpackPayload(
  record: Uint8Array,
  codec: number,
  packed: Uint8Array,
  target: Uint8Array,
  decompressor: Decompressor,
): void {
  if (codec === Codec.raw) {
    if (packed.length !== target.length) throw damagedRecord(record, 'its lengths contradict each other');
    copyShared(target, 0, packed);
    return;
  }
  if (codec !== Codec.zstd) throw damagedRecord(record, `codec ${codec} is not known to this version`);
  let length: number;
  try {
    length = decompressor.decompress(target, packed);
  } catch (cause) {
    throw damagedRecord(record, 'its payload does not decompress', cause);
  }
  if (length !== target.length) throw damagedRecord(record, 'its payload has another length than it says');
}

/**
 * Decodes a plain record of any kind and checks that it is the object it should be.
 * @throws HoldfastError `object-damaged` when it is not.
 */
export function openRecord(
  record: Uint8Array,
  id: Uint8Array,
  hasher: IdHasher,
  decompressor: Decompressor,
): { kind: number; refs: Uint8Array; payload: Buffer } {
  const header = readRecordHeader(record);
  if (header === undefined) throw damagedRecord(record, 'its header is not a record header');
  const payload = Buffer.allocUnsafe(header.rawLength);
  decodePayload(record, payload, decompressor);
  const refs = Buffer.from(recordRefs(record, header));
  if (!hasher.id(header.kind, refs, payload).equals(id))
    throw damagedRecord(record, 'its content does not match its id');
  return { kind: header.kind, refs, payload };
}

/** The error for a record that is not what it should be. */
export function damagedRecord(record: Uint8Array, why: string, cause?: unknown): HoldfastError {
  const id = record.length >= RECORD_HEADER_BYTES ? recordId(record).toString('hex') : 'unknown';
  return new HoldfastError('object-damaged', `the stored object ${id.slice(0, 16)}… is damaged: ${why}`, {
    cause,
    data: { id },
  });
}
