// A new key for time-based codes: shown once on the terminal, or taken from a file, and confirmed with a code that fits.
import { newTotpUri, secretOfTotpUri, totpUriOf } from '../../auth/totp.ts';
import type { UserId } from '../../schema/auth-id.ts';
import { HoldfastError } from '../../util/errors.ts';
import { openTerminal, type Terminal } from '../ask-terminal.ts';
import type { Administration } from './administration.ts';
import { oneLine } from './one-line.ts';

export interface TotpOptions {
  readonly description?: string;
  readonly secretFile?: string;
  readonly code?: string;
}

/** A code is typed from another screen; after so many that do not fit it is the clock. */
const MAX_CODES_ASKED = 3;

/** Returns the id. @throws `bad-argument` without a terminal or with a code that does not fit, `aborted` after Ctrl-C. */
export async function addTotp(
  administration: Administration,
  user: UserId,
  { description = '', secretFile, code }: TotpOptions,
): Promise<string> {
  if (code !== undefined && secretFile === undefined)
    throw new HoldfastError(
      'bad-argument',
      '--code is a code of a key that is there already: give the key with --secret-file FILE (- for standard input), or leave --code away and be asked on a terminal',
    );
  const issuer = `Holdfast ${administration.host}`;
  const given = secretFile === undefined ? undefined : await oneLine('--secret-file', 'the key', secretFile);
  const uri = given === undefined ? newTotpUri(user, issuer) : totpUriOf(given, user, issuer);
  await administration.checkTfaUser(user);
  if (code !== undefined) return await administration.addTotp(user, { uri, code: code.trim(), description });
  const terminal = openTerminal();
  if (terminal === undefined)
    throw new HoldfastError(
      'bad-argument',
      'a code of the authenticator is needed, and there is no terminal to ask on: give the key with --secret-file FILE (otpauth://totp/… or base32) and a code of it with --code',
    );
  try {
    if (given === undefined) show(terminal, uri);
    return await askedCode(
      terminal,
      async (asked) => await administration.addTotp(user, { uri, code: asked, description }),
    );
  } finally {
    terminal.close();
  }
}

/** On the terminal, not in the result: that may go into a file. */
function show(terminal: Terminal, uri: string): void {
  terminal.say('Put this key into the authenticator; it is not shown again:');
  terminal.say(`  ${uri}`);
  terminal.say(`  secret ${(secretOfTotpUri(uri).match(/.{1,4}/g) as string[]).join(' ')}`);
}

async function askedCode(terminal: Terminal, add: (code: string) => Promise<string>): Promise<string> {
  for (let asked = 1; ; asked++) {
    const code = (await terminal.ask('The code that it shows: ', false)).trim();
    try {
      return await add(code);
    } catch (error) {
      const isWrong = error instanceof HoldfastError && error.data.wrong === 'code';
      if (!isWrong || asked >= MAX_CODES_ASKED) throw error;
      terminal.say(error.message);
    }
  }
}
