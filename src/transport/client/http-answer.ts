// One answer of HTTP/1.1 (RFC 9112) as it comes off a line in pieces of any size: its status, and its body without what frames it. What is no such
// answer ends the call; nothing is guessed.
import { noHttp } from './answer-error.ts';

/** Of everything that is no body, for one answer. */
const MAX_FRAMING_BYTES = 64 * 1024;
const NEWLINE = 10;
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/;

/** Gets a part of the body, valid until it returns. */
export type TakeBody = (part: Uint8Array, status: number) => void;

type State = 'status' | 'fields' | 'counted' | 'size' | 'chunk' | 'gap' | 'trailers' | 'rest' | 'over';

export class HttpAnswer {
  /** 0 before it is known. */
  status = 0;
  /** Whether the server takes another call on this line; known when the answer is over. */
  isKept = true;
  #state: State = 'status';
  /** Of a line that has not ended. */
  #line = '';
  #framingBytes = 0;
  /** Of the body, or of its chunk. */
  #left = 0;
  #length: number | undefined;
  #isChunked = false;

  get isOver(): boolean {
    return this.#state === 'over';
  }

  /** Takes the next bytes. @throws `protocol-failed`, and what `take` throws. */
  give(bytes: Uint8Array, take: TakeBody): void {
    let at = 0;
    while (at < bytes.length && !this.isOver) at = this.#isBody() ? this.#body(bytes, at, take) : this.#text(bytes, at);
    // Nobody asked for more.
    if (at < bytes.length) this.isKept = false;
  }

  /** The line ended. Returns whether that was the end of the answer, and not a break. */
  end(): boolean {
    if (this.#state === 'rest') this.#state = 'over';
    this.isKept = false;
    return this.isOver;
  }

  #isBody(): boolean {
    return this.#state === 'counted' || this.#state === 'chunk' || this.#state === 'rest';
  }

  #body(bytes: Uint8Array, from: number, take: TakeBody): number {
    const to = this.#state === 'rest' ? bytes.length : Math.min(bytes.length, from + this.#left);
    take(bytes.subarray(from, to), this.status);
    this.#left -= to - from;
    if (this.#state === 'counted' && this.#left === 0) this.#state = 'over';
    else if (this.#state === 'chunk' && this.#left === 0) this.#state = 'gap';
    return to;
  }

  #text(bytes: Uint8Array, from: number): number {
    const newline = bytes.indexOf(NEWLINE, from);
    const to = newline < 0 ? bytes.length : newline + 1;
    this.#framingBytes += to - from;
    // The framing of many chunks is long in the end, a single line never is.
    if (this.#framingBytes > MAX_FRAMING_BYTES) throw noHttp('what comes before and between its bytes has no end');
    this.#line += Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
    if (newline < 0) {
      if (this.#state === 'status' && !'HTTP/1.'.startsWith(this.#line.slice(0, 7)))
        throw noHttp('its answer begins with something else');
      return to;
    }
    const line = this.#line.replace(/\r?\n$/, '');
    this.#line = '';
    this.#takeLine(line);
    return to;
  }

  #takeLine(line: string): void {
    if (this.#state === 'status') this.#takeStatus(line);
    else if (this.#state === 'fields') this.#takeField(line);
    else if (this.#state === 'size') this.#takeSize(line);
    else if (this.#state === 'trailers') this.#state = line === '' ? 'over' : 'trailers';
    else if (line === '') this.#state = 'size';
    else throw noHttp('a chunk of its answer is longer than it says');
  }

  #takeStatus(line: string): void {
    const found = /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: |$)/.exec(line);
    if (found === null) throw noHttp('its answer begins with something else');
    this.isKept = found[1] === '1';
    this.status = Number(found[2]);
    this.#state = 'fields';
  }

  #takeField(line: string): void {
    if (line === '') {
      this.#endFields();
      return;
    }
    const [, name = '', value = ''] = FIELD.exec(line) ?? [];
    if (name === '') throw noHttp('a line of its header is none');
    switch (name.toLowerCase()) {
      case 'content-length':
        if (!/^[0-9]{1,15}$/.test(value) || (this.#length ?? Number(value)) !== Number(value))
          throw noHttp('the length of its answer is none');
        this.#length = Number(value);
        break;
      case 'transfer-encoding':
        if (value.toLowerCase() !== 'chunked' || this.#isChunked) throw noHttp('its answer is encoded');
        this.#isChunked = true;
        break;
      case 'connection':
        if (/(^|,)[ \t]*close[ \t]*(,|$)/i.test(value)) this.isKept = false;
        break;
    }
  }

  #endFields(): void {
    if (this.status === 101) throw noHttp('it speaks something else from here on');
    if (this.status < 200) {
      this.#state = 'status';
      return;
    }
    if (this.#isChunked && this.#length !== undefined) throw noHttp('its answer has two lengths');
    if (this.status === 204 || this.status === 304 || this.#length === 0) this.#state = 'over';
    else if (this.#isChunked) this.#state = 'size';
    else if (this.#length === undefined) this.#state = 'rest';
    else {
      this.#left = this.#length;
      this.#state = 'counted';
    }
  }

  #takeSize(line: string): void {
    const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
    if (size === undefined) throw noHttp('a chunk of its answer has no length');
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? 'trailers' : 'chunk';
    if (this.#left > 0) this.#framingBytes = 0;
  }
}
