// The recovery key: RSA, its public half in key files and its private half in a safe. Each snapshot carries the data key under it, so that
// a datastore and the private half restore everything when key file and passphrase are lost.
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto';
import { promisify } from 'node:util';
import { type DataKey, deriveDataKey, KEY_BYTES } from '../../chunker/data-key.ts';
import { hexHash } from '../../chunker/object-id.ts';
import type { ClientPart, RecoveryRecord } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';

const MODULUS_BITS = 4096;
/** Below it, RSA is not expected to hold for as long as backups are kept (NIST SP 800-57). */
const MIN_MODULUS_BITS = 3072;
const MAX_MODULUS_BITS = 16_384;
const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' } as const;

/** A new pair in PEM: SPKI, and PKCS #8 under the passphrase. Takes some seconds of a processor. */
export async function createRecoveryPair(passphrase: string): Promise<{ publicPem: string; privatePem: string }> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: MODULUS_BITS,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase },
  });
  return { publicPem: publicKey, privatePem: privateKey };
}

/** A public key as key files hold it. A private one is refused: it belongs into a safe. @throws `key-damaged`. */
export function parseRecoveryPublic(path: string, pem: string): { pem: string; fingerprint: string } {
  if (/PRIVATE KEY/.test(pem)) throw damaged(path, 'it holds a private key; give the public one');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (error) {
    throw damaged(path, (error as Error).message);
  }
  requireStrength(path, key);
  return { pem: key.export({ type: 'spki', format: 'pem' }) as string, fingerprint: publicFingerprint(key) };
}

/** Whether a passphrase is needed to open a private key. */
export function isProtectedPem(pem: string): boolean {
  return /ENCRYPTED/.test(pem);
}

/** @throws `passphrase-wrong`, `key-damaged`. */
export function openRecoveryPrivate(path: string, pem: string, passphrase: string | undefined): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (error) {
    // A wrong passphrase shows as bad padding, or as what is no key below it.
    if (isProtectedPem(pem) && /PRIVATE KEY-----\s*$/.test(pem))
      throw new HoldfastError('passphrase-wrong', `the passphrase does not open the recovery key ${path}; try again`, {
        cause: error,
      });
    throw damaged(path, (error as Error).message);
  }
  requireStrength(path, key);
  return key;
}

/** The data key for the recovery key, to be written into a snapshot. RSA-OAEP, SHA-256. */
export function wrapForRecovery(publicPem: string, key: DataKey): RecoveryRecord {
  const publicKey = createPublicKey(publicPem);
  const wrapped = publicEncrypt({ key: publicKey, ...OAEP }, key.secret);
  return { fingerprint: publicFingerprint(publicKey), wrappedKey: wrapped.toString('base64') };
}

/**
 * The data key of a snapshot by the recovery key. `label` names the snapshot in messages.
 * @throws `not-found` for a snapshot without a key or without a wrapped one, `key-wrong` for another recovery key, `manifest-altered`.
 */
export function recoverDataKey(label: string, client: ClientPart, privateKey: KeyObject): DataKey {
  const { key, recovery } = client;
  if (key === null) throw new HoldfastError('not-found', `${label} is not encrypted: it needs no key`);
  if (recovery === undefined)
    throw new HoldfastError(
      'not-found',
      `${label} was made without a recovery key; try a later snapshot, or a printable copy`,
    );
  const fingerprint = publicFingerprint(createPublicKey(privateKey));
  if (fingerprint !== recovery.fingerprint)
    throw new HoldfastError(
      'key-wrong',
      `${label} was made for the recovery key ${recovery.fingerprint}, and this is ${fingerprint}; use that one`,
    );
  let secret: Buffer;
  try {
    secret = privateDecrypt({ key: privateKey, ...OAEP }, Buffer.from(recovery.wrappedKey, 'base64'));
  } catch (error) {
    throw notWrapped(label, error);
  }
  const found = secret.length === KEY_BYTES ? deriveDataKey(secret) : undefined;
  if (found?.fingerprint !== key) throw notWrapped(label, undefined);
  return found;
}

/** Names a public key: B3 of its SPKI in DER. */
export function publicFingerprint(key: KeyObject): string {
  return hexHash(key.export({ type: 'spki', format: 'der' }));
}

function requireStrength(path: string, key: KeyObject): void {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType === 'rsa' && bits >= MIN_MODULUS_BITS && bits <= MAX_MODULUS_BITS) return;
  throw damaged(
    path,
    `it is ${key.asymmetricKeyType} with ${bits} bits; a recovery key is RSA with ${MIN_MODULUS_BITS} to ${MAX_MODULUS_BITS}`,
  );
}

function notWrapped(label: string, cause: unknown): HoldfastError {
  return new HoldfastError(
    'manifest-altered',
    `the key in the manifest of ${label} is not the one that encrypts it: the manifest was changed; try another snapshot of the group`,
    { cause },
  );
}

function damaged(path: string, why: string): HoldfastError {
  return new HoldfastError(
    'key-damaged',
    `${path} is no key that recovers (${why}); make one with: holdfast key create-recovery PRIVATE.pem PUBLIC.pem`,
    { data: { path } },
  );
}
