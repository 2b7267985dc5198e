// Fingerprints of certificates: SHA-256 of the leaf, written as 64 hexadecimal digits with or without colons.
import { createHash } from 'node:crypto';
import { HoldfastError } from '../../util/errors.ts';

/** 64 lower-case hexadecimal digits. @throws `bad-argument`. */
export function parseFingerprint(text: string): string {
  const digits = text.trim().replaceAll(':', '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digits)) return digits;
  throw new HoldfastError(
    'bad-argument',
    `${JSON.stringify(text.slice(0, 100))} is not the fingerprint of a certificate: 32 bytes in hexadecimal, with or without colons`,
  );
}

/** `ab:cd:…`, as servers show it. */
export function showFingerprint(digits: string): string {
  return (digits.match(/../g) as string[]).join(':');
}

/** Of a certificate in DER. */
export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex');
}
