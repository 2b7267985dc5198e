// Second factors of a user: adding, naming, removing them, and unlocking after wrong answers. Secrets leave once, when they are made.
import { randomUUID } from 'node:crypto';
import type { UserId } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { AccessRules } from './access-rules.ts';
import type { Transactions, UserStore } from './access-store.ts';
import { checkTexts, requireRoom } from './account-fields.ts';
import type { Actor, AuditAction, AuditLog } from './audit-log.ts';
import type { PasswordConfirmation } from './password-confirmation.ts';
import { newRecoveryCode, RECOVERY_CODE_COUNT, recoveryCodeHash } from './recovery-codes.ts';
import { type FactorEntry, type SecondFactorStore, UNLOCKED } from './second-factor-store.ts';
import { acceptedStep, parseTotpUri } from './totp.ts';
import { noSuchUser } from './user-accounts.ts';

const MAX_FACTORS_A_USER = 16;
const RECOVERY_ID = 'recovery';
/** No code was used yet. */
const NO_STEP = -1;

export interface NewTotp {
  /** `otpauth://totp/…` with the key. */
  readonly uri: string;
  /** A code that shows that the authenticator has the key. */
  readonly code: string;
  readonly description: string;
  /** The actor's own password. */
  readonly confirmation?: string;
}

export interface UserFactors {
  readonly userid: UserId;
  readonly entries: readonly FactorEntry[];
  readonly totpLocked: boolean;
  /** Unix seconds, 0 for not locked. */
  readonly tfaLockedUntil: number;
}

export interface TfaEnrolmentParts {
  readonly users: Pick<UserStore, 'find'>;
  readonly secondFactors: SecondFactorStore;
  readonly transactions: Transactions;
  readonly confirmation: PasswordConfirmation;
  readonly rules: AccessRules;
  readonly audit: Pick<AuditLog, 'append'>;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

export class TfaEnrolment {
  readonly #parts: TfaEnrolmentParts;

  constructor(parts: TfaEnrolmentParts) {
    this.#parts = parts;
  }

  /** Of all users that have any, or of oneself. */
  list(actor: Actor): UserFactors[] {
    const seesAll = this.#parts.rules.seesUsers(actor);
    const users = this.#parts.secondFactors.users().filter((user) => seesAll || user === actor.authId);
    return users.map((user) => this.#view(user));
  }

  of(actor: Actor, user: UserId): UserFactors {
    this.#parts.rules.requireSeeing(actor, user);
    this.#requireUser(user);
    return this.#view(user);
  }

  /** Returns the id. The code cannot be used again. */
  async addTotp(actor: Actor, user: UserId, { uri, code, description, confirmation }: NewTotp): Promise<string> {
    await this.#requireMayAdd(actor, user, description, confirmation);
    const { transactions, secondFactors, clock } = this.#parts;
    const nowMs = clock();
    const lastStep = acceptedStep(parseTotpUri(uri), code, nowMs, NO_STEP);
    if (lastStep === undefined)
      throw new HoldfastError(
        'bad-argument',
        'the code does not fit the key; look at the clocks of this server and of the device',
        { data: { wrong: 'code' } },
      );
    const id = randomUUID();
    transactions.atomically(() => {
      this.#add(actor, user, { id, type: 'totp', description, created: Math.floor(nowMs / 1000), enable: true });
      secondFactors.setTotpKey(user, { id, uri, lastStep });
    });
    return id;
  }

  /** Returns the codes, shown this once. One set a user: remove it to make new ones. */
  async addRecovery(actor: Actor, user: UserId, confirmation?: string): Promise<string[]> {
    await this.#requireMayAdd(actor, user, '', confirmation);
    const { transactions, secondFactors, clock } = this.#parts;
    const codes = Array.from({ length: RECOVERY_CODE_COUNT }, newRecoveryCode);
    const created = Math.floor(clock() / 1000);
    transactions.atomically(() => {
      if (secondFactors.entries(user).some(({ id }) => id === RECOVERY_ID))
        throw new HoldfastError('exists', `'${user}' has recovery codes already; remove them to make new ones`);
      this.#add(actor, user, { id: RECOVERY_ID, type: 'recovery', description: '', created, enable: true });
      secondFactors.setRecoveryCodes(
        user,
        RECOVERY_ID,
        codes.map((code) => recoveryCodeHash(user, code)),
      );
    });
    return codes;
  }

  async update(
    actor: Actor,
    user: UserId,
    id: string,
    changes: { readonly description?: string; readonly enable?: boolean; readonly confirmation?: string },
  ): Promise<void> {
    const { confirmation, ...fields } = changes;
    if (fields.description !== undefined) checkTexts({ description: fields.description });
    await this.#requireMayChange(actor, user, confirmation);
    this.#parts.transactions.atomically(() => {
      this.#parts.secondFactors.update(user, { ...this.#find(user, id), ...fields });
      this.#audit(actor, 'tfa-update', user, { id, fields: Object.keys(fields) });
    });
  }

