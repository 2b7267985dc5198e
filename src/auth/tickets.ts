// Tickets and CSRF tokens in Proxmox's layout: `PBS:<data>:<%08X time>::<signature>`, signed with Ed25519. Nothing is kept about a ticket; what
// ends it early is the user's `ticketsFrom`.
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

export const TICKET_LIFETIME_SECONDS = 7200;
/** A challenge for the second factor. */
export const CHALLENGE_LIFETIME_SECONDS = 300;
/** How far in the future a ticket may be: clocks of several servers. */
export const MAX_SKEW_SECONDS = 300;
const PREFIX = 'PBS';
const CHALLENGE_MARK = '!tfa!';
const SIGNATURE_BYTES = 64;
/** Longer ones are not looked at: a challenge names at most ten codes. */
const MAX_TICKET_LENGTH = 1024;

/** What a second factor may be answered with. */
export interface Challenge {
  readonly totp: boolean;
  /** Numbers of the recovery codes that are left. */
  readonly recovery: readonly number[];
}

/** A ticket that is genuine and in its time. */
export interface ReadTicket {
  readonly user: UserId;
  /** Unix seconds. */
  readonly time: number;
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
  issue(user: UserId, time: number): string {
    return this.#seal(`${PREFIX}:${user}:${hex(time)}`, '');
  }

  /** Undefined for a ticket that is forged, too old or too new, or a challenge. `now` in Unix seconds. */
  read(ticket: string, now: number): ReadTicket | undefined {
    const opened = this.#open(ticket, '', now, TICKET_LIFETIME_SECONDS);
    if (opened === undefined || opened.data.startsWith(CHALLENGE_MARK)) return undefined;
    return { user: parseUserId(opened.data), time: opened.time };
  }

  /** A ticket that proves the password alone; of no use but for the second step of the same user. */
  issueChallenge(user: UserId, challenge: Challenge, time: number): string {
    const json = JSON.stringify({ totp: challenge.totp, recovery: challenge.recovery });
    return this.#seal(`${PREFIX}:${CHALLENGE_MARK}${json.replaceAll(':', '%3A')}:${hex(time)}`, `:${user}`);
  }

  /** The time of a challenge of this user in Unix seconds, or undefined. */
  readChallenge(ticket: string, user: UserId, now: number): number | undefined {
    const opened = this.#open(ticket, `:${user}`, now, CHALLENGE_LIFETIME_SECONDS);
    return opened?.data.startsWith(CHALLENGE_MARK) ? opened.time : undefined;
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

  #open(ticket: string, bound: string, now: number, lifetime: number): { data: string; time: number } | undefined {
    if (ticket.length > MAX_TICKET_LENGTH) return undefined;
    const parts = /^(PBS:([^:]+):([0-9A-F]{8}))::([A-Za-z0-9+/]+)$/.exec(ticket);
    if (parts === null) return undefined;
    const [, text, data, time, encoded] = parts;
    const signature = Buffer.from(encoded, 'base64');
    // Base64 has several spellings of the same bytes; one is taken.
    if (signature.length !== SIGNATURE_BYTES || unpadded(signature) !== encoded) return undefined;
    if (!verify(null, Buffer.from(text + bound), this.#public, signature)) return undefined;
    const seconds = Number.parseInt(time, 16);
    return isInTime(seconds, now, lifetime) ? { data, time: seconds } : undefined;
  }
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
