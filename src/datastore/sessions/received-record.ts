// What a thread checks of a record that a client sends: that it is one whole record, of a form that may stand in its space, and in space
// plain that its content is what its id says. Elsewhere nobody can tell that here, and what it claims concerns that space alone.
import { ENCRYPTION_OVERHEAD_BYTES } from '../../chunker/encrypting-codec.ts';
import { ID_BYTES, Kind, MAX_OBJECT_BYTES, type ObjectId, PLAIN_SPACE } from '../../chunker/object.ts';
import { IdHasher, shortHash } from '../../chunker/object-id.ts';
import {
  CHECKSUM_BYTES,
  Codec,
  Crypt,
  damagedRecord,
  RECORD_ID_AT,
  type RecordHeader,
  readRecordHeader,
  recordRefs,
  unpackPayload,
} from '../../chunker/record.ts';
import { Decompressor } from '../../chunker/zstd.ts';
import { HoldfastError } from '../../util/errors.ts';

/** What the clear part of a received record tells. */
export interface ReceivedRecord {
  readonly kind: number;
  /** A view on the record, as `refs`. */
  readonly id: ObjectId;
  readonly refs: Uint8Array;
  /** Of the plain payload in space plain, of the encrypted one elsewhere. */
  readonly payloadBytes: number;
}

/** Before the payload in the scratch memory: the hash of data borrows them. */
const BORROWED_BYTES = 4;

/** One per thread: its scratch memory is as large as the largest object, and costs what the largest so far has touched. */
export class RecordCheck {
  readonly #hasher = new IdHasher();
  readonly #decompressor = new Decompressor();
  #scratch: Buffer | undefined;

  /**
   * Checks the record; 4 bytes of it are changed meanwhile.
   * @throws `object-damaged` when the bytes are not exactly one whole record, of a form that this space takes, with the content that it
   * claims; `too-large`.
   */
  check(record: Uint8Array, space: number): ReceivedRecord {
    const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
    const header = readRecordHeader(bytes);
    if (header === undefined || header.recordLength !== bytes.length || !checksumHolds(bytes))
      throw damagedRecord(bytes, 'it is not one whole record');
    const why = refusal(header, space);
    if (why !== undefined) throw damagedRecord(bytes, why);
    const isPlain = space === PLAIN_SPACE;
    const payloadBytes = isPlain ? header.rawLength : header.storedLength - ENCRYPTION_OVERHEAD_BYTES;
    const refs = recordRefs(bytes, header);
    requireSize(refs.length + payloadBytes);
    const id = bytes.subarray(RECORD_ID_AT, RECORD_ID_AT + ID_BYTES) as ObjectId;
    if (isPlain && !this.#contentId(bytes, header, refs).equals(id))
      throw damagedRecord(bytes, 'its content does not match its id');
    return { kind: header.kind, id, refs, payloadBytes };
  }

  /** The id of what is in the record. A payload that is not compressed is hashed where it lies. */
  #contentId(record: Buffer, header: RecordHeader, refs: Uint8Array): ObjectId {
    const { kind, codec, storedAt, storedLength, rawLength } = header;
    let memory = record;
    let at = storedAt;
    if (codec === Codec.raw) {
      if (storedLength !== rawLength) throw damagedRecord(record, 'its lengths contradict each other');
    } else {
      this.#scratch ??= Buffer.allocUnsafeSlow(BORROWED_BYTES + MAX_OBJECT_BYTES);
      memory = this.#scratch;
      at = BORROWED_BYTES;
      const stored = record.subarray(storedAt, storedAt + storedLength);
      unpackPayload(record, codec, stored, memory.subarray(at, at + rawLength), this.#decompressor);
    }
    if (kind === Kind.data) return this.#hasher.dataId(memory, at, rawLength);
    return this.#hasher.id(kind, refs, memory.subarray(at, at + rawLength));
  }
}

/** @throws `too-large` past what one object may take. */
export function requireSize(bytes: number): void {
  if (bytes > MAX_OBJECT_BYTES)
    throw new HoldfastError('too-large', `an object of ${bytes} bytes is over the limit of ${MAX_OBJECT_BYTES}`);
}

function checksumHolds(record: Buffer): boolean {
  const end = record.length - CHECKSUM_BYTES;
  return shortHash(record.subarray(0, end)).equals(record.subarray(end));
}

function refusal(
  { kind, codec, crypt, refCount, storedLength, rawLength, baseCount, depth }: RecordHeader,
  space: number,
) {
  if (codec !== Codec.raw && codec !== Codec.zstd) return `codec ${codec} is not known to this version`;
  if (baseCount !== 0 || depth !== 0) return 'it has bases, which this version does not take';
  // Walks do not open data objects: what one named would not be kept.
  if (kind === Kind.data && refCount !== 0) return 'it is data and names other objects';
  if (space === PLAIN_SPACE) return crypt === Crypt.plain ? undefined : 'it is encrypted, and its session is not';
  if (crypt !== Crypt.aes256Gcm) return 'it is not encrypted, and its session is';
  if (rawLength !== 0) return 'it tells the length of what is encrypted';
  return storedLength < ENCRYPTION_OVERHEAD_BYTES ? 'it is too short for an encrypted payload' : undefined;
}
