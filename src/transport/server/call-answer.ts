// The answer to one call, written to its line: with a length, or in chunks of HTTP/1.1 as it is made.
import { STATUS_CODES } from 'node:http';
import type { Writable } from 'node:stream';
import { HoldfastError } from '../../util/errors.ts';

export interface AnswerTo {
  /** HEAD is answered without a body. */
  readonly method: string;
  readonly isHttp10: boolean;
  /** Whether the line takes another call afterwards; asked when the answer begins. */
  readonly isKept: boolean;
}

export class CallAnswer {
  readonly #line: Writable;
  readonly #to: AnswerTo;
  readonly #ended: (isKept: boolean) => void;
  #isBegun = false;
  #isKept = false;
  #isChunked = false;

  /** `ended` hears when the last byte was handed to the line, and whether that stays. */
  constructor(line: Writable, to: AnswerTo, ended: (isKept: boolean) => void) {
    this.#line = line;
    this.#to = to;
    this.#ended = ended;
  }

  get isBegun(): boolean {
    return this.#isBegun;
  }

  /** The head, with the first bytes of the body or all of them. Without `length` the body ends with `end`. */
  begin(status: number, type: string, length: number | undefined, body: Uint8Array = new Uint8Array()): void {
    const { method, isHttp10, isKept } = this.#to;
    this.#isBegun = true;
    this.#isChunked = length === undefined && !isHttp10;
    this.#isKept = isKept && (length !== undefined || !isHttp10);
    const fields = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      `content-type: ${type}`,
      ...(length === undefined ? [] : [`content-length: ${length}`]),
      ...(this.#isChunked ? ['transfer-encoding: chunked'] : []),
      `date: ${new Date().toUTCString()}`,
      `connection: ${this.#isKept ? 'keep-alive' : 'close'}`,
    ];
    const head = Buffer.from(`${fields.join('\r\n')}\r\n\r\n`, 'latin1');
    this.#line.write(method === 'HEAD' ? head : Buffer.concat([head, body]));
  }

  /** Part of a body without a length. Resolves when the bytes are on their way, and may be reused. @throws `aborted` when the line breaks. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const close = (): void => reject(new HoldfastError('aborted', 'the client broke the call off'));
      if (this.#line.destroyed || bytes.length === 0) {
        if (this.#line.destroyed) close();
        else resolve();
        return;
      }
      this.#line.once('close', close);
      const written = (error: Error | null | undefined): void => {
        this.#line.off('close', close);
        if (error === null || error === undefined) resolve();
        else close();
      };
      this.#line.cork();
      if (this.#isChunked) this.#line.write(`${bytes.length.toString(16)}\r\n`, 'latin1');
      this.#line.write(bytes, this.#isChunked ? undefined : written);
      if (this.#isChunked) this.#line.write('\r\n', 'latin1', written);
      this.#line.uncork();
    });
  }

  end(): void {
    if (this.#isChunked) this.#line.write('0\r\n\r\n', 'latin1');
    this.#ended(this.#isKept);
  }
}
