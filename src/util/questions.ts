// Questions to something that may take long to answer, or for ever, such as a disk: each is asked once at a time however many wait for it, and
// whoever waits goes on after a while without the answer.
import { setTimeout } from 'node:timers/promises';

export class Questions<Answer> {
  readonly #patienceMs: number;
  /** Those that wait for their answer: there is one of a key at most. */
  readonly #asked = new Map<string, Promise<Answer>>();

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /**
   * Undefined when the answer is late; the next one who asks gets it if it has come by then. `signal` ends the waiting, not the question.
   * @throws what `ask` throws in time, and the reason of `signal`.
   */
  async within(key: string, ask: () => Promise<Answer>, signal?: AbortSignal): Promise<Answer | undefined> {
    const asked = this.once(key, ask);
    // Nobody hears of a failure that comes too late.
    asked.catch(() => undefined);
    const answered = new AbortController();
    const waiting = AbortSignal.any([answered.signal, ...(signal === undefined ? [] : [signal])]);
    const late = setTimeout(this.#patienceMs, undefined, { signal: waiting }).catch(() => {
      signal?.throwIfAborted();
      return undefined;
    });
    try {
      return await Promise.race([asked, late]);
    } finally {
      answered.abort();
    }
  }

  /** Whether somebody waits for its answer, or did. */
  isAsked(key: string): boolean {
    return this.#asked.has(key);
  }

  /** Waits however long it takes. @throws what `ask` throws. */
  once(key: string, ask: () => Promise<Answer>): Promise<Answer> {
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = ask().finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    return asked;
  }
}
