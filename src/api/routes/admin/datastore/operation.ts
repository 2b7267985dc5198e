// /admin/datastore/{store}/operation/{operation}: what the command line does to a datastore, done where it is. Short work is answered when it
// is done; long work is a task whose end has the result.

import { type TObject, Type } from 'typebox';
import type { Privilege } from '../../../../auth/privileges.ts';
import { accountSpace } from '../../../../datastore/accounting/account-operation.ts';
import { type ClearRequest, clearAnomaly } from '../../../../datastore/anomaly/clear-anomaly.ts';
import type { Operation, Work } from '../../../../datastore/control/operation.ts';
import { collectGarbage } from '../../../../datastore/gc/gc-operation.ts';
import { type PruneRequest, removePruned } from '../../../../datastore/prune/prune-operation.ts';
import type { SnapshotName } from '../../../../datastore/snapshots/group-store.ts';
import {
  changeSnapshot,
  forgetSnapshot,
  type LockRequest,
  lockSnapshot,
  type SnapshotChange,
} from '../../../../datastore/snapshots/snapshot-operations.ts';
import { verify } from '../../../../datastore/verify/verify-operation.ts';
import type { VerifyRequest } from '../../../../datastore/verify/verify-store.ts';
import { OrNull } from '../../../../schema/answer-parts.ts';
import { type GroupName, type Namespace, parseGroup, parseNamespace } from '../../../../schema/names.ts';
import { type AnyMethod, type Call, callerOf, defineMethod } from '../../../method.ts';
import type { OpenDatastore } from '../../../services.ts';
import { aclPath, changing, noSuchSnapshot, openStore, owns } from '../../../snapshots/owned-groups.ts';
import { startTask } from '../../../start-task.ts';
import { GC_TASK } from '../../../stores/gc-status.ts';
import { ArgumentNamespace, GroupText, SnapshotArgument, StoreName } from '../../parameters.ts';

/** Snapshots that one request may remove. */
const MAX_REMOVALS = 5000;
const Rate = OrNull(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }));

/** A group that an argument names, and the label of one of its snapshots. */
interface Named {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly time: number;
}

interface Offer<Argument> {
  readonly operation: Operation<Argument, unknown>;
  readonly description: string;
  readonly argument: TObject;
  /** The namespace whose rights count. */
  readonly ns: (argument: Argument) => string;
  readonly anyOf: readonly Privilege[];
  /** Enough for an owner of everything that `named` says. */
  readonly orOwner?: Privilege;
  readonly named?: (argument: Argument) => readonly Named[];
}

const snapshotOf = ({ ns, group, time }: SnapshotName): Named[] => [{ ns, group, time }];