  async delete(actor: Actor, user: UserId, id: string, confirmation?: string): Promise<void> {
    await this.#requireMayChange(actor, user, confirmation);
    this.#parts.transactions.atomically(() => {
      const { type } = this.#find(user, id);
      this.#parts.secondFactors.delete(user, id);
      this.#audit(actor, 'tfa-delete', user, { id, type });
    });
  }

  /** Returns whether anything was locked. Only for who manages users, else it would be no lock. */
  unlock(actor: Actor, user: UserId): boolean {
    const { rules, secondFactors, transactions, clock } = this.#parts;
    rules.requireNoToken(actor);
    rules.requireManaging(actor, user);
    return transactions.atomically(() => {
      this.#requireUser(user);
      const { totpLocked, lockedUntil } = secondFactors.lock(user);
      secondFactors.setLock(user, UNLOCKED);
      this.#audit(actor, 'tfa-unlock', user, {});
      return totpLocked || lockedUntil * 1000 > clock();
    });
  }

  async #requireMayAdd(actor: Actor, user: UserId, description: string, confirmation?: string): Promise<void> {
    checkTexts({ description });
    await this.#requireMayChange(actor, user, confirmation);
  }

  async #requireMayChange(actor: Actor, user: UserId, confirmation: string | undefined): Promise<void> {
    this.#parts.rules.requireNoToken(actor);
    this.#parts.rules.requireBecoming(actor, user);
    this.#requireUser(user);
    await this.#parts.confirmation.require(actor, confirmation);
  }

  #add(actor: Actor, user: UserId, entry: FactorEntry): void {
    this.#requireUser(user);
    const { secondFactors } = this.#parts;
    requireRoom(secondFactors.entries(user).length, MAX_FACTORS_A_USER, `second factors of ${user}`);
    secondFactors.add(user, entry);
    this.#audit(actor, 'tfa-add', user, { id: entry.id, type: entry.type });
  }

  #find(user: UserId, id: string): FactorEntry {
    this.#requireUser(user);
    const entry = this.#parts.secondFactors.entries(user).find((each) => each.id === id);
    if (entry === undefined) throw new HoldfastError('not-found', `'${user}' has no such second factor`);
    return entry;
  }

  #requireUser(user: UserId): void {
    if (this.#parts.users.find(user) === undefined) throw noSuchUser(user);
  }

  #view(userid: UserId): UserFactors {
    const { totpLocked, lockedUntil } = this.#parts.secondFactors.lock(userid);
    return { userid, entries: this.#parts.secondFactors.entries(userid), totpLocked, tfaLockedUntil: lockedUntil };
  }

  #audit(actor: Actor, action: AuditAction, object: UserId, detail: Record<string, string | string[]>): void {
    this.#parts.audit.append({ action, by: actor.authId, address: actor.address, object, detail });
  }
}
