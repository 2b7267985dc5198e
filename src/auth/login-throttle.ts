// Slows down guessing: after a few failures of a user or from an address each further one doubles the time until the next attempt. What is
// under way counts too, so that a hundred guesses at once are no way around it. Memory is bounded; nothing is lost by a restart but time.
import { HoldfastError } from '../util/errors.ts';

/** Failures that cost nothing: typing errors. */
const FREE_FAILURES = 4;
const FIRST_DELAY_MS = 1000;
/** Short for users, for anybody can make a user's sign-ins fail, and long for addresses. */
const MAX_DELAY_MS = { user: 30_000, address: 300_000 } as const;
/** Without a failure for so long, all is forgotten. */
const FORGET_AFTER_MS = 15 * 60_000;
/** Attempts under way of one user or address: of those without failures, and of those with. */
const MAX_PENDING = 32;
const MAX_PENDING_SUSPECT = 1;
const MAX_KEPT = 10_000;

interface Record {
  failures: number;
  pending: number;
  blockedUntilMs: number;
  lastMs: number;
}

/** An attempt that was let through. The first call counts. */
export interface Attempt {
  succeeded(): void;
  failed(): void;
  /** Neither right nor wrong: the attempt came to no answer. */
  dropped(): void;
}

type Kind = 'user' | 'address';

export class LoginThrottle {
  readonly #clock: () => number;
  readonly #records = new Map<string, Record>();
  /** Users and the addresses from where they signed in: there, nobody else's failures hold them off. */
  readonly #known = new Set<string>();

  /** `clock` gives milliseconds. */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Throws `login-throttled` with the seconds to wait. `user` is as typed. */
  admit(user: string, address: string): Attempt {
    const network = networkOf(address);
    const pair = `${user}\n${network}`;
    const userKey = this.#known.has(pair) ? `pair:${pair}` : `user:${user}`;
    const keys: [Kind, string][] = [
      ['address', `address:${network}`],
      ['user', userKey],
    ];
    for (const [, key] of keys) this.#check(key);
    for (const [, key] of keys) this.#record(key).pending++;
    let isEnded = false;
    const end = (each: (kind: Kind, record: Record) => void): void => {
      if (isEnded) return;
      isEnded = true;
      for (const [kind, key] of keys) {
        const record = this.#record(key);
        record.pending = Math.max(0, record.pending - 1);
        each(kind, record);
        if (record.pending === 0 && record.failures === 0) this.#records.delete(key);
      }
    };
    return {
      // An address keeps its failures: else whoever has an account could wipe them out between guesses.
      succeeded: () =>
        end((kind, record) => {
          if (kind !== 'user') return;
          record.failures = 0;
          this.#remember(pair);
        }),
      failed: () => end((kind, record) => this.#punish(kind, record)),
      dropped: () => end(() => undefined),
    };
  }

  #check(key: string): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    const nowMs = this.#clock();
    if (record.pending === 0 && nowMs - record.lastMs > FORGET_AFTER_MS) {
      this.#records.delete(key);
      return;
    }
    if (record.blockedUntilMs > nowMs) throw throttled(record.blockedUntilMs - nowMs);
    const most = record.failures >= FREE_FAILURES ? MAX_PENDING_SUSPECT : MAX_PENDING;
    if (record.pending >= most) throw throttled(FIRST_DELAY_MS);
  }

  #punish(kind: Kind, record: Record): void {
    const nowMs = this.#clock();
    record.failures++;
    record.lastMs = nowMs;
    if (record.failures < FREE_FAILURES) return;
    const delayMs = FIRST_DELAY_MS * 2 ** Math.min(20, record.failures - FREE_FAILURES);
    record.blockedUntilMs = nowMs + Math.min(delayMs, MAX_DELAY_MS[kind]);
  }

  #record(key: string): Record {
    let record = this.#records.get(key);
    if (record === undefined) {
      this.#makeRoom();
      record = { failures: 0, pending: 0, blockedUntilMs: 0, lastMs: this.#clock() };
    }
    // The map's order is that of last use.
    this.#records.delete(key);
    this.#records.set(key, record);
    return record;
  }

  #makeRoom(): void {
    if (this.#records.size < MAX_KEPT) return;
    const [oldest] = this.#records.keys();
    this.#records.delete(oldest);
  }

  #remember(pair: string): void {
    this.#known.delete(pair);
    if (this.#known.size >= MAX_KEPT) {
      const [oldest] = this.#known;
      this.#known.delete(oldest);
    }
    this.#known.add(pair);
  }
}

/** One host has a whole /64 of IPv6; IPv4 in IPv6 is IPv4. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  const [head, tail] = address.toLowerCase().replace(/%.*$/, '').split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - first.length - last.length }, () => '0');
  return [...first, ...zeros, ...last]
    .slice(0, 4)
    .map((part) => Number.parseInt(part, 16))
    .join(':');
}

function throttled(waitMs: number): HoldfastError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  return new HoldfastError('login-throttled', `too many failed sign-ins; try again in ${seconds} s`, {
    data: { retryAfterSeconds: seconds },
  });
}
