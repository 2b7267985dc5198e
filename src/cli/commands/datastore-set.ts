// holdfast datastore set: maintenance mode, low-space limit, what is an anomaly. Needs no lock: a running holder reads them at its next session or operation.
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
import { formatBytes } from '../../util/format-bytes.ts';
import { pairs, print } from '../output.ts';
import { parseSize } from '../parse-size.ts';
import { type CommonOptions, repositoryPath } from '../repository.ts';

interface SetOptions extends CommonOptions {
  readonly maintenance?: string;
  readonly message?: string;
  readonly lowSpaceLimit?: string;
  readonly anomalyFactor?: string;
}

export function addSetCommand(datastore: Command): void {
  datastore
    .command('set')
    .description('maintenance mode, low-space limit, and what is an anomaly')
    .option('--maintenance <MODE>', 'none, read-only (no backups, forget, prune, gc) or offline (nothing but status)')
    .option('--message <TEXT>', 'shown to whoever is refused; with --maintenance')
    .option('--low-space-limit <SIZE>', 'backups leave so much free, or "default"')
    .option('--anomaly-factor <N>', 'a snapshot that adds N times the usual is an anomaly; 0 for never, or "default"')
    .action(async (_, command: Command) => await set(command.optsWithGlobals()));
}

async function set(options: SetOptions): Promise<void> {
  const layout = new Layout(resolve(repositoryPath(options)));
  if ([options.maintenance, options.lowSpaceLimit, options.anomalyFactor].every((given) => given === undefined))
    throw new HoldfastError(
      'bad-argument',
      'nothing to set: give --maintenance, --low-space-limit or --anomaly-factor',
    );
  if (options.message !== undefined && options.maintenance === undefined)
    throw new HoldfastError('bad-argument', '--message belongs to a mode: give --maintenance too');
  const changes: Partial<Limits> = {
    ...(options.maintenance !== undefined && {
      maintenance: { mode: parseMode(options.maintenance), message: checkMessage(options.message ?? '') },
    }),
    ...(options.lowSpaceLimit !== undefined && {
      lowSpaceBytes: options.lowSpaceLimit === 'default' ? null : parseSize(options.lowSpaceLimit, '--low-space-limit'),
    }),
    ...(options.anomalyFactor !== undefined && { anomalyFactor: parseFactor(options.anomalyFactor) }),
  };
  await readConfig(layout, true);
  const limits = await changeLimits(layout, (before) => ({ ...before, ...changes }));
  const { maintenance, lowSpaceBytes: lowSpaceLimitBytes, anomalyFactor = null } = limits;
  print(options.outputFormat, { maintenance, lowSpaceLimitBytes, anomalyFactor }, (value) =>
    pairs([
      ['maintenance', [value.maintenance.mode, value.maintenance.message].filter((text) => text !== '').join(': ')],
      ['low-space limit', value.lowSpaceLimitBytes === null ? 'default' : formatBytes(value.lowSpaceLimitBytes)],
      ['anomaly factor', value.anomalyFactor === 0 ? 'never' : String(value.anomalyFactor ?? 'default')],
    ]),
  );
}

/** Null for the default. */
function parseFactor(text: string): number | null {
  if (text === 'default') return null;
  const factor = /^\d{1,6}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  // Less than twice the usual is every other night.
  if (factor === 0 || factor >= 2) return factor;
  throw new HoldfastError(
    'bad-argument',
    `--anomaly-factor takes 0, or a number from 2 on, or default, not ${JSON.stringify(text)}`,
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
