// Asks for the second factor at a sign-in and judges the answer. Each code counts once; wrong answers lock: a thief who has the password
// gets eight guesses at a million codes.
import type { UserId } from '../schema/auth-id.ts';
import type { Transactions } from './access-store.ts';
import { recoveryCodeHash } from './recovery-codes.ts';
import { type FactorLock, type SecondFactorStore, UNLOCKED } from './second-factor-store.ts';
import type { Challenge } from './tickets.ts';
import { acceptedStep, parseTotpUri } from './totp.ts';

/** In a row; then only a recovery code or an administrator helps. */
export const MAX_TOTP_FAILURES = 8;
/** In a row; then nothing is accepted for an hour. */
export const MAX_RECOVERY_FAILURES = 8;
export const RECOVERY_LOCK_SECONDS = 3600;

/** What an answer came to; `locked` is a wrong one that locked the factor. */
export type Verdict = 'accepted' | 'refused' | 'locked';

export class SecondFactors {
  readonly #store: SecondFactorStore;
  readonly #transactions: Transactions;

  constructor(store: SecondFactorStore, transactions: Transactions) {
    this.#store = store;
    this.#transactions = transactions;
  }

  /** What a user is to be asked for; undefined without a second factor. Nothing in it when all is locked or used up. */
  challengeOf(user: UserId, nowMs: number): Challenge | undefined {
    if (!this.#store.entries(user).some(({ enable }) => enable)) return undefined;
    const { totpLocked, lockedUntil } = this.#store.lock(user);
    if (lockedUntil * 1000 > nowMs) return { totp: false, recovery: [] };
    return {
      totp: !totpLocked && this.#store.totpKeys(user).length > 0,
      recovery: this.#store.recoveryCodes(user),
    };
  }

  /** Judges `totp:123456` or `recovery:CODE`. */
  answer(user: UserId, answer: string, nowMs: number): Verdict {
    return this.#transactions.atomically(() => {
      const lock = this.#store.lock(user);
      if (lock.lockedUntil * 1000 > nowMs) return 'refused';
      const [, type, code] = /^(totp|recovery):(.{1,64})$/s.exec(answer) ?? [];
      if (type === 'totp') return this.#answerTotp(user, code, nowMs, lock);
      if (type === 'recovery') return this.#answerRecovery(user, code, nowMs, lock);
      return 'refused';
    });
  }

  #answerTotp(user: UserId, code: string, nowMs: number, lock: FactorLock): Verdict {
    if (lock.totpLocked) return 'refused';
    for (const { id, uri, lastStep } of this.#store.totpKeys(user)) {
      const step = acceptedStep(parseTotpUri(uri), code, nowMs, lastStep);
      if (step === undefined) continue;
      this.#store.setLastStep(user, id, step);
      this.#store.setLock(user, { ...lock, totpFailures: 0 });
      return 'accepted';
    }
    const totpFailures = lock.totpFailures + 1;
    const totpLocked = totpFailures >= MAX_TOTP_FAILURES;
    this.#store.setLock(user, { ...lock, totpFailures, totpLocked });
    return totpLocked ? 'locked' : 'refused';
  }

  #answerRecovery(user: UserId, code: string, nowMs: number, lock: FactorLock): Verdict {
    const isThere = this.#store.recoveryCodes(user).length > 0;
    if (isThere && this.#store.takeRecoveryCode(user, recoveryCodeHash(user, code))) {
      this.#store.setLock(user, UNLOCKED);
      return 'accepted';
    }
    const recoveryFailures = lock.recoveryFailures + 1;
    const isLocked = recoveryFailures >= MAX_RECOVERY_FAILURES;
    const lockedUntil = Math.floor(nowMs / 1000) + RECOVERY_LOCK_SECONDS;
    this.#store.setLock(user, isLocked ? { ...lock, recoveryFailures: 0, lockedUntil } : { ...lock, recoveryFailures });
    return isLocked ? 'locked' : 'refused';
  }
}
