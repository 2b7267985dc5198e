// holdfast pool list | show | create | set | remove: guests and storages under a name. On the server's machine, also beside a server that runs, and from afar.
import type { Command } from 'commander';
import type { Pool } from '../../auth/pool-store.ts';
import type { PoolChange } from '../../auth/pools.ts';
import { parseGuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { administerPools } from '../admin/administer.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { pairs, print, table } from '../output.ts';

interface PoolOptions extends StateOptions {
  readonly comment?: string;
  readonly vms?: string[];
  readonly storage?: string[];
  readonly delete?: boolean;
  readonly allowMove?: boolean;
}

export function addPoolCommands(program: Command): void {
  const pool = program.command('pool').description('guests and storages under a name, for rights and backup jobs');
  const command = (name: string, description: string): Command =>
    pool
      .command(name)
      .description(description)
      .option(...STATE_DIR_OPTION);
  const one = (name: string, description: string): Command =>
    command(name, description).argument('<POOL>', 'a name, or PARENT/NAME');
  command('list', 'all pools').action(async (_, each: Command) => await list(each.optsWithGlobals()));
  one('show', 'one pool with its members').action(
    async (poolid: string, _, each: Command) => await show(poolid, each.optsWithGlobals()),
  );
  one('create', 'a new pool; the one that it is to be within is there already')
    .option('--comment <TEXT>')
    .action(async (poolid: string, _, each: Command) => await create(poolid, each.optsWithGlobals()));
  one('set', 'change the comment, or put guests and storages in')
    .option('--comment <TEXT>')
    .option('--vms <VMID...>', 'virtual machines, also between commas')
    .option('--storage <STORAGE...>', 'storages, also between commas')
    .option('--delete', 'take them out')
    .option('--allow-move', 'a guest of another pool comes out of that one')
    .action(async (poolid: string, _, each: Command) => await set(poolid, each.optsWithGlobals()));
  one('remove', 'remove an empty pool, with the rights on it').action(
    async (poolid: string, _, each: Command) => await remove(poolid, each.optsWithGlobals()),
  );
}

async function list(options: PoolOptions): Promise<void> {
  const pools = await administerPools(options, async (pools) => await pools.list());
  print(options.outputFormat, pools.map(shown), () =>
    table(
      ['pool', 'guests', 'storages', 'comment'],
      pools.map(({ poolid, vms, storages, comment }) => [poolid, vms.join(','), storages.join(','), comment]),
    ),
  );
}

async function show(poolid: string, options: PoolOptions): Promise<void> {
  printPool(options, await administerPools(options, async (pools) => await pools.get(poolid)));
}

async function create(poolid: string, options: PoolOptions): Promise<void> {
  const made = await administerPools(options, async (pools) => {
    await pools.create(poolid, options.comment);
    return await pools.get(poolid);
  });
  printPool(options, made);
}

async function set(poolid: string, options: PoolOptions): Promise<void> {
  const { comment, vms, storage, delete: isRemoval = false, allowMove = false } = options;
  const change: PoolChange = {
    ...(comment !== undefined && { comment }),
    vms: parts(vms).map((each) => parseGuestId(each)),
    storages: parts(storage),
    delete: isRemoval,
    allowMove,
  };
  if (comment === undefined && vms === undefined && storage === undefined)
    throw new HoldfastError('bad-argument', 'say what to change: --comment, --vms or --storage');
  const changed = await administerPools(options, async (pools) => {
    await pools.change(poolid, change);
    return await pools.get(poolid);
  });
  printPool(options, changed);
}

async function remove(poolid: string, options: PoolOptions): Promise<void> {
  await administerPools(options, async (pools) => await pools.remove(poolid));
  print(options.outputFormat, { poolid, removed: true }, () => `removed pool ${poolid}`);
}

/** Of `100,101 102`. */
function parts(given: readonly string[] = []): string[] {
  return given.flatMap((each) => each.split(',')).filter((each) => each !== '');
}

function shown({ poolid, comment, vms, storages }: Pool) {
  return { poolid, comment, vms, storage: storages };
}

function printPool(options: PoolOptions, pool: Pool): void {
  print(options.outputFormat, shown(pool), () =>
    pairs([
      ['pool', pool.poolid],
      ['comment', pool.comment],
      ['guests', pool.vms.join(' ')],
      ['storages', pool.storages.join(' ')],
    ]),
  );
}
