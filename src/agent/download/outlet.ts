// Where a download's bytes wait until they are asked for: whoever makes them goes on writing until a part is full, and then waits.
import { Writable } from 'node:stream';

/** Most bytes that leave at once. */
export const PART_BYTES = 1024 * 1024;

export class Outlet extends Writable {
  readonly #onFull: () => void;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #writer: (() => void) | undefined;

  /** `onFull` hears of each part that is full. Memory: a part, and the last buffer that was written. */
  constructor(onFull: () => void) {
    super({ highWaterMark: 1 });
    this.#onFull = onFull;
  }

  get isFull(): boolean {
    return this.#heldBytes >= PART_BYTES;
  }

  get isEmpty(): boolean {
    return this.#heldBytes === 0;
  }

  /** Lets the writer go on when there is room again. */
  resume(): void {
    if (this.isFull) return;
    const writer = this.#writer;
    this.#writer = undefined;
    writer?.();
  }

  /** The next bytes, a part at most, in memory of their own. */
  take(): Uint8Array {
    const part = new Uint8Array(Math.min(this.#heldBytes, PART_BYTES));
    let filled = 0;
    let used = 0;
    for (const bytes of this.#held) {
      const fitting = bytes.subarray(0, part.length - filled);
      part.set(fitting, filled);
      filled += fitting.length;
      if (fitting.length < bytes.length) {
        this.#held[used] = bytes.subarray(fitting.length);
        break;
      }
      used++;
    }
    this.#held.splice(0, used);
    this.#heldBytes -= part.length;
    return part;
  }

  override _write(bytes: Uint8Array, _encoding: BufferEncoding, written: () => void): void {
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (!this.isFull) {
      written();
      return;
    }
    this.#writer = written;
    this.#onFull();
  }
}
