// Jobs that have the agent of a host back up its virtual machines, one after the other, as parts of one task.
import { type Static, Type } from 'typebox';
import { guestByGuest } from '../../api/guest/guest-by-guest.ts';
import type { JobKind } from '../../jobs/schedule/job.ts';
import type { TaskWork } from '../../jobs/tasks/task.ts';
import { VM_BACKUP_FIELDS, type VmBackupOrder } from '../../transport/control/orders.ts';
import { HoldfastError } from '../../util/errors.ts';
import { awaitNode, type IsOnline } from './await-node.ts';
import { NodeName } from './backup-kind.ts';
import { checker, storeClaim } from './store-kinds.ts';

const MAX_GUESTS = 1000;
const { time: _label, vmid: Vmid, ...fields } = VM_BACKUP_FIELDS;
const Vmids = Type.Array(Vmid, { minItems: 1, maxItems: MAX_GUESTS, uniqueItems: true });
const Options = Type.Object(
  {
    node: NodeName,
    vmid: Type.Optional(Vmids),
    all: Type.Optional(Type.Literal(true)),
    exclude: Type.Optional(Vmids),
    ...fields,
  },
  { additionalProperties: false },
);
type Options = Static<typeof Options>;

export interface VzdumpKindParts {
  readonly isOnline: IsOnline;
  /** The virtual machines that a node has now. @throws `not-found` where nobody here knows. */
  readonly guestsOf: (node: string) => Promise<readonly number[]>;
  /** Gives an order as a part of a task. @throws `not-found`, `node-offline`, `too-many`, what the backup does. */
  readonly orderWithin: (node: string, order: VmBackupOrder, work: TaskWork) => Promise<unknown>;
}

export function vzdumpKind({ isOnline, guestsOf, orderWithin }: VzdumpKindParts): JobKind {
  const check = checker(Options);
  return {
    name: 'vzdump',
    stage: 'backup',
    taskType: 'vzdump',
    check: (wish) => {
      const options = check(wish) as Options;
      requireGuests(options);
      return options;
    },
    claims: (options) => [...storeClaim(options), `node:${String(options.node)}`],
    workerId: ({ id, options }) => `${String(options.store)}:${String(options.node)}:${id}`,
    run: async ({ job }, work) => {
      const { node, vmid, all, exclude = [], ...rest } = job.options as Options;
      await awaitNode(node, isOnline, work);
      const found = all === true ? await guestsOf(node) : (vmid ?? []);
      const vmids = found.filter((each) => !exclude.includes(each)).sort((a, b) => a - b);
      if (vmids.length === 0) work.warn('there is no guest to back up');
      const backup = async (each: number): Promise<unknown> =>
        await orderWithin(node, { ...rest, kind: 'vm-backup', vmid: each }, work);
      return await guestByGuest(`--storage ${rest.store} --mode ${rest.mode ?? 'snapshot'}`, vmids, backup, work);
    },
  };
}

/** @throws `bad-argument`. */
function requireGuests({ vmid, all, exclude }: Options): void {
  const why = exclude !== undefined && all === undefined ? 'exclude goes with all' : 'name the guests, or all of them';
  const isWrong = (vmid === undefined) === (all === undefined) || (exclude !== undefined && all === undefined);
  if (isWrong) throw new HoldfastError('bad-argument', `vzdump job: ${why} (vmid=[100,101], or all=true)`);
}
