// What can be said of a record that a client sends, without any key: that it is one whole record, of a form that may stand in its space.
import { ENCRYPTION_OVERHEAD_BYTES } from '../../chunker/encrypting-codec.ts';
import { Kind, PLAIN_SPACE } from '../../chunker/object.ts';
import {
  Codec,
  Crypt,
  damagedRecord,
  type RecordHeader,
  readRecordHeader,
  recordIsWhole,
  recordRefs,
} from '../../chunker/record.ts';

/** What the clear part of a received record tells. */
export interface ReceivedRecord {
  readonly kind: number;
  /** A view on the record. */
  readonly refs: Uint8Array;
  /** Of the plain payload in space plain, of the encrypted one elsewhere. */
  readonly payloadBytes: number;
}

/** @throws `object-damaged` when the bytes are not exactly one whole record, or one of a form that this space does not take. */
export function checkRecord(record: Uint8Array, space: number): ReceivedRecord {
  const header = readRecordHeader(record);
  if (header === undefined || !recordIsWhole(record)) throw damagedRecord(record, 'it is not one whole record');
  const why = refusal(header, space);
  if (why !== undefined) throw damagedRecord(record, why);
  const isPlain = space === PLAIN_SPACE;
  return {
    kind: header.kind,
    refs: recordRefs(record, header),
    payloadBytes: isPlain ? header.rawLength : header.storedLength - ENCRYPTION_OVERHEAD_BYTES,
  };
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
