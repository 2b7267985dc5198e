// holdfast key create | show | change-passphrase | set-recovery | paper
import type { Command } from 'commander';
import { changeKeyFile, encodeKeyFile, newDataKey, readKeyFile } from '../../agent/keys/key-file.ts';
import { paperCopy } from '../../agent/keys/paper-copy.ts';
import { replacePrivateFile } from '../../agent/keys/private-file.ts';
import { parseRecoveryPublic } from '../../agent/keys/recovery-key.ts';
import { openKeyAt } from '../client-key.ts';
import { addNewKeyOptions, hintOf, type NewKeyOptions, printKeyFile, readText, writeNewKey } from '../new-key-file.ts';
import { newPassphrase } from '../passphrase.ts';
import { addRecoveryCommands } from './key-recovery.ts';

interface CreateOptions extends NewKeyOptions {
  readonly recovery?: string;
}

interface ChangeOptions extends NewKeyOptions {
  readonly newPassphraseFile?: string;
}

export function addKeyCommands(program: Command): void {
  const key = program.command('key').description('keys for client-side encryption');
  addNewKeyOptions(key.command('create'))
    .description('make a new key; a file that is there is never written over')
    .argument('<KEYFILE>')
    .option('--recovery <PUBLIC.pem>', 'recovery key: its private half opens every snapshot made with this key')
    .action(async (path: string, _, command: Command) => await create(path, command.optsWithGlobals()));
  key
    .command('show')
    .description('what a key file is, without its secret')
    .argument('<KEYFILE>')
    .action(async (path: string, _, command: Command) => await printKeyFile(path, command.optsWithGlobals()));
  addNewKeyOptions(key.command('change-passphrase'))
    .description('give a key file another passphrase, or none')
    .argument('<KEYFILE>')
    .option(
      '--new-passphrase-file <FILE>',
      'file with the new one (or set HOLDFAST_NEW_KEY_PASSPHRASE; else it is asked for)',
    )
    .action(async (path: string, _, command: Command) => await changePassphrase(path, command.optsWithGlobals()));
  key
    .command('set-recovery')
    .description('give a key file a recovery key, for the snapshots from now on')
    .argument('<KEYFILE>')
    .argument('<PUBLIC.pem>')
    .option(
      '--passphrase-file <FILE>',
      'file with the passphrase (or set HOLDFAST_KEY_PASSPHRASE; else it is asked for)',
    )
    .action(
      async (path: string, publicPath: string, _, command: Command) =>
        await setRecovery(path, publicPath, command.optsWithGlobals()),
    );
  key
    .command('paper')
    .description('the key as text to print, protected as the file is')
    .argument('<KEYFILE>')
    .action(async (path: string) => void process.stdout.write(paperCopy(await readKeyFile(path))));
  addRecoveryCommands(key);
}

async function create(path: string, options: CreateOptions): Promise<void> {
  const recovery = options.recovery === undefined ? null : (await readRecoveryPublic(options.recovery)).pem;
  await writeNewKey(path, newDataKey(), recovery, options);
}

async function changePassphrase(path: string, options: ChangeOptions): Promise<void> {
  const { file, key } = await openKeyAt(path, options.passphraseFile);
  const source = {
    what: `the key file ${path}`,
    file: options.newPassphraseFile,
    option: '--new-passphrase-file',
    variable: 'HOLDFAST_NEW_KEY_PASSPHRASE',
  };
  const passphrase = options.kdf === 'none' ? undefined : await newPassphrase(source);
  // The hint was at the old passphrase.
  const fields = { ...file, hint: hintOf(options) ?? '', modified: new Date().toISOString() };
  await replacePrivateFile(path, await encodeKeyFile(key, passphrase, fields), 'key file');
  await printKeyFile(path, options);
}

async function setRecovery(path: string, publicPath: string, options: NewKeyOptions): Promise<void> {
  const { pem } = await readRecoveryPublic(publicPath);
  const { file, key } = await openKeyAt(path, options.passphraseFile);
  await replacePrivateFile(
    path,
    changeKeyFile(key, file, { recovery: pem, modified: new Date().toISOString() }),
    'key file',
  );
  await printKeyFile(path, options);
}

async function readRecoveryPublic(path: string): Promise<{ pem: string; fingerprint: string }> {
  return parseRecoveryPublic(path, await readText(path, 'recovery key'));
}
