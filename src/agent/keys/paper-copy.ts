// The printable copy of a key: numbered lines of Crockford's base32, each with a checksum, so that a typing error is named by its line.
// What is in it is protected as the key file is: by the passphrase, or by nothing. docs/format.md, section 9.
import { type DataKey, deriveDataKey, KEY_BYTES } from '../../chunker/data-key.ts';
import { shortHash } from '../../chunker/object-id.ts';
import { HoldfastError } from '../../util/errors.ts';
import { decodeBase32, encodeBase32 } from './base32.ts';
import type { KeyFile } from './key-file.ts';
import { isSaneScrypt, SALT_BYTES, unwrapSecret, WRAPPED_BYTES } from './key-wrap.ts';

const VERSION = 1;
const HEADER_BYTES = 2;
const Protection = { none: 0, scrypt: 1 } as const;
/** log2 n, r, p in a byte each. */
const COST_BYTES = 3;
/** Of each line, 24 characters in 6 groups, and one group that checks number and bytes (20 bits). */
const LINE_BYTES = 15;
const GROUP = 4;
const PLAIN_BYTES = HEADER_BYTES + KEY_BYTES;
const PROTECTED_BYTES = HEADER_BYTES + COST_BYTES + SALT_BYTES + KEY_BYTES + WRAPPED_BYTES;

/** The text to print. */
export function paperCopy(file: KeyFile): string {
  const protection =
    file.kdf === null
      ? ['THIS COPY IS NOT PROTECTED: whoever reads it can read the backups. Keep it in a safe.']
      : [
          'It is protected by the passphrase of the key file, which is needed too.',
          ...(file.hint === '' ? [] : [`Hint: ${file.hint.replace(/\s+/g, ' ')}`]),
        ];
  const bytes = payload(file);
  const lines = Array.from({ length: Math.ceil(bytes.length / LINE_BYTES) }, (_, at) =>
    line(at + 1, bytes.subarray(at * LINE_BYTES, (at + 1) * LINE_BYTES)),
  );
  return [
    'HOLDFAST KEY, printable copy, version 1',
    '',
    `Fingerprint: ${file.fingerprint}`,
    `Created: ${file.created}`,
    '',
    'Without this key, backups made with it cannot be read by anybody.',
    ...protection,
    '',
    'To use it, type the numbered lines into a text file, one a line, and run:',
    '  holdfast key recover --paper FILE NEW-KEY-FILE',
    'Upper and lower case are the same, and spaces do not matter. Zero and O are the same, and so are one, I and L.',
    '',
    ...lines,
    '',
  ].join('\n');
}

/** What the numbered lines say. `passphrase` is asked for only when the copy has one. @throws `key-damaged` that names the line, `passphrase-wrong`. */
export async function readPaperCopy(path: string, text: string, passphrase: () => Promise<string>): Promise<DataKey> {
  const bytes = joinLines(path, text);
  if (bytes[1] === Protection.none) return deriveDataKey(bytes.subarray(HEADER_BYTES));
  let at = HEADER_BYTES;
  const take = (length: number): Buffer => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  const [logN = 0, r = 0, p = 0] = take(COST_BYTES);
  const parameters = { n: 2 ** logN, r, p, salt: take(SALT_BYTES) };
  if (!isSaneScrypt(parameters)) throw damaged(path, 'its first line holds parameters that cannot be meant');
  const fingerprint = take(KEY_BYTES).toString('hex');
  const secret = await unwrapSecret(take(WRAPPED_BYTES), await passphrase(), parameters, fingerprint);
  if (secret === undefined)
    throw new HoldfastError(
      'passphrase-wrong',
      `the passphrase does not open the printable copy ${path}; it is that of the key file when it was printed`,
    );
  const key = deriveDataKey(secret);
  if (key.fingerprint !== fingerprint) throw damaged(path, 'its secret is not that of its fingerprint');
  return key;
}

function payload(file: KeyFile): Buffer {
  const secret = Buffer.from(file.secret, 'base64');
  if (file.kdf === null) return Buffer.concat([Buffer.of(VERSION, Protection.none), secret]);
  const { n, r, p, salt } = file.kdf;
  const head = Buffer.of(VERSION, Protection.scrypt, Math.log2(n), r, p);
  return Buffer.concat([head, Buffer.from(salt, 'base64'), Buffer.from(file.fingerprint, 'hex'), secret]);
}

function line(number: number, bytes: Uint8Array): string {
  const groups = encodeBase32(bytes).match(new RegExp(`.{1,${GROUP}}`, 'g')) as string[];
  return `${String(number).padStart(2, '0')}  ${groups.join(' ')}  ${checkOf(number, bytes)}`;
}

function checkOf(number: number, bytes: Uint8Array): string {
  return encodeBase32(shortHash(Buffer.concat([Buffer.of(number), bytes]))).slice(0, GROUP);
}

/** The numbered lines in any order, put together; other text is instructions. */
function joinLines(path: string, text: string): Buffer {
  const found = new Map<number, Buffer>();
  for (const row of text.split(/\r\n|\n|\r/)) {
    const [, digits, rest] = /^\s*(\d{1,2})[\s.:)](.*)$/.exec(row) ?? [];
    if (digits === undefined) continue;
    const number = Number(digits);
    const bytes = lineBytes(path, number, rest as string);
    if (found.has(number)) throw damaged(path, `line ${number} is there twice`);
    found.set(number, bytes);
  }
  const first = found.get(1);
  if (first === undefined) throw damaged(path, 'line 1 is missing');
  if (first[0] !== VERSION || (first[1] as number) > Protection.scrypt)
    throw damaged(path, 'line 1 is of a version that this program does not know');
  const wanted = first[1] === Protection.none ? PLAIN_BYTES : PROTECTED_BYTES;
  const lines = Array.from({ length: Math.ceil(wanted / LINE_BYTES) }, (_, at) => {
    const bytes = found.get(at + 1);
    if (bytes === undefined) throw damaged(path, `line ${at + 1} is missing`);
    if (bytes.length !== Math.min(LINE_BYTES, wanted - at * LINE_BYTES))
      throw damaged(path, `line ${at + 1} has another length`);
    return bytes;
  });
  if (found.size > lines.length) throw damaged(path, `it has more than the ${lines.length} lines of such a copy`);
  return Buffer.concat(lines);
}

function lineBytes(path: string, number: number, text: string): Buffer {
  const characters = text.replace(/[\s-]/g, '');
  const bytes = decodeBase32(characters.slice(0, -GROUP));
  const isGood = bytes !== undefined && checkOf(number, bytes) === normal(characters.slice(-GROUP));
  if (!isGood)
    throw damaged(path, `line ${number} has a typing error: compare it with the paper, character by character`);
  return bytes;
}

function normal(text: string): string {
  return text.toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1');
}

function damaged(path: string, why: string): HoldfastError {
  return new HoldfastError('key-damaged', `${path} is no whole printable copy: ${why}`, { data: { path } });
}
