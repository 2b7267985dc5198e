// Secrets of API tokens: random UUIDs, 122 bits, so that a plain SHA-256 of one can be stored: there is nothing to guess.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';

export function newTokenSecret(): string {
  return randomUUID();
}

export function tokenSecretHash(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

export function isTokenSecret(stored: Uint8Array, secret: string): boolean {
  const shown = tokenSecretHash(secret);
  return stored.length === shown.length && timingSafeEqual(stored, shown);
}
