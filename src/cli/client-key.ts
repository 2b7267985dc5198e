// The client's key in commands: --keyfile and its passphrase, and what a snapshot must prove before something is read with it.
import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { type KeyFile, openKeyFile, readKeyFile } from '../agent/keys/key-file.ts';
import {
  clientStateDirectory,
  LastSnapshots,
  olderThanRemembered,
  type RememberedGroup,
} from '../agent/keys/last-snapshots.ts';
import { implausibleLabel, requireSigned } from '../agent/keys/manifest-signature.ts';
import type { DataKey } from '../chunker/data-key.ts';
import type { Query } from '../datastore/control/query.ts';
import { describeStore } from '../datastore/describe-store.ts';
import { findSnapshot } from '../datastore/snapshots/find-snapshot.ts';
import type { SnapshotName } from '../datastore/snapshots/group-store.ts';
import type { Manifest } from '../schema/manifest.ts';
import { HoldfastError } from '../util/errors.ts';
import { openTerminal } from './ask-terminal.ts';
import { existingPassphrase, keyPassphrase } from './passphrase.ts';
import { type CommonOptions, snapshotRequest, warn } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

export interface KeyOptions extends CommonOptions {
  readonly keyfile?: string;
  readonly passphraseFile?: string;
  readonly acceptOlder?: boolean;
}

/** A key file that was opened. */
export interface OpenedKey {
  readonly path: string;
  readonly file: KeyFile;
  readonly key: DataKey;
}

/** Whom to warn and to ask: the terminal, unless somebody else is there. */
type Asked = Pick<Surroundings, 'warn' | 'openTerminal'>;
const TERMINAL: Asked = { warn, openTerminal };

/** Adds --keyfile and --passphrase-file. */
export function addKeyOptions(command: Command): Command {
  return command
    .option('--keyfile <FILE>', 'key file of encrypted snapshots (or set HOLDFAST_KEYFILE)')
    .option(
      '--passphrase-file <FILE>',
      'file with the passphrase (or set HOLDFAST_KEY_PASSPHRASE; else it is asked for)',
    );
}

/** The same, and --accept-older, for commands that read snapshots. */
export function addReadKeyOptions(command: Command): Command {
  return addKeyOptions(command).option(
    '--accept-older',
    'go on with an encrypted snapshot that is older than the last one that this client made',
  );
}

/** The key of --keyfile or HOLDFAST_KEYFILE; undefined without either. @throws `not-found`, `key-damaged`, `key-missing`, `passphrase-wrong`. */
export async function readKey(options: KeyOptions, asked: Asked = TERMINAL): Promise<DataKey | undefined> {
  return (await openKey(options, asked))?.key;
}

/** The same with the key file. Says when others can read it. */
export async function openKey(options: KeyOptions, asked: Asked = TERMINAL): Promise<OpenedKey | undefined> {
  const path = options.keyfile ?? process.env.HOLDFAST_KEYFILE;
  return path === undefined || path === '' ? undefined : await openKeyAt(path, options.passphraseFile, asked);
}

export async function openKeyAt(
  path: string,
  passphraseFile: string | undefined,
  asked: Asked = TERMINAL,
): Promise<OpenedKey> {
  const file = await readKeyFile(path);
  await warnOfReaders(path, file, asked.warn);
  const passphrase = async (): Promise<string> =>
    await existingPassphrase(keyPassphrase(passphraseFile, `the key file ${path}`), asked.openTerminal);
  return { path, file, key: await openKeyFile(path, file, passphrase) };
}

/** Whoever answers questions about snapshots. */
export interface Answering {
  ask<Argument, Answer>(query: Query<Argument, Answer>, argument: Argument): Promise<Answer>;
}

/**
 * Finds a snapshot and checks what can be checked before it is read: its key, its signature, its label, and for `latest` that it is not
 * older than what this client remembers.
 * @throws `not-found`, `manifest-altered`, `key-missing`, `key-wrong`, `snapshot-older`.
 */
export async function findTrusted(
  repository: Answering,
  text: string,
  options: KeyOptions,
  key: DataKey | undefined,
  say: Surroundings['warn'] = warn,
): Promise<{ name: SnapshotName; manifest: Manifest }> {
  const request = snapshotRequest(text, options);
  const found = await repository.ask(findSnapshot, request);
  await requireTrusted(repository, found, request.time === null, options, key, say);
  return found;
}

/** `isLatest`: nobody named its time. */
async function requireTrusted(
  repository: Answering,
  { name, manifest }: { name: SnapshotName; manifest: Manifest },
  isLatest: boolean,
  options: KeyOptions,
  key: DataKey | undefined,
  say: Surroundings['warn'],
): Promise<void> {
  requireSigned(manifest, name.group, key);
  if (key === undefined) return;
  if (manifest.client.key === null)
    say(`${name.group}: the snapshot is not encrypted, so nobody has signed it; the key is not used`);
  const older = isLatest
    ? olderThanRemembered(
        manifest,
        await lastSnapshots().last(rememberedGroup((await repository.ask(describeStore, {})).storeId, name, key)),
      )
    : undefined;
  const doubt = older ?? (manifest.client.key === null ? undefined : implausibleLabel(manifest));
  if (doubt === undefined) return;
  if (options.acceptOlder === true) return say(`${doubt}; it is used all the same`);
  throw new HoldfastError(
    'snapshot-older',
    `${doubt}. If a later one was forgotten, or a clock was wrong, go on with --accept-older; else find out who put the old one there`,
  );
}

/** Makes an encrypted snapshot's objects readable; nothing for a plain one. Before threads join. @throws `key-missing`, `key-wrong`, `manifest-altered`. */
export function unlockFor(
  objects: { unlock(space: number, key: DataKey): void },
  manifest: Manifest,
  key: DataKey | undefined,
): void {
  requireSigned(manifest, manifest.client.backup, key);
  if (key !== undefined && manifest.client.key !== null) objects.unlock(manifest.server.space, key);
}

export function lastSnapshots(): LastSnapshots {
  return new LastSnapshots(clientStateDirectory(process.env, process.getuid?.()));
}

export function rememberedGroup(
  store: string,
  { ns, group }: Pick<SnapshotName, 'ns' | 'group'>,
  key: DataKey,
): RememberedGroup {
  return { store, ns, group, key: key.fingerprint };
}

async function warnOfReaders(path: string, file: KeyFile, say: Surroundings['warn']): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return;
  const danger = file.kdf === null ? 'and it has no passphrase' : 'and can guess at its passphrase';
  say(`other users may open the key file ${path}, ${danger}; run: chmod 600 ${path}`);
}
