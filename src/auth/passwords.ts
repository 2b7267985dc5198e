// Passwords: which are taken, and their argon2id hashes, computed off the event loop and only a few at once, so that a storm of sign-ins
// neither stops the server nor takes its memory.
import { hash, verify } from '@node-rs/argon2';
import { HoldfastError } from '../util/errors.ts';

export const MIN_PASSWORD_LENGTH = 8;
export const MAX_PASSWORD_BYTES = 1024;
/** OWASP's second recommendation: 19 MiB and two passes, some 30 ms of a processor. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/** Of the four threads of Node's pool, which files need too. */
const AT_ONCE = 2;
/** Two a turn of 30 ms: who comes last waits a second. */
const MAX_WAITING = 64;

export interface PasswordHashing {
  /** For storing. */
  hash(password: string): Promise<string>;
  /** Without a hash it does the same work and says no, so that nobody learns from the time whether there is one. */
  verify(stored: string | undefined, password: string): Promise<boolean>;
}

/** Throws `bad-argument`; the message does not repeat the password. */
export function checkNewPassword(password: string): void {
  const isLongEnough = [...password].length >= MIN_PASSWORD_LENGTH;
  if (isLongEnough && Buffer.byteLength(password) <= MAX_PASSWORD_BYTES && !/\p{Cc}/u.test(password)) return;
  throw new HoldfastError(
    'bad-argument',
    `this password cannot be taken: use at least ${MIN_PASSWORD_LENGTH} characters, at most ${MAX_PASSWORD_BYTES} bytes, no control characters`,
  );
}

/** The library's two calls. */
export interface Argon2 {
  hash(password: string, cost: typeof COST): Promise<string>;
  verify(stored: string, password: string): Promise<boolean>;
}

export class Argon2Passwords implements PasswordHashing {
  readonly #argon2: Argon2;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #dummy: Promise<string> | undefined;

  constructor(argon2: Argon2 = { hash, verify }) {
    this.#argon2 = argon2;
  }

  hash(password: string): Promise<string> {
    return this.#inTurn(() => this.#argon2.hash(canonical(password), COST));
  }

  async verify(stored: string | undefined, password: string): Promise<boolean> {
    // What is too long is cut for the work alone, never for the answer.
    const isTooLong = Buffer.byteLength(password) > MAX_PASSWORD_BYTES;
    const candidate = isTooLong ? '' : canonical(password);
    this.#dummy ??= this.hash('nobody has this password');
    const against = stored ?? (await this.#dummy);
    const isRight = await this.#inTurn(() => this.#argon2.verify(against, candidate));
    return isRight && stored !== undefined && !isTooLong;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= MAX_WAITING) throw busy();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await work();
    } finally {
      // The place goes to whoever waits longest; only without one it is free.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

/** Keyboards spell the same accent in two ways. */
function canonical(password: string): string {
  return password.normalize('NFC');
}

function busy(): HoldfastError {
  return new HoldfastError('login-throttled', 'too many sign-ins at once; try again in a few seconds', {
    data: { retryAfterSeconds: 5 },
  });
}
