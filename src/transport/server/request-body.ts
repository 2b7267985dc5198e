// The body of a request on its way from the line to whoever reads it. What comes while nobody does is kept: TLS hands out all that it has
// decrypted, up to 64 KiB, also to who has had enough.

export interface BodyReader {
  /** Valid until it returns. */
  part(bytes: Buffer): void;
  /** Nothing comes any more; never while the body rests. */
  end(): void;
  /** The line broke before the end. */
  lost(): void;
}

export class RequestBody {
  readonly #wakeLine: () => void;
  readonly #held: Buffer[] = [];
  #reader: BodyReader | undefined;
  #isPaused = true;
  #isWhole = false;
  #isLost = false;
  #isEndTold = false;

  /** Rests until it is read; `wakeLine` is called when the line may be read on. */
  constructor(wakeLine: () => void) {
    this.#wakeLine = wakeLine;
  }

  /** Whether nothing more should be read off the line now. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Whether all of it has come, read or not. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** From the line: the next bytes, which need not stay valid. */
  give(bytes: Buffer): void {
    if (this.#isPaused || this.#held.length > 0) this.#held.push(Buffer.from(bytes));
    else this.#reader?.part(bytes);
  }

  /** From the line: that was all. */
  finish(): void {
    this.#isWhole = true;
    if (!this.#isPaused && this.#held.length === 0) this.#tellEnd();
  }

  /** From the line: it broke. */
  lose(): void {
    if (this.#isWhole || this.#isLost) return;
    this.#isLost = true;
    this.#reader?.lost();
  }

  /** Hands out what comes from now on, and what was kept; instead of an earlier reader. */
  read(reader: BodyReader): void {
    this.#reader = reader;
    this.#isEndTold = false;
    if (this.#isLost) reader.lost();
    else {
      this.#isPaused = true;
      this.resume();
    }
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    while (!this.#isPaused && this.#held.length > 0) this.#reader?.part(this.#held.shift() as Buffer);
    if (this.#isPaused || this.#isLost) return;
    this.#wakeLine();
    if (this.#isWhole) this.#tellEnd();
  }

  #tellEnd(): void {
    if (this.#isEndTold) return;
    this.#isEndTold = true;
    this.#reader?.end();
  }
}
