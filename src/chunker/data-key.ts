// The client's data key and everything that is derived from it: one secret of 32 bytes, one subkey per purpose. docs/format.md, section 2.
import { keyedHash } from './object-id.ts';

/** Bytes of a data key, and of each subkey. */
export const KEY_BYTES = 32;

/** What a thread needs to read and write encrypted objects. Never logged, printed or stored in a datastore. */
export interface DataKey {
  /** 64 lower-case hex digits; public: manifests and the `spaces` file name a key by it. */
  readonly fingerprint: string;
  /** The secret that the rest is derived from. */
  readonly secret: Uint8Array;
  /** Under it the id keys of all kinds are made. */
  readonly idKey: Uint8Array;
  /** AES-256-GCM. */
  readonly encryptionKey: Uint8Array;
  /** Signs the client's part of manifests. */
  readonly signatureKey: Uint8Array;
  /** 32 hex digits: where encrypted snapshots are cut, which tells nobody what was cut. */
  readonly cutSeed: string;
}

/** @throws RangeError when the secret has not 32 bytes: a bug, for key files are checked when they are read. */
export function deriveDataKey(secret: Uint8Array): DataKey {
  if (secret.length !== KEY_BYTES) throw new RangeError(`a data key has ${KEY_BYTES} bytes, not ${secret.length}`);
  const derive = (purpose: string): Buffer =>
    keyedHash(secret, Buffer.from(`holdfast data key v1\0${purpose}`, 'latin1'));
  return {
    fingerprint: derive('fingerprint').toString('hex'),
    secret: Buffer.from(secret),
    idKey: derive('id'),
    encryptionKey: derive('encryption'),
    signatureKey: derive('signature'),
    cutSeed: derive('cut').subarray(0, 16).toString('hex'),
  };
}
