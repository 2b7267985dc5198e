// holdfast datastore quota set | show | clear: the most that a namespace with all below it, or an owner, may take on disk.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { reportSpace } from '../../datastore/accounting/space-report.ts';
import { readConfig } from '../../datastore/config.ts';
import { Layout } from '../../datastore/layout.ts';
import { changeLimits, readLimits } from '../../datastore/limits/limits-file.ts';
import type { Limits } from '../../schema/limits-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { withReadDatastore } from '../local-store.ts';
import { print, table } from '../output.ts';
import { parseSize } from '../parse-size.ts';
import { type CommonOptions, namespaceOf, repositoryPath } from '../repository.ts';

/** Quotas of a kind that one datastore may have. */
const MAX_QUOTAS = 10_000;
const MAX_OWNER_LENGTH = 128;

interface QuotaOptions extends CommonOptions {
  readonly owner?: string;
}

export function addQuotaCommands(datastore: Command): void {
  const quota = datastore.command('quota').description('limits of the space that namespaces and owners take');
  const ofOwner = '--owner <USER>';
  quota
    .command('set')
    .description('of the namespace that --ns names (without it the root, which holds all), or of an owner')
    .argument('<SIZE>')
    .option(ofOwner, 'of this owner, such as root@pam')
    .action(async (size: string, _, command: Command) => {
      const options: QuotaOptions = command.optsWithGlobals();
      await change(options, parseSize(size, 'quota set'));
    });
  quota
    .command('clear')
    .description('remove a quota')
    .option(ofOwner, 'of this owner')
    .action(async (_, command: Command) => await change(command.optsWithGlobals(), undefined));
  quota
    .command('show')
    .description('all quotas and what is used of them')
    .action(async (_, command: Command) => await show(command.optsWithGlobals()));
}

async function change(options: QuotaOptions, bytes: number | undefined): Promise<void> {
  const layout = new Layout(resolve(repositoryPath(options)));
  if (options.owner !== undefined && options.ns !== undefined)
    throw new HoldfastError('bad-argument', 'a quota is of a namespace or of an owner: give --ns or --owner, not both');
  const kind = options.owner === undefined ? 'namespaces' : 'owners';
  const name = options.owner === undefined ? namespaceOf(options) : checkOwner(options.owner);
  await readConfig(layout, true);
  const { quotas } = await changeLimits(layout, (limits) => withQuota(limits, kind, name, bytes));
  print(options.outputFormat, quotas, () =>
    bytes === undefined
      ? `no quota on ${name || 'the root namespace'}`
      : `${name || 'the root namespace'}: ${formatBytes(bytes)}`,
  );
}

function withQuota(limits: Limits, kind: 'namespaces' | 'owners', name: string, bytes: number | undefined): Limits {
  const { [name]: old, ...others } = limits.quotas[kind];
  if (bytes === undefined && old === undefined)
    throw new HoldfastError('not-found', `there is no quota on ${name || 'the root namespace'}`);
  const quotas = bytes === undefined ? others : { ...others, [name]: bytes };
  if (Object.keys(quotas).length > MAX_QUOTAS)
    throw new HoldfastError('too-many', `a datastore has at most ${MAX_QUOTAS} quotas of ${kind}`);
  return { ...limits, quotas: { ...limits.quotas, [kind]: quotas } };
}

function checkOwner(owner: string): string {
  if (/^[^\s/@]+@[^\s/@]+$/.test(owner) && owner.length <= MAX_OWNER_LENGTH) return owner;
  throw new HoldfastError('bad-argument', `--owner takes USER@REALM, such as root@pam, not ${JSON.stringify(owner)}`);
}

async function show(options: CommonOptions): Promise<void> {
  const quotas = await withReadDatastore(
    repositoryPath(options),
    async ({ layout, groups }) =>
      (await reportSpace(layout, groups, await readLimits(layout), Math.floor(Date.now() / 1000))).quotas,
    true,
  );
  print(options.outputFormat, quotas, (all) =>
    table(
      ['quota of', 'used', 'quota'],
      all.map((row) => [row.name, formatBytes(row.usedBytes), formatBytes(row.quotaBytes)]),
      new Set(['used', 'quota']),
    ),
  );
}
