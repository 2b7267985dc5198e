// Tickets and CSRF tokens in Proxmox's layout: `PBS:<data>:<%08X time>::<signature>`, signed with Ed25519, or `PVE:…` of the guest dialect,
// which is good at either listener. Nothing is kept about a ticket; the signature also covers the user's ticket epoch, and a new epoch ends all
// tickets of before.
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { parseUserId, type UserId } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';

export const TICKET_LIFETIME_SECONDS = 7200;
/** A challenge for the second factor. */
export const CHALLENGE_LIFETIME_SECONDS = 300;
/** How far in the future a ticket may be: clocks of several servers. */
export const MAX_SKEW_SECONDS = 300;
const CHALLENGE_MARK = '!tfa!';
const SIGNATURE_BYTES = 64;
/** Longer ones are not looked at: a challenge names at most ten codes. */
const MAX_TICKET_LENGTH = 1024;

/** Which product a ticket says that it is of. */
export type TicketPrefix = 'PBS' | 'PVE';

/** What a second factor may be answered with. */
export interface Challenge {
  readonly totp: boolean;
  /** Numbers of the recovery codes that are left. */
  readonly recovery: readonly number[];
}

export class Tickets {
  readonly #private: KeyObject;
  readonly #public: KeyObject;
  readonly #csrfKey: Uint8Array;

  /** `signingKey` is an Ed25519 key in PKCS #8 DER, `csrfKey` 32 random bytes. */
  constructor(signingKey: Uint8Array, csrfKey: Uint8Array) {
    this.#private = createPrivateKey({ key: Buffer.from(signingKey), format: 'der', type: 'pkcs8' });
    this.#public = createPublicKey(this.#private);
    this.#csrfKey = csrfKey;
  }

  /** `time` in Unix seconds. */
  issue(user: UserId, epoch: string, time: number, prefix: TicketPrefix = 'PBS'): string {
    return this.#seal(`${prefix}:${user}:${hex(time)}`, ticketBound(epoch));
  }

  /**
   * The user of a ticket; undefined for one that is forged, too old or too new, of an earlier epoch, or a challenge.
   * `now` in Unix seconds; `epochOf` gives a user's epoch, or undefined for nobody.
   */
  read(ticket: string, now: number, epochOf: (user: UserId) => string | undefined): UserId | undefined {
    const user = claimedUser(ticket);
    const epoch = user === undefined ? undefined : epochOf(user);
    // The same work for nobody, so that the time does not tell which users there are.
    const holds = this.#holds(ticket, ticketBound(epoch ?? ''), now, TICKET_LIFETIME_SECONDS);
    return holds && epoch !== undefined ? user : undefined;
  }

  /** A ticket that proves the password alone; of no use but for the second step of the same user. */
  issueChallenge(
    user: UserId,
    epoch: string,
    challenge: Challenge,
    time: number,
    prefix: TicketPrefix = 'PBS',
  ): string {
    const json = JSON.stringify({ totp: challenge.totp, recovery: challenge.recovery });
    return this.#seal(
      `${prefix}:${CHALLENGE_MARK}${json.replaceAll(':', '%3A')}:${hex(time)}`,
      challengeBound(user, epoch),
    );
  }

  /** Whether it is a challenge that this user got in this epoch, and not too old. */
  checkChallenge(ticket: string, user: UserId, epoch: string, now: number): boolean {
    return this.#holds(ticket, challengeBound(user, epoch), now, CHALLENGE_LIFETIME_SECONDS);
  }

  issueCsrfToken(user: UserId, time: number): string {
    return `${hex(time)}:${this.#csrfMac(user, hex(time))}`;
  }

  checkCsrfToken(token: string, user: UserId, now: number): boolean {
    const parts = /^([0-9A-F]{8}):([A-Za-z0-9+/]{43})$/.exec(token);
    if (parts === null) return false;
    const [, time, mac] = parts;
    const isGenuine = timingSafeEqual(Buffer.from(mac), Buffer.from(this.#csrfMac(user, time)));
    return isGenuine && isInTime(Number.parseInt(time, 16), now, TICKET_LIFETIME_SECONDS);
  }

  #csrfMac(user: UserId, time: string): string {
    return unpadded(createHmac('sha3-256', this.#csrfKey).update(`${time}:${user}:`).digest());
  }

  #seal(text: string, bound: string): string {
    return `${text}::${unpadded(sign(null, Buffer.from(text + bound), this.#private))}`;
  }

  #holds(ticket: string, bound: string, now: number, lifetime: number): boolean {
    const parts = partsOf(ticket);
    if (parts === undefined) return false;
    const [, text, , time, encoded] = parts;
    const signature = Buffer.from(encoded, 'base64');
    // Base64 has several spellings of the same bytes; one is taken.
    if (signature.length !== SIGNATURE_BYTES || unpadded(signature) !== encoded) return false;
    const isGenuine = verify(null, Buffer.from(text + bound), this.#public, signature);
    return isGenuine && isInTime(Number.parseInt(time, 16), now, lifetime);
  }
}

function partsOf(ticket: string): RegExpExecArray | undefined {
  if (ticket.length > MAX_TICKET_LENGTH) return undefined;
  return /^(P(?:BS|VE):([^:]+):([0-9A-F]{8}))::([A-Za-z0-9+/]+)$/.exec(ticket) ?? undefined;
}

/** Whether a text is meant as a ticket: passwords that begin so are tried as one first. */
export function looksLikeTicket(text: string): boolean {
  return text.startsWith('PBS:') || text.startsWith('PVE:');
}

/** Whose a ticket says it is; nothing is checked but the name. */
function claimedUser(ticket: string): UserId | undefined {
  try {
    return parseUserId(partsOf(ticket)?.[2] ?? '');
  } catch (error) {
    if (error instanceof HoldfastError) return undefined;
    throw error;
  }
}

// A challenge is signed with other words than a ticket, so that neither passes for the other.
function ticketBound(epoch: string): string {
  return `:ticket:${epoch}`;
}

function challengeBound(user: UserId, epoch: string): string {
  return `:challenge:${user}:${epoch}`;
}

function isInTime(time: number, now: number, lifetime: number): boolean {
  const age = now - time;
  return age >= -MAX_SKEW_SECONDS && age <= lifetime;
}

function hex(seconds: number): string {
  return seconds.toString(16).toUpperCase().padStart(8, '0');
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
