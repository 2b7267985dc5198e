// holdfast datastore create | unlock; the others have files of their own
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AVERAGE_CHUNK_BYTES, createDatastore, readConfig } from '../../datastore/config.ts';
import { lockedError } from '../../datastore/holder-record.ts';
import { Layout } from '../../datastore/layout.ts';
import { tryHold } from '../../datastore/lock.ts';
import { DEFAULT_MAX_LOCK_MS } from '../../datastore/snapshots/retention-lock.ts';
import { durationText, parseDurationMs } from '../../util/duration.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { pairs, print } from '../output.ts';
import { type CommonOptions, repositoryPath } from '../repository.ts';
import { addGcCommand } from './datastore-gc.ts';
import { addQuotaCommands } from './datastore-quota.ts';
import { addRepairCommand } from './datastore-repair.ts';
import { addSetCommand } from './datastore-set.ts';
import { addStatusCommands } from './datastore-status.ts';
import { addVerifyCommand } from './datastore-verify.ts';

/** Index memory per byte of unique data: 60 bytes an object, objects of 1.2 times the average. */
const INDEX_BYTES_PER_OBJECT = 60;
const TERABYTE = 1e12;

export function addDatastoreCommands(program: Command): void {
  const datastore = program.command('datastore').description('create a datastore, or look at one');
  datastore
    .command('create')
    .description('make an empty directory a datastore')
    .option('--chunk-average <SIZE>', '64K, or 256K for stores past some 20 TB', '64K')
    .option('--max-lock <DURATION>', 'the longest retention lock that a snapshot can get, 365d by default; 0d for none')
    .action(async (options: CreateOptions, command: Command) => await create(options, command.optsWithGlobals()));
  datastore
    .command('unlock')
    .description('say who holds the datastore; a lock never outlives its process')
    .action(async (_, command: Command) => await unlock(command.optsWithGlobals()));
  addStatusCommands(datastore);
  addSetCommand(datastore);
  addQuotaCommands(datastore);
  addGcCommand(datastore);
  addRepairCommand(datastore);
  addVerifyCommand(datastore);
}

interface CreateOptions {
  readonly chunkAverage: string;
  readonly maxLock?: string;
}

async function create(options: CreateOptions, common: CommonOptions): Promise<void> {
  const root = resolve(repositoryPath(common));
  const averageBytes = AVERAGE_CHUNK_BYTES.find(
    (bytes) => options.chunkAverage.toUpperCase().replace(/I?B?$/, '') === `${bytes / 1024}K`,
  );
  if (averageBytes === undefined) {
    throw new HoldfastError(
      'bad-argument',
      `--chunk-average takes 64K or 256K, not ${JSON.stringify(options.chunkAverage)}`,
    );
  }
  const maxLockMs =
    options.maxLock === undefined ? DEFAULT_MAX_LOCK_MS : parseDurationMs(options.maxLock, '--max-lock');
  const config = await createDatastore(root, averageBytes, maxLockMs);
  const indexBytes = Math.round((TERABYTE / (averageBytes * 1.2)) * INDEX_BYTES_PER_OBJECT);
  print(
    common.outputFormat,
    {
      repository: root,
      store: config.store,
      averageChunkBytes: averageBytes,
      indexBytesPerTerabyte: indexBytes,
      maxLockMs,
    },
    (value) =>
      pairs([
        ['datastore', value.repository],
        ['id', value.store],
        ['average chunk', formatBytes(value.averageChunkBytes)],
        ['memory', `${formatBytes(value.indexBytesPerTerabyte)} for the index per TB of unique data`],
        ['longest lock', durationText(value.maxLockMs)],
      ]),
  );
}

async function unlock(common: CommonOptions): Promise<void> {
  const layout = new Layout(resolve(repositoryPath(common)));
  await readConfig(layout, false);
  const lock = tryHold(layout);
  if (lock === undefined) throw await lockedError(layout);
  lock.release();
  print(
    common.outputFormat,
    { repository: layout.root, held: false },
    () => `${layout.root} is not held by anybody; nothing to do`,
  );
}
