// holdfast datastore set: maintenance mode and low-space limit. Needs no lock: a running holder reads them at its next session or operation.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readConfig } from '../../datastore/config.ts';
import { Layout } from '../../datastore/layout.ts';
import { changeLimits } from '../../datastore/limits/limits-file.ts';
import {
  type Limits,
  MAINTENANCE_MODES,
  MAX_MAINTENANCE_MESSAGE,
  type MaintenanceMode,
} from '../../schema/limits-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes, pairs, print } from '../output.ts';
import { parseSize } from '../parse-size.ts';
import { type CommonOptions, repositoryPath } from '../repository.ts';

interface SetOptions extends CommonOptions {
  readonly maintenance?: string;
  readonly message?: string;
  readonly lowSpaceLimit?: string;
}

export function addSetCommand(datastore: Command): void {
  datastore
    .command('set')
    .description('maintenance mode and low-space limit')
    .option('--maintenance <MODE>', 'none, read-only (no backups, forget, prune, gc) or offline (nothing but status)')
    .option('--message <TEXT>', 'shown to whoever is refused; with --maintenance')
    .option('--low-space-limit <SIZE>', 'backups leave so much free, or "default"')
    .action(async (_, command: Command) => await set(command.optsWithGlobals()));
}

async function set(options: SetOptions): Promise<void> {
  const layout = new Layout(resolve(repositoryPath(options)));
  if (options.maintenance === undefined && options.lowSpaceLimit === undefined)
    throw new HoldfastError('bad-argument', 'nothing to set: give --maintenance or --low-space-limit');
  if (options.message !== undefined && options.maintenance === undefined)
    throw new HoldfastError('bad-argument', '--message belongs to a mode: give --maintenance too');
  const changes: Partial<Limits> = {
    ...(options.maintenance !== undefined && {
      maintenance: { mode: parseMode(options.maintenance), message: checkMessage(options.message ?? '') },
    }),
    ...(options.lowSpaceLimit !== undefined && {
      lowSpaceBytes: options.lowSpaceLimit === 'default' ? null : parseSize(options.lowSpaceLimit, '--low-space-limit'),
    }),
  };
  await readConfig(layout, true);
  const { maintenance, lowSpaceBytes } = await changeLimits(layout, (limits) => ({ ...limits, ...changes }));
  print(options.outputFormat, { maintenance, lowSpaceLimitBytes: lowSpaceBytes }, (value) =>
    pairs([
      ['maintenance', [value.maintenance.mode, value.maintenance.message].filter((text) => text !== '').join(': ')],
      ['low-space limit', value.lowSpaceLimitBytes === null ? 'default' : formatBytes(value.lowSpaceLimitBytes)],
    ]),
  );
}

function parseMode(text: string): MaintenanceMode {
  const mode = MAINTENANCE_MODES.find((each) => each === text);
  if (mode !== undefined) return mode;
  throw new HoldfastError(
    'bad-argument',
    `--maintenance takes ${MAINTENANCE_MODES.join(', ')}, not ${JSON.stringify(text)}`,
  );
}

function checkMessage(message: string): string {
  if (message.length <= MAX_MAINTENANCE_MESSAGE) return message;
  throw new HoldfastError('too-large', `--message takes at most ${MAX_MAINTENANCE_MESSAGE} characters`);
}
