// holdfast key create-recovery | recover: the way back when a key file or its passphrase is lost.
import type { Command } from 'commander';
import { readPaperCopy } from '../../agent/keys/paper-copy.ts';
import { createPrivateFile } from '../../agent/keys/private-file.ts';
import {
  createRecoveryPair,
  isProtectedPem,
  openRecoveryPrivate,
  parseRecoveryPublic,
  recoverDataKey,
} from '../../agent/keys/recovery-key.ts';
import type { DataKey } from '../../chunker/data-key.ts';
import { findSnapshot } from '../../datastore/snapshots/find-snapshot.ts';
import { snapshotLabel } from '../../datastore/snapshots/group-store.ts';
import { HoldfastError } from '../../util/errors.ts';
import { addNewKeyOptions, type NewKeyOptions, readText, writeNewKey } from '../new-key-file.ts';
import { ask } from '../open-repository.ts';
import { pairs, print } from '../output.ts';
import { existingPassphrase, newPassphrase, type PassphraseSource, recoveryPassphrase } from '../passphrase.ts';
import { type CommonOptions, snapshotRequest } from '../repository.ts';

interface RecoveryOptions extends CommonOptions {
  readonly recoveryPassphraseFile?: string;
}

interface RecoverOptions extends NewKeyOptions, RecoveryOptions {
  readonly recovery?: string;
  readonly paper?: string;
  readonly paperPassphraseFile?: string;
}

const PASSPHRASE_HELP = 'file with its passphrase (or set HOLDFAST_RECOVERY_PASSPHRASE; else it is asked for)';

export function addRecoveryCommands(key: Command): void {
  key
    .command('create-recovery')
    .description('make a recovery key: the private half for a safe, the public half for key files')
    .argument('<PRIVATE.pem>')
    .argument('<PUBLIC.pem>')
    .option('--recovery-passphrase-file <FILE>', PASSPHRASE_HELP)
    .action(
      async (privatePath: string, publicPath: string, _, command: Command) =>
        await createRecovery(privatePath, publicPath, command.optsWithGlobals()),
    );
  addNewKeyOptions(key.command('recover'))
    .description('get a lost key back, by the recovery key from a snapshot, or from a printable copy')
    .argument(
      '<WHAT...>',
      'SNAPSHOT NEW-KEY-FILE with --recovery (any snapshot made with the key); NEW-KEY-FILE with --paper',
    )
    .option('--recovery <PRIVATE.pem>', 'the recovery key')
    .option('--recovery-passphrase-file <FILE>', PASSPHRASE_HELP)
    .option('--paper <FILE>', 'the lines of a printable copy, typed; - for standard input')
    .option(
      '--paper-passphrase-file <FILE>',
      'file with its passphrase (or set HOLDFAST_PAPER_PASSPHRASE; else it is asked for)',
    )
    .action(async (words: string[], _, command: Command) => await recover(words, command.optsWithGlobals()));
}

async function createRecovery(privatePath: string, publicPath: string, options: RecoveryOptions): Promise<void> {
  const source = recoveryPassphrase(options.recoveryPassphraseFile, `the recovery key ${privatePath}`);
  const { publicPem, privatePem } = await createRecoveryPair(await newPassphrase(source));
  const { fingerprint } = parseRecoveryPublic(publicPath, publicPem);
  await createPrivateFile(privatePath, privatePem, 'private recovery key');
  await createPrivateFile(publicPath, publicPem, 'public recovery key');
  print(options.outputFormat, { private: privatePath, public: publicPath, fingerprint }, (value) =>
    pairs([
      ['private', `${value.private}: keep it and its passphrase apart from the backed-up hosts, in a safe`],
      ['public', `${value.public}: for holdfast key create --recovery, or key set-recovery`],
      ['fingerprint', value.fingerprint],
    ]),
  );
}

async function recover(words: readonly string[], options: RecoverOptions): Promise<void> {
  const wanted = options.paper === undefined ? 2 : 1;
  if ((options.paper === undefined) === (options.recovery === undefined) || words.length !== wanted)
    throw new HoldfastError(
      'bad-argument',
      'write: holdfast key recover --recovery PRIVATE.pem SNAPSHOT NEW-KEY-FILE, or: holdfast key recover --paper FILE NEW-KEY-FILE',
    );
  const key =
    options.paper === undefined
      ? await recoverFromSnapshot(options.recovery as string, words[0] as string, options)
      : await recoverFromPaper(options.paper, options);
  await writeNewKey(words.at(-1) as string, key, null, options);
}

/** Reads a manifest and nothing else. */
async function recoverFromSnapshot(path: string, text: string, options: RecoverOptions): Promise<DataKey> {
  const { name, manifest } = await ask(options, findSnapshot, snapshotRequest(text, options));
  const pem = await readText(path, 'recovery key');
  const source = recoveryPassphrase(options.recoveryPassphraseFile, `the recovery key ${path}`);
  const passphrase = isProtectedPem(pem) ? await existingPassphrase(source) : undefined;
  return recoverDataKey(snapshotLabel(name), manifest.client, openRecoveryPrivate(path, pem, passphrase));
}

async function recoverFromPaper(path: string, options: RecoverOptions): Promise<DataKey> {
  const source: PassphraseSource = {
    what: `the printable copy ${path}`,
    file: options.paperPassphraseFile,
    option: '--paper-passphrase-file',
    variable: 'HOLDFAST_PAPER_PASSPHRASE',
  };
  return await readPaperCopy(
    path,
    await readText(path, 'printable copy'),
    async () => await existingPassphrase(source),
  );
}
