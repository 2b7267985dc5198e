// Reads exact numbers of bytes from a stream of chunks of any length. Holds one chunk; what it hands out are views where that is possible.
import { malformedTar } from './tar-header.ts';

export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  #bytesRead = 0;

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** Bytes that were handed out or passed over. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Exactly `length` bytes; undefined when the stream has ended already. @throws `source-failed` when it ends in the middle. */
  async read(length: number): Promise<Buffer | undefined> {
    if (this.#chunk.length - this.#at >= length) return this.#take(length);
    const parts: Buffer[] = [];
    let held = 0;
    while (held < length) {
      const part = await this.some(length - held);
      if (part === undefined && held === 0) return undefined;
      if (part === undefined) throw cutOff();
      parts.push(part);
      held += part.length;
    }
    return Buffer.concat(parts, held);
  }

  /** 1 to `length` bytes, as they come; undefined at the end. */
  async some(length: number): Promise<Buffer | undefined> {
    while (this.#at === this.#chunk.length) {
      const { value, done } = await this.#chunks.next();
      if (done === true) return undefined;
      this.#chunk = value;
      this.#at = 0;
    }
    return this.#take(Math.min(length, this.#chunk.length - this.#at));
  }

  /** Passes over bytes. @throws `source-failed` when the stream ends before. */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      const part = await this.some(left);
      if (part === undefined) throw cutOff();
      left -= part.length;
    }
  }

  /** Lets go of the stream before its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  #take(length: number): Buffer {
    const taken = this.#chunk.subarray(this.#at, this.#at + length);
    this.#at += length;
    this.#bytesRead += length;
    return taken;
  }
}

export function cutOff(): Error {
  return malformedTar('it ends in the middle of a member: it is cut off; get the whole file');
}
