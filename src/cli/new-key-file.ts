// What the commands that write key files share: their options, the writing of a new one, and how one is shown.
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import {
  encodeKeyFile,
  type KeyFile,
  type KeyFileFields,
  MAX_HINT_LENGTH,
  readKeyFile,
} from '../agent/keys/key-file.ts';
import { createPrivateFile } from '../agent/keys/private-file.ts';
import { parseRecoveryPublic } from '../agent/keys/recovery-key.ts';
import type { DataKey } from '../chunker/data-key.ts';
import { HoldfastError } from '../util/errors.ts';
import { pairs, print } from './output.ts';
import { keyPassphrase, newPassphrase } from './passphrase.ts';
import type { CommonOptions } from './repository.ts';

export interface NewKeyOptions extends CommonOptions {
  readonly kdf: 'scrypt' | 'none';
  readonly hint?: string;
  readonly passphraseFile?: string;
}

/** Options of all commands that make a key file. */
export function addNewKeyOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--kdf <KDF>', 'passphrase with scrypt, or none for hosts that nobody attends')
        .choices(['scrypt', 'none'])
        .default('scrypt'),
    )
    .option('--hint <TEXT>', 'a hint at the passphrase; everybody who has the file can read it')
    .option(
      '--passphrase-file <FILE>',
      'file with the passphrase (or set HOLDFAST_KEY_PASSPHRASE; else it is asked for)',
    );
}

/** Writes a key to a new file and prints what it is. */
export async function writeNewKey(
  path: string,
  key: DataKey,
  recovery: string | null,
  options: NewKeyOptions,
): Promise<void> {
  const now = new Date().toISOString();
  const fields: KeyFileFields = {
    hint: hintOf(options) ?? '',
    recovery,
    acknowledged: null,
    created: now,
    modified: now,
  };
  const source = keyPassphrase(options.passphraseFile, `the key file ${path}`);
  const passphrase = options.kdf === 'none' ? undefined : await newPassphrase(source);
  await createPrivateFile(path, await encodeKeyFile(key, passphrase, fields), 'key file');
  await printKeyFile(path, options);
}

/** Prints what a key file is, never its secret. */
export async function printKeyFile(path: string, { outputFormat }: CommonOptions): Promise<void> {
  print(outputFormat, describe(path, await readKeyFile(path)), text);
}

/** @throws `not-found`. */
export async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path === '-' ? '/dev/stdin' : path, 'utf8');
  } catch (error) {
    throw new HoldfastError('not-found', `the ${what} ${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

interface Shown {
  readonly path: string;
  readonly fingerprint: string;
  readonly kdf: { readonly name: string; readonly n: number; readonly r: number; readonly p: number } | null;
  readonly created: string;
  readonly modified: string;
  readonly hint: string;
  readonly recovery: string | null;
  readonly acknowledged: string | null;
}

function describe(path: string, file: KeyFile): Shown {
  const { fingerprint, kdf, created, modified, hint, recovery, acknowledged } = file;
  return {
    path,
    fingerprint,
    kdf: kdf === null ? null : { name: kdf.name, n: kdf.n, r: kdf.r, p: kdf.p },
    created,
    modified,
    hint,
    recovery: recovery === null ? null : parseRecoveryPublic(path, recovery).fingerprint,
    acknowledged,
  };
}

function text({ path, fingerprint, kdf, created, modified, hint, recovery, acknowledged }: Shown): string {
  return pairs([
    ['key file', path],
    ['fingerprint', fingerprint],
    [
      'passphrase',
      kdf === null ? 'none: who can read the file has the key' : `${kdf.name}, n ${kdf.n}, r ${kdf.r}, p ${kdf.p}`,
    ],
    ['created', created],
    ['modified', modified],
    ['hint', hint === '' ? 'none' : hint],
    ['recovery key', recovery ?? 'none: if key file and passphrase are lost, all backups made with them are lost'],
    ['acknowledged', acknowledged ?? 'not yet'],
  ]);
}

/** @throws `bad-argument`. */
export function hintOf({ hint }: NewKeyOptions): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a hint is one line of text
  if (hint === undefined || (hint.length <= MAX_HINT_LENGTH && !/[\x00-\x1f\x7f]/.test(hint))) return hint;
  throw new HoldfastError('bad-argument', `--hint takes one line of at most ${MAX_HINT_LENGTH} characters`);
}
