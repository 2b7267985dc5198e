// One message of HTTP/1.1 (RFC 9112) as it comes off a line in pieces of any size: its head line by line, and its body without what frames it. What is
// no such message ends there; nothing is guessed. Requests and answers add what only they have.

const NEWLINE = 10;
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/;

/** Gets a part of the body, valid until it returns. */
export type TakePart = (part: Uint8Array) => void;

/** What comes behind a head: `again` another head, `none` nothing, `rest` a body that ends with the line. */
export type Framing = 'again' | 'none' | 'counted' | 'chunked' | 'rest';

export interface MessageRules {
  /** What the message is, for whoever reads why it is none. */
  readonly what: 'answer' | 'request';
  /** Of everything that is no body, for one message. */
  readonly maxFramingBytes: number;
  /** Whether a first line can begin like this. */
  mayBegin(text: string): boolean;
  /** Takes the first line; returns the minor version, undefined when this was no line yet. */
  begin(line: string): 0 | 1 | undefined;
  /** Takes a field; the name is in lower case. */
  field(name: string, value: string): void;
  /** At the end of the head. `length` and `isChunked` are what it said; never both. */
  framing(length: number | undefined, isChunked: boolean): Framing;
  /** The error for a message that is none. */
  refusal(reason: string): Error;
}

type State = 'start' | 'fields' | 'counted' | 'size' | 'chunk' | 'gap' | 'trailers' | 'rest' | 'over';

export class HttpMessage {
  /** Whether the line takes another message after this; known when it is over. */
  isKept = true;
  readonly #rules: MessageRules;
  #state: State = 'start';
  /** Of a line that has not ended. */
  #line = '';
  #framingBytes = 0;
  /** Of the body, or of its chunk. */
  #left = 0;
  #length: number | undefined;
  #isChunked = false;

  constructor(rules: MessageRules) {
    this.#rules = rules;
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  /** Whether a byte of it has come. */
  get hasBegun(): boolean {
    return this.#framingBytes > 0;
  }

  get hasHead(): boolean {
    return this.#state !== 'start' && this.#state !== 'fields';
  }

  /** Takes the next bytes; returns how many were its own. @throws the rules' refusal, and what `take` throws. */
  give(bytes: Uint8Array, take: TakePart): number {
    let at = 0;
    while (at < bytes.length && !this.isOver) at = this.#isBody() ? this.#body(bytes, at, take) : this.#text(bytes, at);
    return at;
  }

  /** The line ended. Returns whether that was the end of the message, and not a break. */
  end(): boolean {
    if (this.#state === 'rest') this.#state = 'over';
    this.isKept = false;
    return this.isOver;
  }

  #isBody(): boolean {
    return this.#state === 'counted' || this.#state === 'chunk' || this.#state === 'rest';
  }

  #body(bytes: Uint8Array, from: number, take: TakePart): number {
    const to = this.#state === 'rest' ? bytes.length : Math.min(bytes.length, from + this.#left);
    take(bytes.subarray(from, to));
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
    if (this.#framingBytes > this.#rules.maxFramingBytes)
      throw this.#refusal('what comes before and between its bytes has no end');
    this.#line += Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
    if (newline < 0) {
      if (this.#state === 'start' && !this.#rules.mayBegin(this.#line)) throw this.#foreign();
      return to;
    }
    const line = this.#line.replace(/\r?\n$/, '');
    this.#line = '';
    this.#takeLine(line);
    return to;
  }

  #takeLine(line: string): void {
    if (this.#state === 'start') this.#takeStart(line);
    else if (this.#state === 'fields') this.#takeField(line);
    else if (this.#state === 'size') this.#takeSize(line);
    else if (this.#state === 'trailers') this.#state = line === '' ? 'over' : 'trailers';
    else if (line === '') this.#state = 'size';
    else throw this.#refusal(`a chunk of its ${this.#rules.what} is longer than it says`);
  }

  #takeStart(line: string): void {
    if (!this.#rules.mayBegin(line)) throw this.#foreign();
    const minor = this.#rules.begin(line);
    if (minor === undefined) return;
    this.isKept = minor === 1;
    this.#state = 'fields';
  }

  #takeField(line: string): void {
    if (line === '') {
      this.#endFields();
      return;
    }
    const [, name = '', value = ''] = FIELD.exec(line) ?? [];
    if (name === '') throw this.#refusal('a line of its header is none');
    switch (name.toLowerCase()) {
      case 'content-length':
        if (!/^[0-9]{1,15}$/.test(value) || (this.#length ?? Number(value)) !== Number(value))
          throw this.#refusal(`the length of its ${this.#rules.what} is none`);
        this.#length = Number(value);
        break;
      case 'transfer-encoding':
        if (value.toLowerCase() !== 'chunked' || this.#isChunked)
          throw this.#refusal(`its ${this.#rules.what} is encoded`);
        this.#isChunked = true;
        break;
      case 'connection':
        if (/(^|,)[ \t]*close[ \t]*(,|$)/i.test(value)) this.isKept = false;
        break;
      default:
        this.#rules.field(name.toLowerCase(), value);
    }
  }

  #endFields(): void {
    if (this.#isChunked && this.#length !== undefined) throw this.#refusal(`its ${this.#rules.what} has two lengths`);
    const framing = this.#rules.framing(this.#length, this.#isChunked);
    if (framing === 'again') this.#state = 'start';
    else if (framing === 'none' || (framing === 'counted' && this.#length === 0)) this.#state = 'over';
    else if (framing === 'chunked') this.#state = 'size';
    else {
      this.#left = this.#length ?? 0;
      this.#state = framing;
    }
  }

  #takeSize(line: string): void {
    const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
    if (size === undefined) throw this.#refusal(`a chunk of its ${this.#rules.what} has no length`);
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? 'trailers' : 'chunk';
    if (this.#left > 0) this.#framingBytes = 0;
  }

  #foreign(): Error {
    return this.#refusal(`its ${this.#rules.what} begins with something else`);
  }

  #refusal(reason: string): Error {
    return this.#rules.refusal(reason);
  }
}
