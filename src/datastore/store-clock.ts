// The store clock: milliseconds that passed while a holder was there, never faster than the wall clock or the monotonic clock, so
// that nobody can let a lock or a leftover expire by setting the date (rule L2).
import { StoreClockState } from '../schema/state-files.ts';
import { readIfPresent, writeFileAtomic } from '../util/atomic-file.ts';
import { parseStateFile } from '../util/json-file.ts';

const PERSIST_EVERY_MS = 60_000;

export class StoreClock {
  readonly #path: string;
  readonly #now: () => { wallMs: number; monotonicMs: number };
  #elapsedMs: number;
  #last: { wallMs: number; monotonicMs: number };
  #timer: NodeJS.Timeout | undefined;

  private constructor(path: string, elapsedMs: number, now: () => { wallMs: number; monotonicMs: number }) {
    this.#path = path;
    this.#elapsedMs = elapsedMs;
    this.#now = now;
    this.#last = now();
  }

  static async start(
    path: string,
    now = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: performance.now() }),
  ): Promise<StoreClock> {
    const text = await readIfPresent(path);
    const clock = new StoreClock(
      path,
      text === undefined ? 0 : parseStateFile(path, text, StoreClockState).elapsedMs,
      now,
    );
    // A clock that cannot be written only runs slower: locks last longer, never shorter.
    clock.#timer = setInterval(() => {
      clock.persist().catch(() => undefined);
    }, PERSIST_EVERY_MS);
    clock.#timer.unref();
    return clock;
  }

  get elapsedMs(): number {
    const now = this.#now();
    const step = Math.min(now.wallMs - this.#last.wallMs, now.monotonicMs - this.#last.monotonicMs);
    this.#last = now;
    // Parts of a millisecond are kept: else a clock that is asked often would stand still.
    this.#elapsedMs += Math.max(0, step);
    return Math.floor(this.#elapsedMs);
  }

  async persist(): Promise<void> {
    await writeFileAtomic(this.#path, `${JSON.stringify({ elapsedMs: this.elapsedMs } satisfies StoreClockState)}\n`);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.persist();
  }
}
