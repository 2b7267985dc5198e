// The session that the disks of a snapshot are read in, which a server may lose when it begins anew: then it is opened once more, once for all who read.
// Each time begins an era; what was learned in an earlier one counts no more.
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';

/** These say something of the objects, and another session would say it too. */
const OF_OBJECTS = ['object-missing', 'object-damaged'];

/** Between two tries to open it anew. */
const RETRY_MS = 1000;

export class LastingSession {
  readonly #reopen: (() => Promise<void>) | undefined;
  readonly #failed: (error: Error) => void;
  readonly #closing = new AbortController();
  #era = 0;
  #opening: Promise<void> | undefined = Promise.resolve();

  /** It is open. Without `reopen` it cannot be lost; `failed` hears why it cannot be opened anew. */
  constructor(reopen: (() => Promise<void>) | undefined, failed: (error: Error) => void) {
    this.#reopen = reopen;
    this.#failed = failed;
  }

  /** The era that is now, once the session is open in it, which is tried until it is closed. @throws `aborted`. */
  async enter(): Promise<number> {
    for (;;) {
      this.#closing.signal.throwIfAborted();
      const era = this.#era;
      const opening = this.#opening ?? (this.#reopen as () => Promise<void>)();
      this.#opening = opening;
      try {
        await opening;
        return era;
      } catch (error) {
        if (this.#opening === opening) this.#opening = undefined;
        if (!this.#closing.signal.aborted) this.#failed(error as Error);
        await this.pause();
      }
    }
  }

  /** Before the next try. */
  async pause(): Promise<void> {
    await sleep(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  /** Nobody reads any more. */
  close(): void {
    this.#closing.abort(new HoldfastError('aborted', 'the disks are not served any more'));
  }

  /** Whether anything may be read in this era. */
  isIn(era: number): boolean {
    return era === this.#era && !this.#closing.signal.aborted;
  }

  /** @throws `session-gone` for an era that is over, `aborted` once it is closed. */
  require(era: number): void {
    this.#closing.signal.throwIfAborted();
    if (!this.isIn(era)) throw new HoldfastError('session-gone', 'the session at the server was lost');
  }

  /** Ends the era for an error of its session. False for an error that another session would not mend. @throws `aborted` once it is closed. */
  lose(era: number, error: unknown): boolean {
    this.#closing.signal.throwIfAborted();
    if (this.#reopen === undefined || !(error instanceof HoldfastError) || OF_OBJECTS.includes(error.code))
      return false;
    if (this.isIn(era)) {
      this.#era++;
      this.#opening = undefined;
    }
    return true;
  }
}
