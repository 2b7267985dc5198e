// One answer of HTTP/1.1: the message of the server, with its status.
import { type Framing, HttpMessage } from '../http/http-message.ts';
import { noHttp } from './answer-error.ts';

/** Of everything that is no body, for one answer. */
const MAX_FRAMING_BYTES = 64 * 1024;

/** Gets a part of the body, valid until it returns. */
export type TakeBody = (part: Uint8Array, status: number) => void;

export class HttpAnswer {
  /** 0 before it is known. */
  status = 0;
  readonly #message: HttpMessage;
  #isFollowed = false;

  constructor() {
    this.#message = new HttpMessage({
      what: 'answer',
      maxFramingBytes: MAX_FRAMING_BYTES,
      mayBegin: (text) => 'HTTP/1.'.startsWith(text.slice(0, 7)),
      begin: (line) => this.#begin(line),
      field: () => {},
      framing: (length, isChunked) => this.#framing(length, isChunked),
      refusal: noHttp,
    });
  }

  get isOver(): boolean {
    return this.#message.isOver;
  }

  /** Whether the server takes another call on this line; known when the answer is over. */
  get isKept(): boolean {
    return this.#message.isKept && !this.#isFollowed;
  }

  /** Takes the next bytes. @throws `protocol-failed`, and what `take` throws. */
  give(bytes: Uint8Array, take: TakeBody): void {
    const taken = this.#message.give(bytes, (part) => take(part, this.status));
    // Nobody asked for more.
    if (taken < bytes.length) this.#isFollowed = true;
  }

  /** The line ended. Returns whether that was the end of the answer, and not a break. */
  end(): boolean {
    return this.#message.end();
  }

  #begin(line: string): 0 | 1 {
    const found = /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: |$)/.exec(line);
    if (found === null) throw noHttp('its answer begins with something else');
    this.status = Number(found[2]);
    return found[1] === '1' ? 1 : 0;
  }

  #framing(length: number | undefined, isChunked: boolean): Framing {
    if (this.status === 101) throw noHttp('it speaks something else from here on');
    if (this.status < 200) return 'again';
    if (this.status === 204 || this.status === 304) return 'none';
    if (isChunked) return 'chunked';
    return length === undefined ? 'rest' : 'counted';
  }
}
