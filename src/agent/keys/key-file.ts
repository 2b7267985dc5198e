// The key file: a data key, under a passphrase or for this user's eyes alone. Its public members are sealed with the key, so that nobody
// without it can put another recovery key there. docs/format.md, section 10.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Static, Type } from 'typebox';
import { type DataKey, deriveDataKey, KEY_BYTES } from '../../chunker/data-key.ts';
import { keyedHash } from '../../chunker/object-id.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { isSaneScrypt, newScryptParameters, SALT_BYTES, unwrapSecret, WRAPPED_BYTES, wrapSecret } from './key-wrap.ts';

const SEAL_DOMAIN = 'holdfast key file v1\0';
const Hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Time = Type.String({ maxLength: 32 });
const Base64 = Type.String({ pattern: '^[A-Za-z0-9+/]+={0,2}$', maxLength: 256 });
const Count = Type.Integer({ minimum: 1, maximum: 2 ** 31 });

export const MAX_HINT_LENGTH = 1000;

export const KeyFile = Type.Object({
  format: Type.Literal('holdfast-key-1'),
  fingerprint: Hex32,
  created: Time,
  modified: Time,
  hint: Type.String({ maxLength: MAX_HINT_LENGTH }),
  /** Null: the secret lies in the file as it is. */
  kdf: Type.Union([
    Type.Object({ name: Type.Literal('scrypt'), n: Count, r: Count, p: Count, salt: Base64 }),
    Type.Null(),
  ]),
  secret: Base64,
  recovery: Type.Union([Type.String({ maxLength: 8192 }), Type.Null()]),
  /** When somebody accepted that a lost key is a lost backup. */
  acknowledged: Type.Union([Time, Type.Null()]),
  seal: Hex32,
});
export type KeyFile = Static<typeof KeyFile>;

/** What the key does not decide. `recovery` is a public key in PEM, `now` the time to write down. */
export interface KeyFileFields {
  readonly hint: string;
  readonly recovery: string | null;
  readonly acknowledged: string | null;
  readonly created: string;
  readonly modified: string;
}

/** A new data key. */
export function newDataKey(): DataKey {
  return deriveDataKey(randomBytes(KEY_BYTES));
}

/** The file's text for a key; without a passphrase (undefined) whoever reads the file has the key. */
export async function encodeKeyFile(
  key: DataKey,
  passphrase: string | undefined,
  fields: KeyFileFields,
  cost?: { n: number; r: number; p: number },
): Promise<string> {
  if (passphrase === undefined) {
    const secret = Buffer.from(key.secret).toString('base64');
    return print(key, { ...fields, kdf: null, secret });
  }
  const parameters = newScryptParameters(cost);
  const wrapped = await wrapSecret(key.secret, passphrase, parameters, key.fingerprint);
  const { n, r, p, salt } = parameters;
  const kdf = { name: 'scrypt' as const, n, r, p, salt: Buffer.from(salt).toString('base64') };
  return print(key, { ...fields, kdf, secret: wrapped.toString('base64') });
}

/** The file's text with other fields, its secret as it was. */
export function changeKeyFile(key: DataKey, file: KeyFile, change: Partial<KeyFileFields>): string {
  return print(key, { ...file, ...change });
}

/** Reads a key file without opening it. @throws `not-found`, `key-damaged`. */
export async function readKeyFile(path: string): Promise<KeyFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new HoldfastError('not-found', `the key file ${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return parseKeyFile(path, text);
}

/** @throws `key-damaged` for what is no key file, and for one that asks for more memory than any. */
export function parseKeyFile(path: string, text: string): KeyFile {
  let file: KeyFile;
  try {
    file = parseJson(text, KeyFile);
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw damaged(path, error.message);
  }
  const bytes = Buffer.from(file.secret, 'base64').length;
  if (bytes !== (file.kdf === null ? KEY_BYTES : WRAPPED_BYTES)) throw damaged(path, `its secret has ${bytes} bytes`);
  if (file.kdf !== null && (!isSaneScrypt(file.kdf) || Buffer.from(file.kdf.salt, 'base64').length !== SALT_BYTES))
    throw damaged(path, 'its member kdf cannot be meant');
  return file;
}

/**
 * The data key in a file. `passphrase` is asked for only when there is one.
 * @throws `passphrase-wrong`, `key-damaged` when the secret is not that of the fingerprint or other members were changed.
 */
export async function openKeyFile(path: string, file: KeyFile, passphrase: () => Promise<string>): Promise<DataKey> {
  const key = deriveDataKey(await secretOf(path, file, passphrase));
  if (key.fingerprint !== file.fingerprint) throw damaged(path, 'its secret is not that of its fingerprint');
  if (sealOf(key, file) !== file.seal)
    throw damaged(path, 'its seal does not hold: somebody changed it without the key');
  return key;
}

async function secretOf(path: string, file: KeyFile, passphrase: () => Promise<string>): Promise<Buffer> {
  const stored = Buffer.from(file.secret, 'base64');
  if (file.kdf === null) return stored;
  const parameters = { ...file.kdf, salt: Buffer.from(file.kdf.salt, 'base64') };
  const secret = await unwrapSecret(stored, await passphrase(), parameters, file.fingerprint);
  if (secret !== undefined) return secret;
  const hint = file.hint === '' ? '' : ` Its hint: ${file.hint}`;
  throw new HoldfastError(
    'passphrase-wrong',
    `the passphrase does not open the key file ${path}; try again, or use another copy of the file.${hint}`,
  );
}

function print(key: DataKey, fields: Omit<KeyFile, 'format' | 'fingerprint' | 'seal'>): string {
  const { created, modified, hint, kdf, secret, recovery, acknowledged } = fields;
  const rest = { created, modified, hint, kdf, secret, recovery, acknowledged };
  const file = { format: 'holdfast-key-1' as const, fingerprint: key.fingerprint, ...rest };
  return `${JSON.stringify({ ...file, seal: sealOf(key, file) } satisfies KeyFile, undefined, 1)}\n`;
}

function sealOf(key: DataKey, file: Omit<KeyFile, 'seal'>): string {
  const bytes = Buffer.from(SEAL_DOMAIN + canonicalJson({ ...file, seal: undefined }));
  return keyedHash(key.signatureKey, bytes).toString('hex');
}

function damaged(path: string, why: string): HoldfastError {
  return new HoldfastError(
    'key-damaged',
    `${path} is no key file, or is damaged (${why}); use another copy of it, or: holdfast key recover`,
    { data: { path } },
  );
}
