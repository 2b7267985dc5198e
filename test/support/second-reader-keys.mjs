// Second reader, sections 2, 3, 9 and 10: hashes, canonical JSON, and what a data key is for: opening key files, decrypting
// payloads, checking the signature of manifests. Written from docs/format.md alone, as second-reader.mjs says.
import { createDecipheriv, scryptSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Blake3Hasher } from '@napi-rs/blake-hash';

const LABEL_TOLERANCE_SECONDS = 600;

/** The store is not what the document says. */
export class FormatError extends Error {}
export const check = (condition, message) => {
  if (!condition) throw new FormatError(typeof message === 'function' ? message() : message);
};
/** The result of an action, or what `otherwise` makes of a FormatError. */
export const attempt = (action, otherwise = () => undefined) => {
  try {
    return action();
  } catch (error) {
    if (error instanceof FormatError) return otherwise(error);
    throw error;
  }
};

const digest = (hasher, parts) => parts.reduce((so, part) => so.update(part), hasher).digestBuffer();
export const b3 = (...parts) => digest(new Blake3Hasher(), parts);
export const keyedB3 = (key, ...parts) => digest(Blake3Hasher.newKeyed(key), parts);
export const little = (size, value) => Buffer.from(Array.from({ length: size }, (_, n) => Math.floor(value / 256 ** n) % 256));

export function canonicalJson(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`).join()}}`;
}

const kinds = (keyOf) => Array.from({ length: 256 }, (_, kind) => keyOf(Buffer.of(kind)));
/** The id keys of space plain, by kind. */
export const PLAIN_ID_KEYS = kinds((kind) => b3(Buffer.from('holdfast object id v1\0plain\0'), kind));

/** What is derived from the secret of a data key. */
function deriveKey(secret) {
  const subkey = (purpose) => keyedB3(secret, Buffer.from(`holdfast data key v1\0${purpose}`));
  const idKey = subkey('id');
  return {
    fingerprint: subkey('fingerprint').toString('hex'),
    idKeys: kinds((kind) => keyedB3(idKey, Buffer.from('holdfast object id v1\0'), kind)),
    encryption: subkey('encryption'),
    signature: subkey('signature'),
  };
}

/** Undefined when the tag does not hold. `sealed` is nonce ‖ ciphertext ‖ tag. */
function decrypt(key, sealed, associated) {
  if (sealed.length < 28) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 });
  decipher.setAAD(associated).setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    return undefined; // the caller says of what
  }
}

/** The key in a key file; `passphrase` is used when it has one. */
export function openKeyFile(path, passphrase = '') {
  const { seal, ...file } = JSON.parse(readFileSync(path, 'utf8'));
  check(file.format === 'holdfast-key-1', `${path} is no key file that can be read`);
  let secret = Buffer.from(file.secret, 'base64');
  if (file.kdf !== null) {
    const { name, n, r, p, salt } = file.kdf;
    const sane = name === 'scrypt' && n >= 2 && Math.log2(n) % 1 === 0 && p <= 16 && 128 * n * r <= 2 ** 30;
    check(sane, `${path}: its kdf cannot be meant`);
    const cost = { N: n, r, p, maxmem: 2 ** 31 };
    const wrapping = scryptSync(passphrase.normalize('NFC'), Buffer.from(salt, 'base64'), 32, cost);
    secret = decrypt(wrapping, secret, Buffer.from(file.fingerprint, 'hex'));
    check(secret, `${path}: the passphrase is wrong, or the secret was altered`);
  }
  check(secret.length === 32, `${path}: its secret has not 32 bytes`);
  const key = deriveKey(secret);
  check(key.fingerprint === file.fingerprint, `${path}: its secret is not that of its fingerprint`);
  const expected = keyedB3(key.signature, Buffer.from(`holdfast key file v1\0${canonicalJson(file)}`));
  check(expected.toString('hex') === seal, `${path}: its seal does not hold`);
  return key;
}

/** The payload of an encrypted record as its codec says, and its plain length. */
export function decryptPayload({ id, associated, stored }, key) {
  const plain = decrypt(key.encryption, stored, associated);
  check(plain?.length >= 4, () => `object ${id} was altered, or encrypted with another key`);
  return { rawLength: plain.readUInt32LE(0), packed: plain.subarray(4) };
}

/** Checks that a manifest may be read with a key: that it is the client's own, of this group, of its time. */
export function checkSignature({ client, server }, group, key) {
  check(key !== undefined, `the snapshot is encrypted with the key ${client.key}, and no --keyfile was given`);
  check(client.key === key.fingerprint, `the snapshot is encrypted with the key ${client.key}, not with ${key.fingerprint}`);
  const { signature, ...signed } = client;
  const expected = keyedB3(key.signature, Buffer.from(`holdfast manifest v1\0${canonicalJson(signed)}`));
  check(expected.toString('hex') === signature, 'the signature of the manifest does not hold');
  check(client.backup === group, `the manifest is that of a snapshot of ${client.backup}`);
  const madeAt = client.askedTime ?? Date.parse(client.clientTime) / 1000;
  check(Math.abs(server.time - madeAt) <= LABEL_TOLERANCE_SECONDS, 'the label of the snapshot is not of its time');
}
