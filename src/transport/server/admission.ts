// Which sessions a thread serves, and who may call in their name: each has a token of its own, of which threads know the hash alone.
import { createHash, timingSafeEqual } from 'node:crypto';
import { HoldfastError } from '../../util/errors.ts';
import { Activity } from './activity.ts';
import { MAX_CALLS } from './bulk-limits.ts';

export type SessionKind = 'backup' | 'read';

/** What a thread is told of a session; structured-cloneable. */
export interface AdmittedSession {
  readonly session: string;
  readonly kind: SessionKind;
  /** SHA-256 of the token. */
  readonly tokenHash: Uint8Array;
  readonly activity: SharedArrayBuffer;
}

export class Admitted {
  readonly session: string;
  readonly kind: SessionKind;
  readonly activity: Activity;
  readonly #tokenHash: Uint8Array;
  /** How to break off each call that runs. */
  readonly #running = new Set<() => void>();

  constructor({ session, kind, tokenHash, activity }: AdmittedSession) {
    this.session = session;
    this.kind = kind;
    this.#tokenHash = tokenHash;
    this.activity = new Activity(activity);
  }

  isToken(token: string): boolean {
    return timingSafeEqual(hashToken(token), this.#tokenHash);
  }

  /** Notes a call until what it returns is called. @throws `too-many`. */
  enter(breakOff: () => void): () => void {
    if (this.#running.size >= MAX_CALLS)
      throw new HoldfastError(
        'too-many',
        `session ${this.session} has ${MAX_CALLS} calls running; wait for one to end`,
      );
    this.#running.add(breakOff);
    return () => void this.#running.delete(breakOff);
  }

  breakOffAll(): void {
    for (const breakOff of this.#running) breakOff();
  }
}

export class Admission {
  readonly #sessions = new Map<string, Admitted>();

  admit(session: AdmittedSession): void {
    this.#sessions.set(session.session, new Admitted(session));
  }

  /** Ends what runs for the session, and lets nobody in any more. */
  dismiss(session: string): void {
    this.#sessions.get(session)?.breakOffAll();
    this.#sessions.delete(session);
  }

  dismissAll(): void {
    for (const session of [...this.#sessions.keys()]) this.dismiss(session);
  }

  /** The session that a request is for. @throws `session-gone`, `not-authenticated`. */
  require(session: string, authorization: string | undefined): Admitted {
    const admitted = this.#sessions.get(session);
    if (admitted === undefined) throw sessionGone(session);
    const token = /^Bearer ([\w-]{1,128})$/.exec(authorization ?? '')?.[1];
    if (token === undefined || !admitted.isToken(token))
      throw new HoldfastError('not-authenticated', `this is not the token of session ${session}`);
    return admitted;
  }
}

export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

export function sessionGone(session: string): HoldfastError {
  return new HoldfastError(
    'session-gone',
    `session ${session} is not open here (any more); open a new one for the same group, it continues with what was put`,
  );
}
