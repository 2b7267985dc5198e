// Jobs that have the agent of a host back up its virtual machines, one after the other, as parts of one task. With keep rules each guest's backups
// are pruned after its new one.
import { type Static, Type } from 'typebox';
import { guestByGuest } from '../../api/guest/guest-by-guest.ts';
import { type Choosable, coverage } from '../../api/guest/routes/cluster/covered-guests.ts';
import { WithoutEffect } from '../../api/guest/routes/cluster/without-effect.ts';
import { pruneGroup } from '../../api/stores/store-work.ts';
import { givenCounts, isWithoutRules } from '../../datastore/prune/keep-rules.ts';
import { parseTags } from '../../guests/config/tags.ts';
import type { JobKind } from '../../jobs/schedule/job.ts';
import type { TaskWork } from '../../jobs/tasks/task.ts';
import { parseGroup, parseNamespace } from '../../schema/names.ts';
import { MAX_POOL_ID_LENGTH, POOL_ID } from '../../schema/pool-id.ts';
import { VM_BACKUP_FIELDS, type VmBackupOrder } from '../../transport/control/orders.ts';
import { HoldfastError } from '../../util/errors.ts';
import { awaitNode, type IsOnline } from './await-node.ts';
import { NodeName } from './backup-kind.ts';
import { checker, KEEP_FIELDS, type StoreKindParts, storeClaim } from './store-options.ts';

const MAX_GUESTS = 1000;
const MAX_TAGS = 64;
const { time: _label, vmid: Vmid, ...fields } = VM_BACKUP_FIELDS;
const Vmids = Type.Array(Vmid, { minItems: 1, maxItems: MAX_GUESTS, uniqueItems: true });
const Options = Type.Object(
  {
    node: NodeName,
    vmid: Type.Optional(Vmids),
    all: Type.Optional(Type.Literal(true)),
    pool: Type.Optional(Type.String({ pattern: POOL_ID, maxLength: MAX_POOL_ID_LENGTH })),
    exclude: Type.Optional(Vmids),
    /** With `all`: those that have one of these. */
    tags: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: MAX_TAGS })),
    ...fields,
    ...KEEP_FIELDS,
    'without-effect': Type.Optional(WithoutEffect),
  },
  { additionalProperties: false },
);
type Options = Static<typeof Options>;

export interface VzdumpKindParts extends StoreKindParts {
  readonly isOnline: IsOnline;
  /** @throws `not-found` for a pool that is not there. */
  readonly requirePool: (pool: string) => void;
  /** The virtual machines that a node has now, each with its pool. @throws `not-found` where nobody here knows. */
  readonly guestsOf: (node: string) => Promise<readonly Choosable[]>;
  /** Gives an order as a part of a task. @throws `not-found`, `node-offline`, `too-many`, what the backup does. */
  readonly orderWithin: (node: string, order: VmBackupOrder, work: TaskWork) => Promise<unknown>;
}

export function vzdumpKind({ get, isOnline, requirePool, guestsOf, orderWithin }: VzdumpKindParts): JobKind {
  const check = checker(Options);
  return {
    name: 'vzdump',
    stage: 'backup',
    taskType: 'vzdump',
    check: (wish) => {
      const options = check(wish) as Options;
      requireGuests(options);
      if (options.pool !== undefined) requirePool(options.pool);
      return options.tags === undefined ? options : { ...options, tags: parseTags(options.tags.join(';')) };
    },
    claims: (options) => [...storeClaim(options), `node:${String(options.node)}`],
    workerId: ({ id, options }) => `${String(options.store)}:${String(options.node)}:${id}`,
    run: async ({ job }, work) => {
      const options = job.options as Options;
      const { node, vmid, pool, store, ns = '', mode = 'snapshot' } = options;
      const counts = givenCounts(options);
      await awaitNode(node, isOnline, work);
      // Never a night that is well because its pool is gone.
      if (pool !== undefined) requirePool(pool);
      const found = vmid === undefined ? await guestsOf(node) : vmid.map((each) => ({ vmid: each }));
      const chosen = found.filter(coverage(options)).map((guest) => guest.vmid);
      const vmids = chosen.sort((a, b) => a - b);
      if (vmids.length === 0)
        work.warn(`there is no guest to back up${pool === undefined ? '' : ` in pool '${pool}'`}`);
      const backup = async (each: number): Promise<unknown> => {
        const made = await orderWithin(node, { ...orderOf(options), vmid: each }, work);
        if (!isWithoutRules(counts))
          await pruneGroup(await get(store), parseNamespace(ns), parseGroup(`vm/${each}`), counts, work);
        return made;
      };
      return await guestByGuest(`--storage ${store} --mode ${mode}`, vmids, backup, work);
    },
  };
}

/** What of the options is the agent's. */
function orderOf(options: Options): Omit<VmBackupOrder, 'vmid'> {
  const own = Object.entries(options).filter(([name]) => name in fields);
  return { ...(Object.fromEntries(own) as Pick<Options, keyof typeof fields>), kind: 'vm-backup' };
}

/** @throws `bad-argument`. */
function requireGuests({ vmid, all, pool, exclude, tags }: Options): void {
  const isOne = [vmid, all, pool].filter((each) => each !== undefined).length === 1;
  const isNarrowed = (exclude !== undefined && vmid !== undefined) || (tags !== undefined && all === undefined);
  const why = isNarrowed
    ? 'exclude and tags go with all, exclude with a pool too'
    : 'name the guests or one pool, or all';
  if (!isOne || isNarrowed)
    throw new HoldfastError('bad-argument', `vzdump job: ${why} (vmid=[100,101], pool=web, or all=true)`);
}
