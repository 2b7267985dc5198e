// The header of one extent: which blocks of which clusters follow it. One object holds them and is filled anew for each extent.
import type { ExactReader } from './exact-reader.ts';
import { isSealed } from './vma-header.ts';
import {
  EXTENT_HEADER_BYTES,
  EXTENT_MAGIC,
  EXTENT_MD5_AT,
  EXTENT_UUID_AT,
  SLOTS,
  SLOTS_AT,
  UUID_BYTES,
} from './vma-layout.ts';

export class VmaExtent {
  /** 0: an empty slot. */
  readonly devices = new Uint8Array(SLOTS);
  readonly clusters = new Uint32Array(SLOTS);
  /** Bit j: block j of the cluster is stored; else it is zeros. */
  readonly masks = new Uint16Array(SLOTS);
  readonly #bytes = Buffer.alloc(EXTENT_HEADER_BYTES);

  /** Reads the next header; false at the end of the archive. @throws `source-failed`. */
  async read(reader: ExactReader, uuid: Buffer): Promise<boolean> {
    const at = reader.offset;
    const bytes = this.#bytes;
    const had = await reader.fill(bytes);
    if (had === 0) return false;
    if (had < bytes.length) throw reader.cutOff(`the header of the extent at ${at}`);
    if (bytes.readUInt32BE(0) !== EXTENT_MAGIC) throw reader.damaged('there is no extent where one should begin', at);
    if (!isSealed(bytes, EXTENT_MD5_AT)) throw reader.damaged('the MD5 of an extent is wrong: it is damaged', at);
    if (!bytes.subarray(EXTENT_UUID_AT, EXTENT_UUID_AT + UUID_BYTES).equals(uuid))
      throw reader.damaged('an extent has the UUID of another archive', at);
    let blocks = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      const word = SLOTS_AT + slot * 8;
      this.masks[slot] = bytes.readUInt16BE(word);
      this.devices[slot] = bytes[word + 3] as number;
      this.clusters[slot] = bytes.readUInt32BE(word + 4);
      if (this.devices[slot] === 0 && this.masks[slot] !== 0)
        throw reader.damaged(`slot ${slot} of an extent has blocks and no device`, at);
      blocks += bitCount(this.masks[slot] as number);
    }
    const claimed = bytes.readUInt16BE(6);
    if (claimed !== blocks)
      throw reader.damaged(`an extent claims ${claimed} blocks, and its clusters have ${blocks}`, at);
    return true;
  }
}

/** Bits that are set, of 16. */
export function bitCount(mask: number): number {
  let bits = 0;
  for (let left = mask; left !== 0; left &= left - 1) bits++;
  return bits;
}
