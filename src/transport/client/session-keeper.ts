// A session at the server: opened when it is first needed, opened anew when the server does not know it any more. Lines that find out at the
// same time open it once.
import { HoldfastError } from '../../util/errors.ts';
import type { SessionAccess } from './bulk-line.ts';

/** A server that forgets again and again is not worth a thousand sessions. */
const MAX_OPENINGS = 20;

/** A session that is open at the server. */
export interface OpenedAccess extends SessionAccess {
  /** Of the bulk listener. */
  readonly origin: string;
}

export class SessionKeeper<Opened extends OpenedAccess> {
  readonly #open: () => Promise<Opened>;
  #current: Promise<Opened> | undefined;
  #openings = 0;

  /** `open` tries as long as it makes sense. */
  constructor(open: () => Promise<Opened>) {
    this.#open = open;
  }

  /** How often it was opened anew. */
  get reopenings(): number {
    return Math.max(0, this.#openings - 1);
  }

  access(): Promise<Opened> {
    if (this.#current !== undefined) return this.#current;
    if (this.#openings === MAX_OPENINGS)
      return Promise.reject(
        new HoldfastError('session-gone', 'the server forgets the session again and again; look at its log, run again'),
      );
    this.#openings++;
    const opening = this.#open();
    this.#current = opening;
    opening.catch(() => {
      if (this.#current === opening) this.#current = undefined;
    });
    return opening;
  }

  /** The session that is open; undefined when there is none, or it is being opened. */
  async openNow(): Promise<Opened | undefined> {
    return await this.#current?.catch(() => undefined);
  }

  /** The server does not know this one any more. */
  async lost(access: Opened): Promise<void> {
    const held = this.#current;
    if (held !== undefined && (await held.catch(() => undefined)) === access && this.#current === held)
      this.#current = undefined;
  }
}
