// Bytes of a socket -> JSON values, one a line, as QEMU's monitor and the agent in a guest send them. A line is bounded, and gathered in one
// buffer that doubles, so that neither its length nor the way it was split costs more than reading it once.
import { HoldfastError } from '../../util/errors.ts';

/** `query-qmp-schema` of QEMU 10 answers with a line of about 250 KB; nothing that is asked for comes near this. */
export const MAX_LINE_BYTES = 16 << 20;

const NEWLINE = 0x0a;
const RESYNC = 0xff;
/** A buffer that grew past this is not kept for the lines that follow. */
const KEEP_BYTES = 1 << 20;

export interface JsonLinesOptions {
  maxLineBytes?: number;
  /** The guest agent's rule: a byte 0xFF, which no UTF-8 has, makes what came before it on the line void. */
  resync?: boolean;
  /** What to do with a line that is not JSON; without it, `push` throws. */
  onGarbage?: (line: string) => void;
}

export class JsonLines {
  readonly #maxLineBytes: number;
  readonly #resync: boolean;
  readonly #onGarbage: ((line: string) => void) | undefined;
  #held = Buffer.alloc(0);
  #length = 0;

  constructor(options: JsonLinesOptions = {}) {
    this.#maxLineBytes = options.maxLineBytes ?? MAX_LINE_BYTES;
    this.#resync = options.resync ?? false;
    this.#onGarbage = options.onGarbage;
  }

  /**
   * The values of the lines that these bytes complete, in order. Numbers past 2^53 are rounded, as JSON.parse does it.
   * @throws `guest-failed` for a line that is too long or, without `onGarbage`, not JSON; the stream cannot be used any more.
   */
  push(bytes: Uint8Array): unknown[] {
    const values: unknown[] = [];
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      this.#gather(bytes.subarray(from, end));
      from = end + 1;
      const line = this.#held.toString('utf8', 0, this.#length).trim();
      this.#length = 0;
      if (this.#held.length > KEEP_BYTES) this.#held = Buffer.alloc(0);
      if (line !== '') this.#parse(line, values);
    }
    this.#gather(bytes.subarray(from));
    return values;
  }

  #parse(line: string, values: unknown[]): void {
    try {
      values.push(JSON.parse(line));
    } catch (error) {
      if (this.#onGarbage) this.#onGarbage(line);
      else
        throw new HoldfastError('guest-failed', `a line that is not JSON came: ${line.slice(0, 80)}`, { cause: error });
    }
  }

  #gather(piece: Uint8Array): void {
    const cut = this.#resync ? piece.lastIndexOf(RESYNC) : -1;
    if (cut >= 0) this.#length = 0;
    const part = piece.subarray(cut + 1);
    const length = this.#length + part.length;
    if (length > this.#maxLineBytes)
      throw new HoldfastError('guest-failed', `a line of more than ${this.#maxLineBytes} bytes came`);
    if (length > this.#held.length) {
      const larger = Buffer.alloc(Math.max(length, 2 * this.#held.length, 4096));
      this.#held.copy(larger, 0, 0, this.#length);
      this.#held = larger;
    }
    this.#held.set(part, this.#length);
    this.#length = length;
  }
}
