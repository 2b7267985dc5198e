// The session that the disks of a snapshot are read in, which a server may lose when it begins anew: then it is opened once more, once for all who read.
// Each time begins an era; what was learned in an earlier one counts no more.
import { HoldfastError } from '../../util/errors.ts';

/** These say something of the objects, and another session would say it too. */
const OF_OBJECTS = ['object-missing', 'object-damaged'];

export class LastingSession {
  readonly #reopen: (() => Promise<void>) | undefined;
  #era = 0;
  #opening: Promise<void> | undefined = Promise.resolve();

  /** It is open. Without `reopen` it cannot be lost. */
  constructor(reopen: (() => Promise<void>) | undefined) {
    this.#reopen = reopen;
  }

  /** The era that is now, once the session is open in it. @throws what opening it anew throws; the next one tries again. */
  async enter(): Promise<number> {
    const era = this.#era;
    const opening = this.#opening ?? (this.#reopen as () => Promise<void>)();
    this.#opening = opening;
    try {
      await opening;
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined;
      throw error;
    }
    return era;
  }

  isIn(era: number): boolean {
    return era === this.#era;
  }

  /** @throws `session-gone` for an era that is over. */
  require(era: number): void {
    if (!this.isIn(era)) throw new HoldfastError('session-gone', 'the session at the server was lost');
  }

  /** Ends the era for an error of its session. False for an error that another session would not mend. */
  lose(era: number, error: unknown): boolean {
    if (this.#reopen === undefined || !(error instanceof HoldfastError) || OF_OBJECTS.includes(error.code))
      return false;
    if (this.isIn(era)) {
      this.#era++;
      this.#opening = undefined;
    }
    return true;
  }
}
