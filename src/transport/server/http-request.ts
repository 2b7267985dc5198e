// One request of HTTP/1.1: the message of a client, with what the bulk calls look at.
import { type Framing, HttpMessage, type TakePart } from '../http/http-message.ts';
import { HEADER_BYTES } from './bulk-limits.ts';

export class HttpRequest {
  method = '';
  target = '';
  authorization: string | undefined;
  /** What it says of its body; undefined when that comes in chunks. */
  announcedBytes: number | undefined;
  /** It sends its body when it has been told to. */
  wantsContinue = false;
  isHttp10 = false;
  readonly #message: HttpMessage;
  #hosts = 0;

  constructor() {
    this.#message = new HttpMessage({
      what: 'request',
      maxFramingBytes: HEADER_BYTES,
      mayBegin: (text) => /^($|[A-Z\r])/.test(text),
      begin: (line) => this.#begin(line),
      field: (name, value) => this.#field(name, value),
      framing: (length, isChunked) => this.#framing(length, isChunked),
      refusal,
    });
  }

  get hasBegun(): boolean {
    return this.#message.hasBegun;
  }

  get hasHead(): boolean {
    return this.#message.hasHead;
  }

  get isOver(): boolean {
    return this.#message.isOver;
  }

  /** Whether the client wants to call again on this line. */
  get isKept(): boolean {
    return this.#message.isKept;
  }

  /** Takes the next bytes; returns how many were its own. @throws when they are no request. */
  give(bytes: Uint8Array, take: TakePart): number {
    return this.#message.give(bytes, take);
  }

  #begin(line: string): 0 | 1 | undefined {
    // Some clients end a body with a line of its own.
    if (line === '') return undefined;
    const found = /^([A-Z]{1,32}) (\S+) HTTP\/1\.([01])$/.exec(line);
    if (found === null) throw refusal('its first line is none');
    [, this.method = '', this.target = ''] = found;
    this.isHttp10 = found[3] === '0';
    return this.isHttp10 ? 0 : 1;
  }

  #field(name: string, value: string): void {
    if (name === 'host') this.#hosts++;
    else if (name === 'authorization') this.authorization ??= value;
    else if (name === 'expect') this.wantsContinue = value.toLowerCase() === '100-continue';
  }

  #framing(length: number | undefined, isChunked: boolean): Framing {
    if (this.isHttp10 ? isChunked : this.#hosts !== 1) throw refusal('a field of its header is missing or too many');
    this.announcedBytes = isChunked ? undefined : (length ?? 0);
    if (isChunked) return 'chunked';
    return length === undefined ? 'none' : 'counted';
  }
}

function refusal(reason: string): Error {
  return new Error(`no request of HTTP: ${reason}`);
}