export const OPERATION_METHODS: readonly AnyMethod[] = [
  method<SnapshotName>({
    operation: forgetSnapshot,
    description: 'Removes a snapshot.',
    argument: SnapshotArgument,
    ns: ({ ns }) => ns,
    anyOf: ['Datastore.Modify'],
    orOwner: 'Datastore.Prune',
    named: snapshotOf,
  }),
  method<SnapshotChange>({
    operation: changeSnapshot,
    description: 'Changes notes or protection of a snapshot.',
    argument: Type.Object({
      name: SnapshotArgument,
      change: Type.Object({
        notes: Type.Optional(Type.String({ maxLength: 65_536 })),
        protected: Type.Optional(Type.Boolean()),
      }),
    }),
    ns: ({ name }) => name.ns,
    anyOf: ['Datastore.Modify'],
    orOwner: 'Datastore.Backup',
    named: ({ name }) => snapshotOf(name),
  }),
  method<LockRequest>({
    operation: lockSnapshot,
    description: 'Keeps a snapshot from being removed for some time.',
    argument: Type.Object({ name: SnapshotArgument, forMs: Type.Integer({ minimum: 1 }) }),
    ns: ({ name }) => name.ns,
    anyOf: ['Datastore.Modify'],
  }),
  method<PruneRequest>({
    operation: removePruned,
    description: 'Removes the snapshots that a plan named.',
    argument: Type.Object({
      ns: ArgumentNamespace,
      groups: Type.Array(
        Type.Object({ group: GroupText, times: Type.Array(Type.Integer({ minimum: 0 }), { maxItems: MAX_REMOVALS }) }),
        { maxItems: MAX_REMOVALS },
      ),
    }),
    ns: ({ ns }) => ns,
    anyOf: ['Datastore.Modify'],
    orOwner: 'Datastore.Prune',
    named: ({ ns, groups }) => groups.map(({ group, times }) => ({ ns, group, time: times[0] ?? 0 })),
  }),
  method<ClearRequest>({
    operation: clearAnomaly,
    description: 'Has a group pruned again that was held because of an anomaly.',
    argument: Type.Object({ ns: ArgumentNamespace, group: GroupText, wasAttack: Type.Boolean() }),
    ns: ({ ns }) => ns,
    anyOf: ['Datastore.Modify'],
  }),
  method<VerifyRequest>({
    operation: verify,
    description: 'Reads what is stored, and names what is damaged.',
    argument: Type.Object({
      snapshot: OrNull(SnapshotArgument),
      provedSinceMs: Type.Integer({ minimum: 0 }),
      rateLimitBytes: Rate,
    }),
    ns: ({ snapshot }) => snapshot?.ns ?? '',
    anyOf: ['Datastore.Verify'],
  }),
  method({
    operation: collectGarbage,
    description: 'Frees the space of what no snapshot needs.',
    argument: Type.Object({ dryRun: Type.Boolean(), audit: Type.Boolean(), rateLimitBytes: Rate }),
    ns: () => '',
    anyOf: ['Datastore.Modify'],
  }),
  method({
    operation: accountSpace,
    description: 'Counts what every snapshot takes.',
    argument: Type.Object({}),
    ns: () => '',
    anyOf: ['Datastore.Modify'],
  }),
];

function method<Argument>(offer: Offer<Argument>): AnyMethod {
  const { operation, description, argument, ns, anyOf, orOwner, named } = offer;
  return defineMethod({
    method: 'POST',
    path: `/admin/datastore/{store}/operation/${operation.name}`,
    description: operation.isLong
      ? `${description} Answers the UPID of a task, whose result has what came of it.`
      : description,
    access: (parameters: { store: string; argument: Argument }) => ({
      // For its description a method is called with the names of its parameters.
      path: aclPath({
        store: parameters.store,
        ns: typeof parameters.argument === 'string' ? '{ns}' : ns(parameters.argument),
      }),
      anyOf,
      ...(orOwner !== undefined && { orOwner }),
    }),
    parameters: Type.Object({ store: StoreName, argument }),
    returns: Type.Object({ upid: Type.Optional(Type.String()), result: Type.Optional(Type.Unknown()) }),
    handler: async (call: Call, parameters: { store: string; argument: unknown }) => {
      const open = await openStore(call, parameters.store);
      const given = parameters.argument as Argument;
      if (call.onlyOwn) await requireOwned(call, open, named?.(given) ?? []);
      if (operation.isLong) return { upid: startOperation(call, open, operation, given) };
      const work = quietWork(call);
      return { result: await changing(open.name, () => operation.run(open.store, given, work)) };
    },
  } as AnyMethod);
}

/** What is somebody else's answers like what is not there. */
async function requireOwned(call: Call, { store }: OpenDatastore, named: readonly Named[]): Promise<void> {
  const caller = callerOf(call);
  for (const { ns, group, time } of named) {
    const state = await store.groups.state(parseNamespace(ns), parseGroup(group));
    if (!owns(caller, state?.owner)) throw noSuchSnapshot(group, time);
  }
}

/** Returns its UPID. */
function startOperation<Argument>(
  call: Call,
  { name, store }: OpenDatastore,
  operation: Operation<Argument, unknown>,
  argument: Argument,
): string {
  const request = { type: TASK_TYPES[operation.name] ?? operation.name, id: name };
  return startTask(call, request, (task) => changing(name, () => operation.run(store, argument, task))).upid;
}

/** Proxmox's names. */
const TASK_TYPES: Readonly<Record<string, string>> = { [collectGarbage.name]: GC_TASK };

function quietWork({ signal, onlyOwn }: Call): Work {
  return { signal, isOnlyOwner: onlyOwn, onProgress: () => {}, warn: () => {} };
}
