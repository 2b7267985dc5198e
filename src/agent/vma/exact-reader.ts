// Reads a VMA archive front to back into memory that the caller gives: nothing that is handed out refers to a chunk of the stream, which
// may be written over with the next one. Knows where it is, for messages.
import { HoldfastError } from '../../util/errors.ts';

export class ExactReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #label: string;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  #offset = 0;

  /** `label` names the archive in messages. */
  constructor(chunks: AsyncIterable<Uint8Array>, label: string) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#label = label;
  }

  /** Bytes of the archive, decompressed, that were read. */
  get offset(): number {
    return this.#offset;
  }

  /** Fills `target`, and answers with how many bytes there were: fewer at the end of the archive only. A promise where bytes must be waited for. */
  fill(target: Uint8Array): number | Promise<number> {
    if (this.#chunk.length - this.#at < target.length) return this.#fillFromMany(target);
    target.set(this.#chunk.subarray(this.#at, this.#at + target.length));
    this.#at += target.length;
    this.#offset += target.length;
    return target.length;
  }

  /** Passes over `length` bytes, and answers with how many there were. */
  async skip(length: number): Promise<number> {
    let left = length;
    while (left > 0 && (await this.#more())) left -= this.#take(left).length;
    return length - left;
  }

  /** The error for an archive that is not as it should be. `at` is an offset in the archive, decompressed. */
  damaged(why: string, at: number, data: Record<string, unknown> = {}, cause?: unknown): HoldfastError {
    const message = `the VMA archive ${this.#label} cannot be taken: at byte ${at}, ${why}`;
    return new HoldfastError('source-failed', message, { cause, data: { ...data, offset: at } });
  }

  /** The error for one that ends here, in the middle of `what`. */
  cutOff(what: string, data: Record<string, unknown> = {}): HoldfastError {
    return this.damaged(`it ends in the middle of ${what}: it is cut off; get the whole file`, this.#offset, data);
  }

  /** Lets go of the archive. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #fillFromMany(target: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < target.length && (await this.#more())) {
      const part = this.#take(target.length - filled);
      target.set(part, filled);
      filled += part.length;
    }
    return filled;
  }

  #take(most: number): Uint8Array {
    const part = this.#chunk.subarray(this.#at, Math.min(this.#at + most, this.#chunk.length));
    this.#at += part.length;
    this.#offset += part.length;
    return part;
  }

  /** Whether there is a byte to take. */
  async #more(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      const { value, done } = await this.#chunks.next();
      if (done === true) return false;
      this.#chunk = value;
      this.#at = 0;
    }
    return true;
  }
}
