// Codes on paper for who lost the authenticator: ten, each good once. 80 random bits, so that a plain hash can be stored.
import { createHash, randomInt } from 'node:crypto';
import type { UserId } from '../schema/auth-id.ts';

export const RECOVERY_CODE_COUNT = 10;
/** Without letters that look like others. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LENGTH = 16;

/** `xxxx-xxxx-xxxx-xxxx`. */
export function newRecoveryCode(): string {
  const letters = Array.from({ length: LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return (letters.match(/.{4}/g) as string[]).join('-');
}

/** Of a code as somebody types it: case, dashes and blanks do not matter. */
export function recoveryCodeHash(user: UserId, code: string): Buffer {
  const letters = code.toLowerCase().replace(/[\s-]/g, '');
  return createHash('sha256').update(`holdfast recovery code\n${user}\n${letters}`).digest();
}
