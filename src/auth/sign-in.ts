// Signing in: password, or an old ticket in its place, then the second factor when there is one. Whoever fails learns nothing of why, and
// the same work is done for users that are not there.
import { parseUserId, type UserId } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { UserRecord, UserStore } from './access-store.ts';
import type { AuditLog } from './audit-log.ts';
import type { Attempt, LoginThrottle } from './login-throttle.ts';
import type { PasswordHashing } from './passwords.ts';
import { isActive } from './permissions.ts';
import type { QuietFailures } from './quiet-failures.ts';
import type { SecondFactors } from './second-factors.ts';
import { looksLikeTicket, type TicketPrefix, type Tickets } from './tickets.ts';

export interface LoginRequest {
  readonly username: string;
  /** A password, a ticket, or with `tfaChallenge` the answer: `totp:123456`, `recovery:CODE`. */
  readonly password: string;
  readonly tfaChallenge: string | undefined;
  /** Of the ticket; `PBS` when not given. */
  readonly ticketPrefix?: TicketPrefix;
  readonly address: string;
}

export interface LoginResult {
  readonly username: UserId;
  /** With `needsSecondFactor` a challenge, to be sent back with the answer within five minutes. */
  readonly ticket: string;
  /** `invalid` with a challenge. */
  readonly csrfToken: string;
  readonly needsSecondFactor: boolean;
}

export interface SignInParts {
  readonly users: Pick<UserStore, 'find'>;
  readonly tickets: Tickets;
  readonly passwords: PasswordHashing;
  readonly secondFactors: SecondFactors;
  readonly throttle: LoginThrottle;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly failures: QuietFailures;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

const NO_CSRF_TOKEN = 'invalid';
const MAX_NAME_KEPT = 64;

export class SignIn {
  readonly #parts: SignInParts;

  constructor(parts: SignInParts) {
    this.#parts = parts;
  }

  /** Throws `not-authenticated` or `login-throttled`. */
  async login(request: LoginRequest): Promise<LoginResult> {
    const user = userIfAny(request.username);
    // No throttle: a signature cannot be guessed, and who is signed in is not to be held off by others' failures.
    const renewed = user === undefined ? undefined : this.#renew(user, request);
    if (renewed !== undefined) return renewed;
    const attempt = this.#admit(request);
    try {
      const isSecond = request.tfaChallenge !== undefined;
      const result = isSecond ? this.#second(user, request) : await this.#first(user, request);
      if (result === undefined) {
        attempt.failed();
        this.#audited('login-failed', request, { step: isSecond ? 'second-factor' : 'password' });
        throw refused();
      }
      // A right password alone wipes out no failures of the second factor.
      if (result.needsSecondFactor) attempt.dropped();
      else {
        attempt.succeeded();
        this.#audited('login', request, { secondFactor: isSecond });
      }
      return result;
    } catch (error) {
      attempt.dropped();
      throw error;
    }
  }

  #admit(request: LoginRequest): Attempt {
    try {
      return this.#parts.throttle.admit(request.username.slice(0, MAX_NAME_KEPT), request.address);
    } catch (error) {
      const by = shownName(request.username);
      this.#parts.failures.note({
        action: 'login-failed',
        by,
        address: request.address,
        object: by,
        detail: { throttled: true },
      });
      throw error;
    }
  }

  /** An old ticket as the password. */
  #renew(user: UserId, request: LoginRequest): LoginResult | undefined {
    if (request.tfaChallenge !== undefined || !looksLikeTicket(request.password)) return undefined;
    const nowMs = this.#parts.clock();
    const record = this.#parts.users.find(user);
    const epochOf = (claimed: UserId): string | undefined => (claimed === user ? record?.ticketEpoch : undefined);
    const holder = this.#parts.tickets.read(request.password, Math.floor(nowMs / 1000), epochOf);
    if (holder === undefined || record === undefined || !isActive(record, nowMs)) return undefined;
    return this.#ticketFor(record, request);
  }

  async #first(user: UserId | undefined, request: LoginRequest): Promise<LoginResult | undefined> {
    const before = user === undefined ? undefined : this.#parts.users.find(user);
    const isRight = await this.#parts.passwords.verify(before?.passwordHash, request.password);
    // Looked up again: it took a while.
    const record = user === undefined ? undefined : this.#parts.users.find(user);
    const nowMs = this.#parts.clock();
    if (!isRight || record === undefined || record.passwordHash !== before?.passwordHash) return undefined;
    if (!isActive(record, nowMs)) return undefined;
    const challenge = this.#parts.secondFactors.challengeOf(record.userid, nowMs);
    if (challenge === undefined) return this.#ticketFor(record, request);
    if (!challenge.totp && challenge.recovery.length === 0) throw locked();
    const { userid, ticketEpoch } = record;
    const { tickets } = this.#parts;
    const ticket = tickets.issueChallenge(userid, ticketEpoch, challenge, this.#seconds(), request.ticketPrefix);
    return { username: userid, ticket, csrfToken: NO_CSRF_TOKEN, needsSecondFactor: true };
  }

  #second(user: UserId | undefined, request: LoginRequest): LoginResult | undefined {
    const nowMs = this.#parts.clock();
    const record = user === undefined ? undefined : this.#parts.users.find(user);
    if (record === undefined || !isActive(record, nowMs)) return undefined;
    const { tickets, secondFactors } = this.#parts;
    const { userid, ticketEpoch } = record;
    if (!tickets.checkChallenge(request.tfaChallenge ?? '', userid, ticketEpoch, this.#seconds())) return undefined;
    const verdict = secondFactors.answer(userid, request.password, nowMs);
    if (verdict === 'locked') this.#audited('tfa-locked', request, {});
    return verdict === 'accepted' ? this.#ticketFor(record, request) : undefined;
  }

  #ticketFor(record: UserRecord, { ticketPrefix }: Pick<LoginRequest, 'ticketPrefix'>): LoginResult {
    const time = this.#seconds();
    return {
      username: record.userid,
      ticket: this.#parts.tickets.issue(record.userid, record.ticketEpoch, time, ticketPrefix),
      csrfToken: this.#parts.tickets.issueCsrfToken(record.userid, time),
      needsSecondFactor: false,
    };
  }

  #seconds(): number {
    return Math.floor(this.#parts.clock() / 1000);
  }

  #audited(
    action: 'login' | 'login-failed' | 'tfa-locked',
    request: LoginRequest,
    detail: Record<string, string | boolean>,
  ): void {
    const by = shownName(request.username);
    this.#parts.audit.append({ action, by, address: request.address, object: by, detail });
  }
}

function userIfAny(text: string): UserId | undefined {
  try {
    return parseUserId(text);
  } catch (error) {
    if (error instanceof HoldfastError) return undefined;
    throw error;
  }
}

/** People type passwords where the name belongs. */
function shownName(text: string): string {
  return userIfAny(text) ?? '(no user id)';
}

/** Proxmox's words. */
function refused(): HoldfastError {
  return new HoldfastError('not-authenticated', 'permission check failed.');
}

/** Said only to who knows the password. */
function locked(): HoldfastError {
  return new HoldfastError(
    'not-authenticated',
    'the second factor of this user is locked after wrong answers, or used up; ask an administrator to unlock or remove it',
  );
}
