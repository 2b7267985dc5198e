// How long an agent waits before it dials again: doubling, and never all agents at once. What only a person can mend is tried less often.
import { HoldfastError } from '../../util/errors.ts';

const FIRST_MS = 1000;
const LONGEST_MS = 60_000;
const FIRST_REFUSED_MS = 15_000;
const LONGEST_REFUSED_MS = 300_000;

/** Refusals that the next try will meet too. */
const REFUSALS: ReadonlySet<string> = new Set([
  'node-duplicate',
  'node-foreign',
  'not-authenticated',
  'permission-denied',
  'not-found',
  'server-untrusted',
  'protocol-failed',
]);

export class BackOff {
  readonly #random: () => number;
  #failures = 0;

  /** `random` gives 0 to 1. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** A connection came about. */
  reset(): void {
    this.#failures = 0;
  }

  /** Milliseconds to wait after this failure. */
  next(error: unknown): number {
    const isRefusal = error instanceof HoldfastError && REFUSALS.has(error.code);
    const [first, longest] = isRefusal ? [FIRST_REFUSED_MS, LONGEST_REFUSED_MS] : [FIRST_MS, LONGEST_MS];
    const waitMs = Math.min(longest, first * 2 ** Math.min(20, this.#failures++));
    return waitMs * (0.5 + this.#random() / 2);
  }
}
