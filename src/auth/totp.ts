// Time-based codes (RFC 6238) as authenticator programs make them; a code counts once. Keys come as `otpauth://` addresses.
import { Secret, TOTP, URI } from 'otpauth';
import { HoldfastError } from '../util/errors.ts';

/** 128 bits, RFC 4226 section 4. */
const MIN_SECRET_BYTES = 16;
/** As RFC 4226 recommends. */
const NEW_SECRET_BYTES = 20;
const MAX_URI_LENGTH = 1024;
/** Steps before and after now. */
const WINDOW = 1;

/** Checks an `otpauth://totp/` address. Throws `bad-argument`; the message does not repeat it. */
export function parseTotpUri(uri: string): TOTP {
  if (uri.length <= MAX_URI_LENGTH) {
    try {
      const totp = URI.parse(uri);
      if (totp instanceof TOTP && isSane(totp)) return totp;
    } catch {
      // The library's message can hold the key.
    }
  }
  throw noKey();
}

function noKey(): HoldfastError {
  return new HoldfastError(
    'bad-argument',
    `this is no key for time-based codes: give otpauth://totp/… with a secret of at least ${MIN_SECRET_BYTES} bytes, 6 to 8 digits and a period of 15 to 120 s`,
  );
}

/** A colon parts issuer and user, so neither has one. */
function uriOf(user: string, issuer: string, secret: Secret): string {
  return new TOTP({ issuer: issuer.replaceAll(':', '.'), label: user.replaceAll(':', '.'), secret }).toString();
}

/** A new key for an authenticator, which shows it under these names. */
export function newTotpUri(user: string, issuer: string): string {
  return uriOf(user, issuer, new Secret({ size: NEW_SECRET_BYTES }));
}

/** A key that somebody has, as `otpauth://totp/…` or in base32 with blanks or without. @throws `bad-argument`; the message does not repeat it. */
export function totpUriOf(text: string, user: string, issuer: string): string {
  if (text.startsWith('otpauth:')) {
    parseTotpUri(text);
    return text;
  }
  const letters = text.replace(/[\s-]/g, '').replace(/=+$/, '').toUpperCase();
  // Not without end: what is longer no authenticator takes.
  if (!/^[A-Z2-7]{1,256}$/.test(letters)) throw noKey();
  const uri = uriOf(user, issuer, Secret.fromBase32(letters));
  parseTotpUri(uri);
  return uri;
}

/** The secret of an address, as people type it into an authenticator. */
export function secretOfTotpUri(uri: string): string {
  return parseTotpUri(uri).secret.base32;
}

/**
 * The step of time that a code belongs to, when it is right and of a later step than `lastStep`; else undefined.
 * Steps before `lastStep` were used, or could have been seen on the way.
 */
export function acceptedStep(totp: TOTP, code: string, nowMs: number, lastStep: number): number | undefined {
  if (!/^\d{6,8}$/.test(code)) return undefined;
  const delta = totp.validate({ token: code, timestamp: nowMs, window: WINDOW });
  if (delta === null) return undefined;
  const step = Math.floor(nowMs / 1000 / totp.period) + delta;
  return step > lastStep ? step : undefined;
}

function isSane({ secret, digits, period, algorithm }: TOTP): boolean {
  return (
    secret.bytes.length >= MIN_SECRET_BYTES &&
    digits >= 6 &&
    digits <= 8 &&
    period >= 15 &&
    period <= 120 &&
    ['SHA1', 'SHA256', 'SHA512'].includes(algorithm)
  );
}
