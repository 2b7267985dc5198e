// Where a new password of a user comes from: a file, standard input, the terminal; never an argument, which other users can see.
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '../../util/errors.ts';
import { openTerminal } from '../ask-terminal.ts';

const MAX_FILE_BYTES = 4096;

export const PASSWORD_FILE_OPTION = [
  '--password-file <FILE>',
  'its one line is the password; - for standard input. Without it the terminal asks',
] as const;

/** @throws `bad-argument` when there is no terminal, when the two answers differ, or when the file has not one line; `not-found` without it. */
export async function newPassword(user: string, file: string | undefined): Promise<string> {
  if (file !== undefined) return oneLine(await textOf(file), file);
  const terminal = openTerminal();
  if (terminal === undefined)
    throw new HoldfastError(
      'bad-argument',
      `the password of ${user} is needed, and there is no terminal to ask on: give --password-file FILE, or - for standard input`,
    );
  try {
    const first = await terminal.ask(`New password of ${user}: `, true);
    if ((await terminal.ask('The same again: ', true)) === first) return first;
    throw new HoldfastError('bad-argument', 'the two passwords differ; nothing was changed, try again');
  } finally {
    terminal.close();
  }
}

async function textOf(file: string): Promise<string> {
  if (file === '-') return await standardInput();
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new HoldfastError('not-found', `--password-file ${file} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function standardInput(): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of process.stdin) {
    parts.push(part as Buffer);
    length += (part as Buffer).length;
    // What follows is refused for its length.
    if (length > MAX_FILE_BYTES) break;
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Editors and `echo` put an end of line there. */
function oneLine(text: string, file: string): string {
  const line = text.replace(/\r?\n$/, '');
  if (line !== '' && !/[\r\n]/.test(line) && Buffer.byteLength(line) <= MAX_FILE_BYTES) return line;
  const from = file === '-' ? 'standard input' : file;
  throw new HoldfastError(
    'bad-argument',
    `${from} must hold one line, the password, of at most ${MAX_FILE_BYTES} bytes`,
  );
}
