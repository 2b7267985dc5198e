// The 32 bytes of a data key under a passphrase: scrypt (RFC 7914) makes a key of it, AES-256-GCM encrypts. The fingerprint is associated
// data, so that no secret passes for that of another key.
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { KEY_BYTES } from '../../chunker/data-key.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const SALT_BYTES = 16;
/** Bytes of a wrapped secret: nonce, ciphertext, tag. */
export const WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/** Cost of scrypt: 128 · n · r bytes of memory. A power of two, r and p as RFC 7914 has them. */
export interface ScryptParameters {
  readonly n: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Uint8Array;
}

/** 128 MiB, and some 0.4 s of a processor for each guess. */
export const DEFAULT_COST = { n: 2 ** 17, r: 8, p: 1 } as const;
/** What a file may ask of who opens it: 1 GiB. */
export const MAX_SCRYPT_BYTES = 2 ** 30;
const MAX_P = 16;

export function newScryptParameters(cost: { n: number; r: number; p: number } = DEFAULT_COST): ScryptParameters {
  return { ...cost, salt: randomBytes(SALT_BYTES) };
}

/** Whether somebody can have meant these parameters; damaged ones could ask for all memory or all time. */
export function isSaneScrypt({ n, r, p }: { n: number; r: number; p: number }): boolean {
  const isPower = Number.isInteger(n) && n >= 2 && Math.log2(n) % 1 === 0;
  return (
    isPower &&
    Number.isInteger(r) &&
    r >= 1 &&
    Number.isInteger(p) &&
    p >= 1 &&
    p <= MAX_P &&
    128 * n * r <= MAX_SCRYPT_BYTES
  );
}

/** nonce ‖ ciphertext ‖ tag, `WRAPPED_BYTES` long. */
export async function wrapSecret(
  secret: Uint8Array,
  passphrase: string,
  parameters: ScryptParameters,
  fingerprint: string,
): Promise<Buffer> {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', await passphraseKey(passphrase, parameters), nonce);
  cipher.setAAD(Buffer.from(fingerprint, 'hex'));
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined when the passphrase is wrong, or the bytes are not what was written: the two cannot be told apart. */
export async function unwrapSecret(
  wrapped: Uint8Array,
  passphrase: string,
  parameters: ScryptParameters,
  fingerprint: string,
): Promise<Buffer | undefined> {
  const bytes = Buffer.from(wrapped);
  const decipher = createDecipheriv(
    'aes-256-gcm',
    await passphraseKey(passphrase, parameters),
    bytes.subarray(0, NONCE_BYTES),
    {
      authTagLength: TAG_BYTES,
    },
  );
  decipher.setAAD(Buffer.from(fingerprint, 'hex'));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
}

/** Passphrases that look alike are the same (NFC), whatever keyboard they were typed on. */
async function passphraseKey(passphrase: string, { n, r, p, salt }: ScryptParameters): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    const cost = { N: n, r, p, maxmem: 2 * MAX_SCRYPT_BYTES };
    scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, cost, (error, key) => (error ? reject(error) : resolve(key)));
  });
}
