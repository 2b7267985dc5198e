// How long a broken line is tried again, and how often: waits double from a quarter of a second to 15 s. Each success begins anew.
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import { isBrokenLine, lineError } from './answer-error.ts';

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;

export class Patience {
  readonly #totalMs: number;
  readonly #signal: AbortSignal;
  #sinceMs: number | undefined;
  #waitMs = FIRST_WAIT_MS;

  constructor(totalMs: number, signal: AbortSignal) {
    this.#totalMs = totalMs;
    this.#signal = signal;
  }

  /** Something went through. */
  renew(): void {
    this.#sinceMs = undefined;
    this.#waitMs = FIRST_WAIT_MS;
  }

  /** Waits before the next try. @throws `server-unreachable` when it was long enough, and the error itself when it is not of the line. */
  async wait(error: unknown): Promise<void> {
    this.#signal.throwIfAborted();
    if (!isBrokenLine(error)) throw lineError(error);
    this.#sinceMs ??= performance.now();
    if (performance.now() - this.#sinceMs + this.#waitMs > this.#totalMs) {
      throw new HoldfastError(
        'server-unreachable',
        `the server cannot be reached${this.#totalMs > 0 ? `, for ${Math.round(this.#totalMs / 1000)} s now` : ''}: ${(error as Error).message}; look at the network, run again`,
        { cause: error },
      );
    }
    // Lines that broke together do not come back together.
    await sleep(this.#waitMs * (0.75 + Math.random() / 2), undefined, { signal: this.#signal }).catch(
      (reason: unknown) => {
        this.#signal.throwIfAborted();
        throw reason;
      },
    );
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }

  /** Does something until it succeeds or patience ends. */
  async attempt<Result>(action: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        const result = await action();
        this.renew();
        return result;
      } catch (error) {
        await this.wait(error);
      }
    }
  }
}
