// Cuts a body into its records: frames `u32 length, record`, in whatever pieces they arrive. A record that comes in one piece is not copied,
// one that comes in several is copied once, into memory that the connection keeps.
import { HoldfastError } from '../../util/errors.ts';
import { KEPT_BYTES } from './bulk-limits.ts';

const LENGTH_BYTES = 4;
const FIRST_BUFFER_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

export class FrameReader {
  readonly #maxBytes: number;
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #lengthFilled = 0;
  /** Of the record that has begun; undefined before its length is known. */
  #recordBytes: number | undefined;
  #chunk: Buffer = NOTHING;
  #at = 0;
  #kept: Buffer = NOTHING;
  #large: Buffer | undefined;
  #filled = 0;
  #mayBeLarge = false;

  /** `maxBytes`: the longest record. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Begins a new body. */
  reset(): void {
    this.#lengthFilled = this.#filled = this.#at = 0;
    this.#recordBytes = undefined;
    this.#chunk = NOTHING;
    this.#large = undefined;
    this.#mayBeLarge = false;
  }

  /** Takes the next bytes, when `next` has answered undefined for those before. They have to stay valid until it does, or until `keep`. */
  give(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** Copies what is left of the bytes that were given. */
  keep(): void {
    this.give(this.#at === this.#chunk.length ? NOTHING : Buffer.from(this.#chunk.subarray(this.#at)));
  }

  /**
   * The next record, undefined when it is not all there. Valid until the next call.
   * @throws `too-large`.
   */
  next(): Buffer | undefined {
    this.#recordBytes ??= this.#readLength();
    const bytes = this.#recordBytes;
    if (bytes === undefined || this.largeBytes > 0) return undefined;
    if (this.#filled === 0 && this.#chunk.length - this.#at >= bytes) {
      this.#at += bytes;
      return this.#taken(this.#chunk.subarray(this.#at - bytes, this.#at));
    }
    const target = this.#target(bytes);
    const part = Math.min(bytes - this.#filled, this.#chunk.length - this.#at);
    this.#chunk.copy(target, this.#filled, this.#at, this.#at + part);
    this.#at += part;
    this.#filled += part;
    return this.#filled === bytes ? this.#taken(target.subarray(0, bytes)) : undefined;
  }

  /** The length of a record that is longer than what is kept, and waits for `allowLarge`; else 0. */
  get largeBytes(): number {
    const bytes = this.#recordBytes ?? 0;
    return bytes > KEPT_BYTES && !this.#mayBeLarge ? bytes : 0;
  }

  /** Lets the record that has begun take as much memory as it needs. */
  allowLarge(): void {
    this.#mayBeLarge = true;
  }

  /** Whether a frame has begun and not ended. */
  get isWithin(): boolean {
    return this.#lengthFilled > 0 || this.#recordBytes !== undefined;
  }

  #readLength(): number | undefined {
    while (this.#lengthFilled < LENGTH_BYTES) {
      if (this.#at === this.#chunk.length) return undefined;
      this.#length[this.#lengthFilled++] = this.#chunk[this.#at++] as number;
    }
    this.#lengthFilled = 0;
    const bytes = this.#length.readUInt32LE();
    if (bytes > this.#maxBytes)
      throw new HoldfastError('too-large', `a record of ${bytes} bytes is over the limit of ${this.#maxBytes}`);
    return bytes;
  }

  #target(bytes: number): Buffer {
    if (bytes > KEPT_BYTES) {
      this.#large ??= Buffer.allocUnsafeSlow(bytes);
      return this.#large;
    }
    if (this.#kept.length < bytes) {
      let size = Math.max(FIRST_BUFFER_BYTES, this.#kept.length);
      while (size < bytes) size *= 2;
      this.#kept = Buffer.allocUnsafeSlow(size);
    }
    return this.#kept;
  }

  #taken(record: Buffer): Buffer {
    this.#recordBytes = undefined;
    this.#filled = 0;
    this.#large = undefined;
    this.#mayBeLarge = false;
    return record;
  }
}
