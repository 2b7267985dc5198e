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
  /** The virtual machines that a node has now. @throws `not-found` where nobody here knows. */
  readonly guestsOf: (node: string) => Promise<readonly Choosable[]>;
  /** Gives an order as a part of a task. @throws `not-found`, `node-offline`, `too-many`, what the backup does. */
  readonly orderWithin: (node: string, order: VmBackupOrder, work: TaskWork) => Promise<unknown>;
}

export function vzdumpKind({ get, isOnline, guestsOf, orderWithin }: VzdumpKindParts): JobKind {
  const check = checker(Options);
  return {
    name: 'vzdump',
    stage: 'backup',
    taskType: 'vzdump',
    check: (wish) => {
      const options = check(wish) as Options;
      requireGuests(options);
      return options.tags === undefined ? options : { ...options, tags: parseTags(options.tags.join(';')) };
    },
    claims: (options) => [...storeClaim(options), `node:${String(options.node)}`],
    workerId: ({ id, options }) => `${String(options.store)}:${String(options.node)}:${id}`,
    run: async ({ job }, work) => {
      const options = job.options as Options;
      const { node, vmid, all, store, ns = '', mode = 'snapshot' } = options;
      const counts = givenCounts(options);
      await awaitNode(node, isOnline, work);
      const found = all === true ? await guestsOf(node) : (vmid ?? []).map((each) => ({ vmid: each }));
      const chosen = found.filter(coverage(options)).map((guest) => guest.vmid);
      const vmids = chosen.sort((a, b) => a - b);
      if (vmids.length === 0) work.warn('there is no guest to back up');
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
function requireGuests({ vmid, all, exclude, tags }: Options): void {
  const isNarrowed = (exclude ?? tags) !== undefined && all === undefined;
  const why = isNarrowed ? 'exclude and tags go with all' : 'name the guests, or all of them';
  const isWrong = (vmid === undefined) === (all === undefined) || isNarrowed;
  if (isWrong) throw new HoldfastError('bad-argument', `vzdump job: ${why} (vmid=[100,101], or all=true)`);
}
