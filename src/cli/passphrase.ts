// Where passphrases come from: a file, the environment, the terminal; never an argument, which other users can see.
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '../util/errors.ts';
import { openTerminal, type Terminal } from './ask-terminal.ts';

/** A new passphrase has at least so many characters; the work of scrypt makes up for some, not for fewer. */
export const MIN_PASSPHRASE_LENGTH = 8;
const MAX_PASSPHRASE_FILE_BYTES = 4096;

/** Where to look for one passphrase. `what` names in questions what it opens. */
export interface PassphraseSource {
  readonly what: string;
  /** The value of `option`, when it was given. */
  readonly file: string | undefined;
  readonly option: string;
  readonly variable: string;
}

export function keyPassphrase(file: string | undefined, what: string): PassphraseSource {
  return { what, file, option: '--passphrase-file', variable: 'HOLDFAST_KEY_PASSPHRASE' };
}

export function recoveryPassphrase(file: string | undefined, what: string): PassphraseSource {
  return { what, file, option: '--recovery-passphrase-file', variable: 'HOLDFAST_RECOVERY_PASSPHRASE' };
}

/** The passphrase of something that is there. @throws `key-missing` when nothing gives one, `not-found` without the file. */
export async function existingPassphrase(
  source: PassphraseSource,
  open: () => Terminal | undefined = openTerminal,
): Promise<string> {
  return (
    (await givenPassphrase(source)) ??
    (await ask(source, async (question) => await question(`Passphrase of ${source.what}: `), open))
  );
}

/** A passphrase for something new: on a terminal it is typed twice. @throws `bad-argument` when it is too short. */
export async function newPassphrase(source: PassphraseSource): Promise<string> {
  const given = await givenPassphrase(source);
  if (given !== undefined) return longEnough(given);
  return await ask(source, async (question) => {
    const first = longEnough(await question(`New passphrase for ${source.what}: `));
    if ((await question('The same again: ')) === first) return first;
    throw new HoldfastError('bad-argument', 'the two passphrases differ; nothing was written, try again');
  });
}

async function givenPassphrase({ file, option, variable }: PassphraseSource): Promise<string | undefined> {
  if (file !== undefined) return await fromFile(file, option);
  const value = process.env[variable];
  return value === undefined || value === '' ? undefined : value;
}

/** The first line of the file: editors put an end of line there. */
async function fromFile(path: string, option: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new HoldfastError('not-found', `${option} ${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const line = text.replace(/\r?\n$/, '');
  if (line === '' || /[\r\n]/.test(line) || Buffer.byteLength(line) > MAX_PASSPHRASE_FILE_BYTES)
    throw new HoldfastError(
      'bad-argument',
      `${option} ${path} must hold one line, the passphrase, of at most ${MAX_PASSPHRASE_FILE_BYTES} bytes`,
    );
  return line;
}

async function ask(
  source: PassphraseSource,
  use: (question: (text: string) => Promise<string>) => Promise<string>,
  open: () => Terminal | undefined = openTerminal,
): Promise<string> {
  const terminal = open();
  if (terminal === undefined)
    throw new HoldfastError(
      'key-missing',
      `${source.what} needs a passphrase, and there is no terminal to ask on: give ${source.option} FILE or set ${source.variable}`,
    );
  try {
    return await use(async (text) => await terminal.ask(text, true));
  } finally {
    terminal.close();
  }
}

function longEnough(passphrase: string): string {
  if ([...passphrase].length >= MIN_PASSPHRASE_LENGTH) return passphrase;
  throw new HoldfastError(
    'bad-argument',
    `a passphrase has at least ${MIN_PASSPHRASE_LENGTH} characters; four words that do not belong together are better`,
  );
}
