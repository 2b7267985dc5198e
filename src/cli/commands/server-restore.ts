// holdfast server restore-state: makes the state of a lost server anew from the directory of a datastore alone.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { runRestore } from '../../agent/restore/run-restore.ts';
import type { RestoredState } from '../../daemon/state-backup/restore-state.ts';
import { Layout } from '../../datastore/layout.ts';
import type { ReadDatastore } from '../../datastore/read-datastore.ts';
import { findSnapshot, type SnapshotRequest } from '../../datastore/snapshots/find-snapshot.ts';
import { snapshotLabel } from '../../datastore/snapshots/group-store.ts';
import { ROOT_USER } from '../../schema/auth-id.ts';
import { parseNamespace, parseSnapshotRef } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { StateOptions } from '../admin/server-state.ts';
import { interruptSignal } from '../interrupt.ts';
import { LocalRepository } from '../local-repository.ts';
import { withReadDatastore } from '../local-store.ts';
import { pairs, print } from '../output.ts';
import type { FoundSnapshot } from '../readable-repository.ts';

interface RestoreStateOptions extends StateOptions {
  readonly from: string;
  readonly snapshot?: string;
}

interface Restored extends RestoredState {
  readonly snapshot: string;
  readonly stateDirectory: string;
  readonly from: string;
}

export function addRestoreStateCommand(server: Command): void {
  server
    .command('restore-state')
    .description('make the state of a lost server anew, from a datastore that it backed itself up to')
    .requiredOption('--from <DIR>', 'the directory of the datastore')
    .option('--state-dir <DIR>', 'empty, or to be made; /var/lib/holdfast for root')
    .option('--snapshot <SNAPSHOT>', 'host/NODE-holdfast-state/TIME; the latest when it is not given')
    .action(async (_, command: Command) => await restore(command.optsWithGlobals()));
}

async function restore(options: RestoreStateOptions): Promise<void> {
  const { defaultStateDirectory } = await import('../../daemon/state-directory.ts');
  const { restoreState } = await import('../../daemon/state-backup/restore-state.ts');
  const directory = resolve(options.stateDir ?? defaultStateDirectory());
  const from = resolve(options.from);
  const interrupt = interruptSignal();
  try {
    const restored = await withReadDatastore(from, async (store) => {
      const repository = new LocalRepository(store);
      try {
        const found = await repository.ask(findSnapshot, await requestOf(store, options.snapshot));
        await requireOwnedByRoot(store, found);
        const objects = await repository.open([found], undefined, { lookups: 1000, workers: 1 });
        const pool = await objects.pool();
        const source = {
          archives: found.manifest.client.archives,
          restore: async (archive: (typeof found.manifest.client.archives)[number], target: string) => {
            const request = { archive, space: found.manifest.server.space, target, overwrite: false, zeroLost: false };
            const { signal } = interrupt;
            await runRestore({ ...request, stdout: process.stdout, signal, onProgress: () => {} }, pool, (_, id) =>
              objects.get(id),
            );
          },
        };
        return { snapshot: snapshotLabel(found.name), ...(await restoreState(source, directory)) };
      } finally {
        await repository.close();
      }
    });
    print<Restored>(options.outputFormat, { ...restored, stateDirectory: directory, from }, describe);
  } finally {
    interrupt.stop();
  }
}

/** @throws `not-found` when no server has backed itself up there, `bad-argument` when several have and none is named. */
async function requestOf({ groups }: ReadDatastore, text: string | undefined): Promise<SnapshotRequest> {
  const { isStateGroup } = await import('../../daemon/state-backup/state-snapshot.ts');
  const ns = parseNamespace('');
  const found = (await groups.groups(ns)).filter(isStateGroup);
  if (text !== undefined) {
    const { group, time } = parseSnapshotRef(text);
    return { ns, group, time: time ?? null };
  }
  if (found.length === 1) return { ns, group: found[0], time: null };
  if (found.length === 0)
    throw new HoldfastError(
      'not-found',
      'no server has backed up its state to this datastore: there is no group host/NODE-holdfast-state; try its other datastores',
    );
  const names = found.map((group) => `${group}/latest`).join(', ');
  throw new HoldfastError(
    'bad-argument',
    `several servers have backed themselves up here: name one with --snapshot: ${names}`,
  );
}

/** A group of that name may be anybody's who makes backups; a server's own is always root's. */
async function requireOwnedByRoot({ groups }: ReadDatastore, { name }: FoundSnapshot): Promise<void> {
  const owner = (await groups.state(name.ns, name.group))?.owner;
  if (owner === ROOT_USER) return;
  throw new HoldfastError(
    'not-owner',
    `${name.group} belongs to ${owner ?? 'nobody'}, not to ${ROOT_USER}: no server made it, and nothing of it is used`,
  );
}

function describe(restored: Restored): string {
  const { snapshot, stateDirectory, from, users, tokens, datastores, fingerprint, configFile, about } = restored;
  const isThere = ({ path }: { path: string }): boolean => existsSync(new Layout(path).config);
  const next = [
    ...(configFile === null
      ? []
      : [
          `put ${configFile} back to ${about.configFile}, and look through it; the certificate is in ${stateDirectory}`,
        ]),
    ...datastores
      .filter((each) => !isThere(each))
      .map(
        ({ name, path }) =>
          `datastore ${name} is not at ${path}: mount it there, or holdfast server remove-datastore ${name} and add-datastore ${name} PATH --reuse, with --state-dir ${stateDirectory}`,
      ),
    ...(datastores.some(({ path }) => resolve(path) === from)
      ? []
      : [
          `${from} is none of the server's datastores as they were: holdfast server add-datastore NAME ${from} --reuse`,
        ]),
    `give the directory to the user of the server, if that is another one: chown -R USER ${stateDirectory}`,
    `start the server: holdfast server --state-dir ${stateDirectory}; users sign in anew, API tokens go on working`,
  ];
  return `${pairs([
    ['restored', `${snapshot} of ${about.node}`],
    ['to', stateDirectory],
    ['users', `${users}, with ${tokens} API tokens`],
    ['datastores', datastores.map(({ name }) => name).join(', ')],
    ['fingerprint', fingerprint],
  ])}\nwhat to do next:\n${next.map((line) => `- ${line}`).join('\n')}`;
}
