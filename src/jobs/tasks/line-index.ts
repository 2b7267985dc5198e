// Where the lines of a log begin: every 256th, so that a page is found without reading what is before it.

const EVERY = 256;
const NEWLINE = 0x0a;

export class LineIndex {
  /** Byte offset of line 0, 256, 512, … */
  readonly #offsets: number[] = [0];
  #lines = 0;
  #bytes = 0;

  /** Whole lines so far. */
  get lines(): number {
    return this.#lines;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes what follows in the file. */
  push(chunk: Uint8Array): void {
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) {
      this.#lines++;
      if (this.#lines % EVERY === 0) this.#offsets.push(this.#bytes + at + 1);
    }
    this.#bytes += chunk.length;
  }

  /** The last known beginning at or before a line, counted from 0: its offset, and which line it is. */
  before(line: number): { offset: number; line: number } {
    const place = Math.min(Math.floor(line / EVERY), this.#offsets.length - 1);
    return { offset: this.#offsets[place], line: place * EVERY };
  }
}
