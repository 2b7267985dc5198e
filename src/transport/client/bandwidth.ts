// A bandwidth limit: a bucket that fills with time and holds a quarter of a second. Who takes more than there is waits, in order.
import { setTimeout as sleep } from 'node:timers/promises';

const BUCKET_SECONDS = 0.25;

export class Bandwidth {
  readonly #bytesPerSecond: number | undefined;
  /** When the bytes that were taken so far have all had their time. */
  #freeAtMs = 0;

  /** Undefined: no limit. */
  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  get isLimited(): boolean {
    return this.#bytesPerSecond !== undefined;
  }

  /** Returns when that many bytes may pass; at once, without a promise, when there is no limit. */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (this.#bytesPerSecond === undefined) return undefined;
    const nowMs = performance.now();
    const startMs = Math.max(this.#freeAtMs, nowMs - BUCKET_SECONDS * 1000);
    this.#freeAtMs = startMs + (bytes / this.#bytesPerSecond) * 1000;
    const waitMs = this.#freeAtMs - nowMs;
    return waitMs <= 0 ? undefined : sleep(waitMs, undefined, { signal });
  }
}
