// holdfast server add-datastore | list-datastores | remove-datastore: the list of datastores in the server's state, also while it runs: it
// looks at the list every two seconds.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Layout } from '../../datastore/layout.ts';
import { type OpenState, STATE_DIR_OPTION, type StateOptions, withServerState } from '../admin/server-state.ts';
import { print, table } from '../output.ts';

interface AddOptions extends StateOptions {
  readonly reuse?: boolean;
  readonly comment?: string;
}

export function addServerDatastoreCommands(server: Command): void {
  server
    .command('add-datastore')
    .description('make a datastore, and give it to the server')
    .argument('<NAME>')
    .argument('<PATH>', 'an empty directory, or one to be made')
    .option('--reuse', 'the directory is a datastore already, and is taken as it is')
    .option('--comment <TEXT>')
    .option(...STATE_DIR_OPTION)
    .action(async (name: string, path: string, _, each: Command) => await add(name, path, each.optsWithGlobals()));
  server
    .command('list-datastores')
    .description("the server's datastores")
    .option(...STATE_DIR_OPTION)
    .action(async (_, each: Command) => await list(each.optsWithGlobals()));
  server
    .command('remove-datastore')
    .description('take a datastore from the server, and its jobs that prune, verify or collect garbage; its files stay')
    .argument('<NAME>')
    .option(...STATE_DIR_OPTION)
    .action(async (name: string, _, each: Command) => await remove(name, each.optsWithGlobals()));
}

async function add(name: string, path: string, options: AddOptions): Promise<void> {
  const { comment, reuse = false } = options;
  const entry = await withServerState(
    options,
    async (open) => await (await listOf(open)).add(open.actor, { name, path: resolve(path), comment, reuse }),
  );
  print(
    options.outputFormat,
    entry,
    () => `the server has datastore ${name} in ${entry.path}; a server that runs opens it within seconds`,
  );
}

async function list(options: StateOptions): Promise<void> {
  const entries = await withServerState(options, async (open) => (await listOf(open)).all());
  const rows = entries.map((entry) => ({ ...entry, isThere: existsSync(new Layout(entry.path).config) }));
  print(options.outputFormat, rows, (all) =>
    table(
      ['datastore', 'path', 'is there', 'comment'],
      all.map(({ name, path, isThere, comment }) => [name, path, isThere ? 'yes' : 'no', comment ?? '']),
    ),
  );
}

async function remove(name: string, options: StateOptions): Promise<void> {
  const path = await withServerState(options, async (open) => {
    const datastores = await listOf(open);
    const entry = datastores.entry(name);
    datastores.remove(open.actor, name);
    return entry.path;
  });
  print(
    options.outputFormat,
    { name, path, removed: true },
    () => `the server has no datastore ${name} any more; its files are still in ${path}`,
  );
}

async function listOf({ state, stores, directory }: OpenState) {
  const { DatastoreTables } = await import('../../state/datastore-tables.ts');
  const { DatastoreList } = await import('../../daemon/datastore-list.ts');
  const { localJobs, removeStoreJobs } = await import('../../daemon/jobs/server-jobs.ts');
  const { audit } = stores;
  return new DatastoreList({
    table: new DatastoreTables(state.db),
    audit,
    transactions: state,
    stateDirectory: directory,
    removeJobs: (actor, name) => removeStoreJobs(localJobs({ state, audit, clock: Date.now }), actor, name),
  });
}
