// Keeps the threads of one piece of work together below a rate.
import { setTimeout } from 'node:timers/promises';

/** A pause after a standstill is made up for at most so long. */
const MAX_CREDIT_MS = 1000;

export class Pace {
  readonly #bytesPerSecond: number | undefined;
  /** When the bytes taken so far would have been through at the rate. */
  #paidUntilMs = performance.now();

  /** Undefined for as fast as it goes. */
  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Bytes that are best taken at once: half a second of the rate, at most `most`. */
  stepBytes(most: number): number {
    return this.#bytesPerSecond === undefined ? most : Math.min(most, Math.ceil(this.#bytesPerSecond / 2));
  }

  /** Notes bytes that were taken, and waits for as long as they should have lasted. */
  async took(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === undefined) return;
    const now = performance.now();
    this.#paidUntilMs = Math.max(this.#paidUntilMs, now - MAX_CREDIT_MS) + (bytes / this.#bytesPerSecond) * 1000;
    const pauseMs = this.#paidUntilMs - now;
    if (pauseMs > 0) await setTimeout(pauseMs, undefined, { signal });
  }
}
