// What second factors keep: keys of authenticator programs with the last step used, hashes of recovery codes, and wrong answers.
import type { UserId } from '../schema/auth-id.ts';

export type FactorType = 'totp' | 'recovery';

/** What may be shown of a second factor. */
export interface FactorEntry {
  readonly id: string;
  readonly type: FactorType;
  readonly description: string;
  /** Unix seconds. */
  readonly created: number;
  readonly enable: boolean;
}

export interface TotpKey {
  readonly id: string;
  /** `otpauth://…` with the key. */
  readonly uri: string;
  /** Codes of this step and before do not count. */
  readonly lastStep: number;
}

export interface FactorLock {
  readonly totpFailures: number;
  readonly recoveryFailures: number;
  /** Until a recovery code was used or an administrator unlocked it. */
  readonly totpLocked: boolean;
  /** Unix seconds; nothing is accepted before. */
  readonly lockedUntil: number;
}

export const UNLOCKED: FactorLock = { totpFailures: 0, recoveryFailures: 0, totpLocked: false, lockedUntil: 0 };

export interface SecondFactorStore {
  entries(user: UserId): readonly FactorEntry[];
  /** Users that have entries, by name. */
  users(): readonly UserId[];
  /** Of the entries that are enabled. */
  totpKeys(user: UserId): readonly TotpKey[];
  setLastStep(user: UserId, id: string, step: number): void;
  /** Numbers of the codes that are left, when the entry is enabled. */
  recoveryCodes(user: UserId): readonly number[];
  /** True when the code was there; it is not any more. */
  takeRecoveryCode(user: UserId, hash: Uint8Array): boolean;
  add(user: UserId, entry: FactorEntry): void;
  setTotpKey(user: UserId, key: TotpKey): void;
  setRecoveryCodes(user: UserId, id: string, hashes: readonly Uint8Array[]): void;
  update(user: UserId, entry: FactorEntry): void;
  delete(user: UserId, id: string): void;
  lock(user: UserId): FactorLock;
  setLock(user: UserId, lock: FactorLock): void;
}
