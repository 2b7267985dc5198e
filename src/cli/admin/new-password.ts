// Where a new password of a user comes from: a file, standard input, the terminal; never an argument, which other users can see.
import { HoldfastError } from '../../util/errors.ts';
import { openTerminal } from '../ask-terminal.ts';
import { oneLine } from './one-line.ts';

export const PASSWORD_FILE_OPTION = [
  '--password-file <FILE>',
  'its one line is the password; - for standard input. Without it the terminal asks',
] as const;

/** @throws `bad-argument` when there is no terminal, when the two answers differ, or when the file has not one line; `not-found` without it. */
export async function newPassword(user: string, file: string | undefined): Promise<string> {
  if (file !== undefined) return await oneLine('--password-file', 'the password', file);
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
