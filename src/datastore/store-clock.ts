// The store clock: milliseconds that passed while a holder was there, never faster than the wall clock or the monotonic clock, so
// that nobody can let a lock or a leftover expire by setting the date (rule L2).
import { StoreClockState } from '../schema/state-files.ts';
import { readIfPresent, writeFileAtomic } from '../util/atomic-file.ts';
import { parseStateFile } from '../util/json-file.ts';
import { Turn } from '../util/turn.ts';

const PERSIST_EVERY_MS = 60_000;

export class StoreClock {
  readonly #path: string;
  readonly #now: () => { wallMs: number; monotonicMs: number };
  #elapsedMs: number;
  #last: { wallMs: number; monotonicMs: number };
  #timer: NodeJS.Timeout | undefined;
  readonly #writing = new Turn();

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
    const clock = new StoreClock(path, await persistedClockMs(path), now);
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

  /** Makes the clock durable and returns what it showed: no crash sets it back behind that. */
  async persist(): Promise<number> {
    return await this.#writing.run(async () => {
      const { elapsedMs } = this;
      await writeFileAtomic(this.#path, `${JSON.stringify({ elapsedMs } satisfies StoreClockState)}\n`);
      return elapsedMs;
    });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.persist();
  }
}

/**
 * The store clock as it was last persisted, for who does not hold the store: at most a minute behind a running holder, so that locks seem to
 * last longer, never shorter.
 */
export async function persistedClockMs(path: string): Promise<number> {
  const text = await readIfPresent(path);
  return text === undefined ? 0 : parseStateFile(path, text, StoreClockState).elapsedMs;
}
