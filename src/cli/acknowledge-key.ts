// The first backup with a key that nothing recovers: somebody has to know that a lost key is a lost backup. Noted in the key file.
import { changeKeyFile } from '../agent/keys/key-file.ts';
import { replacePrivateFile } from '../agent/keys/private-file.ts';
import { HoldfastError } from '../util/errors.ts';
import type { Terminal } from './ask-terminal.ts';
import type { OpenedKey } from './client-key.ts';
import type { Surroundings } from './surroundings.ts';

const YES = 'yes';

/**
 * Returns when the key has a recovery key, or when the loss is accepted: in the file, by `accepted` (--acknowledge-lost-key), or on the terminal.
 * @throws `key-unacknowledged`.
 */
export async function requireAcknowledged(
  opened: OpenedKey,
  accepted: boolean,
  { warn, openTerminal }: Pick<Surroundings, 'warn' | 'openTerminal'>,
): Promise<void> {
  const { path, file } = opened;
  if (file.acknowledged !== null || (file.recovery !== null && !accepted)) return;
  if (!accepted) await askOnTerminal(path, openTerminal());
  const now = new Date().toISOString();
  try {
    await replacePrivateFile(path, changeKeyFile(opened.key, file, { acknowledged: now, modified: now }), 'key file');
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    warn(`${error.message}; the next backup asks again`);
  }
}

async function askOnTerminal(path: string, terminal: Terminal | undefined): Promise<void> {
  if (terminal === undefined) throw unacknowledged(path);
  try {
    terminal.say(advice(path));
    if ((await terminal.ask(`Type ${YES} to back up with this key as it is: `, false)).trim() !== YES)
      throw unacknowledged(path);
  } finally {
    terminal.close();
  }
}

function advice(path: string): string {
  return [
    `This is the first backup with the key file ${path}, which has no recovery key.`,
    'Whoever loses the key file or its passphrase loses every backup made with it: nobody can read them then.',
    '  a printable copy:  holdfast key paper KEYFILE',
    '  a recovery key:    holdfast key create-recovery PRIVATE.pem PUBLIC.pem',
    '                     holdfast key set-recovery KEYFILE PUBLIC.pem',
  ].join('\n');
}

function unacknowledged(path: string): HoldfastError {
  return new HoldfastError(
    'key-unacknowledged',
    `${path} has no recovery key: if it or its passphrase is lost, so is every backup made with it. Run holdfast key create-recovery PRIVATE.pem PUBLIC.pem and holdfast key set-recovery ${path} PUBLIC.pem; or print holdfast key paper ${path} and run the backup once with --acknowledge-lost-key`,
  );
}
