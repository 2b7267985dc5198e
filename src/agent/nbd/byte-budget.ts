// How much may be on the way at once: whoever wants bytes takes them from the budget, in order of asking, and gives them back.
export class ByteBudget {
  readonly #totalBytes: number;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];
  #freeBytes: number;

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
    this.#freeBytes = totalBytes;
  }

  /** Waits until the bytes are free. More than there are in all is taken as all. */
  async take(bytes: number): Promise<void> {
    const wanted = Math.min(bytes, this.#totalBytes);
    if (this.#waiting.length === 0 && wanted <= this.#freeBytes) {
      this.#freeBytes -= wanted;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push({ bytes: wanted, resolve }));
  }

  give(bytes: number): void {
    this.#freeBytes += Math.min(bytes, this.#totalBytes);
    for (
      let first = this.#waiting[0];
      first !== undefined && first.bytes <= this.#freeBytes;
      first = this.#waiting[0]
    ) {
      this.#waiting.shift();
      this.#freeBytes -= first.bytes;
      first.resolve();
    }
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }
}
