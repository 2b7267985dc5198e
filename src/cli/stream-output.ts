// Results of any length: written as they are found, in parts of some KiB, no faster than they are read.
import { once } from 'node:events';

/** Text is written in parts of this size, not line by line. */
const FLUSH_CHARS = 16_384;

export class StreamOutput {
  readonly #signal: AbortSignal;
  readonly #output: NodeJS.WritableStream;
  #text = '';

  constructor(signal: AbortSignal, output: NodeJS.WritableStream = process.stdout) {
    this.#signal = signal;
    this.#output = output;
  }

  add(text: string): void {
    this.#text += text;
  }

  /** Writes what there is when it is worth it. To be awaited between items. */
  async pass(): Promise<void> {
    if (this.#text.length >= FLUSH_CHARS) await this.flush();
  }

  /** @throws the signal's reason. */
  async flush(): Promise<void> {
    this.#signal.throwIfAborted();
    const text = this.#text;
    this.#text = '';
    if (text !== '' && !this.#output.write(text)) await once(this.#output, 'drain', { signal: this.#signal });
  }
}
