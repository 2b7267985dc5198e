// /admin/datastore/{store}/query/{query}: the questions that the command line asks of a datastore, answered where it is. Whoever has a right
// to own backups only sees the groups that they own.
import { type TObject, Type } from 'typebox';
import { listAnomalies } from '../../../../datastore/anomaly/anomalies-query.ts';
import type { Query } from '../../../../datastore/control/query.ts';
import { describeStore } from '../../../../datastore/describe-store.ts';
import { prunePlan } from '../../../../datastore/prune/plan-query.ts';
import { findSnapshot, resolveSnapshot } from '../../../../datastore/snapshots/find-snapshot.ts';
import { VisibleGroups } from '../../../../datastore/snapshots/group-reader.ts';
import { listSnapshots, showSnapshot } from '../../../../datastore/snapshots/list-snapshots.ts';
import { OrNull } from '../../../../schema/answer-parts.ts';
import { type AnyMethod, type Call, callerOf, defineMethod } from '../../../method.ts';
import { aclPath, openStore, owns } from '../../../snapshots/owned-groups.ts';
import { ArgumentNamespace, GroupText, KeepCounts, StoreName, TimeOrNull } from '../../parameters.ts';

/** That one question names. */
const MAX_GROUPS = 1000;
const OneSnapshot = Type.Object({ ns: ArgumentNamespace, group: GroupText, time: TimeOrNull });
const OneGroupOrAll = { ns: ArgumentNamespace, group: OrNull(GroupText) };

export const QUERY_METHODS: readonly AnyMethod[] = [
  method(describeStore, {
    description: 'What a client needs to know of the datastore.',
    argument: Type.Object({}),
  }),
  method(resolveSnapshot, {
    description: 'The name of the snapshot that is meant; without a time the latest.',
    argument: OneSnapshot,
  }),
  method(findSnapshot, {
    description: 'A snapshot and its manifest.',
    argument: OneSnapshot,
  }),
  method(showSnapshot, {
    description: 'A snapshot in full: its manifest, what is locked, counted and verified.',
    argument: OneSnapshot,
  }),
  method(listSnapshots, {
    description: 'The snapshots of a namespace or a group as rows, oldest first.',
    argument: Type.Object(OneGroupOrAll),
  }),
  method(listAnomalies, {
    description:
      'The groups of a namespace and those below it that are not pruned, because a snapshot is unusual, as after an attack.',
    argument: Type.Object({ ns: ArgumentNamespace }),
  }),
  method(prunePlan, {
    description: 'What keep rules would keep and remove.',
    argument: Type.Object({
      ns: ArgumentNamespace,
      groups: OrNull(Type.Array(GroupText, { maxItems: MAX_GROUPS })),
      counts: KeepCounts,
    }),
  }),
];

interface Terms {
  readonly description: string;
  readonly argument: TObject;
}

function method(query: Query<never, unknown>, { description, argument }: Terms): AnyMethod {
  return defineMethod({
    method: 'POST',
    path: `/admin/datastore/{store}/query/${query.name}`,
    description,
    access: ({ store, argument }: { store: string; argument: { ns?: string } | string }) => ({
      // For its description a method is called with the names of its parameters.
      path: aclPath({ store, ns: typeof argument === 'string' ? '{ns}' : argument.ns }),
      anyOf: ['Datastore.Audit'],
      orOwner: 'Datastore.Backup',
    }),
    parameters: Type.Object({ store: StoreName, argument }),
    returns: query.answer,
    handler: async (call: Call, parameters: { store: string; argument: unknown }) => {
      const { store } = await openStore(call, parameters.store);
      const caller = callerOf(call);
      const all = call.views.of(store).reader;
      const groups = call.onlyOwn ? new VisibleGroups(all, (_, owner) => owns(caller, owner)) : all;
      const { layout, config } = store;
      const view = { groups, layout, config, seesSizes: !call.onlyOwn, accounting: () => store.accounting() };
      return await query.run(view, parameters.argument as never, call.signal);
    },
  } as AnyMethod);
}
