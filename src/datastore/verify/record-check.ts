// Whether a record is what its pack's table says: its checksum holds and, where anybody can make ids, its content makes its id.
import { Kind, PLAIN_SPACE } from '../../chunker/object.ts';
import type { ObjectCodec } from '../../chunker/object-codec.ts';
import { Crypt, readRecordHeader, recordIsWhole } from '../../chunker/record.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Payloads up to here are decoded in place; larger ones are rare, and get memory of their own. */
const OUTPUT_BYTES = 1024 * 1024;
/** The hash borrows 4 bytes before the payload. */
const HEADROOM_BYTES = 4;

/** What a table says of a record; kind 0 when it does not say. */
export interface ExpectedRecord {
  readonly id: Uint8Array;
  readonly space: number;
  readonly kind: number;
}

export class RecordCheck {
  readonly #plain: ObjectCodec;
  readonly #output = Buffer.allocUnsafeSlow(HEADROOM_BYTES + OUTPUT_BYTES);

  /** `plain` is the codec of space plain. */
  constructor(plain: ObjectCodec) {
    this.#plain = plain;
  }

  holds(record: Uint8Array, expected: ExpectedRecord): boolean {
    const header = readRecordHeader(record);
    if (header === undefined || (expected.kind !== 0 && header.kind !== expected.kind)) return false;
    if (Buffer.compare(record.subarray(24, 56), expected.id) !== 0 || !recordIsWhole(record)) return false;
    // Nobody without the key can say more of a claimed record.
    if (expected.space !== PLAIN_SPACE) return header.crypt !== Crypt.plain;
    try {
      const isPlainData = header.kind === Kind.data && header.refCount === 0;
      if (isPlainData && header.rawLength <= OUTPUT_BYTES) return this.#dataHolds(record, expected.id);
      this.#plain.open(record, expected.id);
      return true;
    } catch (error) {
      if (error instanceof HoldfastError) return false;
      throw error;
    }
  }

  #dataHolds(record: Uint8Array, id: Uint8Array): boolean {
    const length = this.#plain.decodePayload(record, this.#output.subarray(HEADROOM_BYTES));
    return this.#plain.dataId(this.#output, HEADROOM_BYTES, length).equals(id);
  }
}
