// /admin/datastore/{store}/query/{query}: the questions that the command line asks of a datastore, answered where it is. Whoever has a right
// to own backups only sees the groups that they own.
import { type TObject, Type } from 'typebox';
import type { Query } from '../../../../datastore/control/query.ts';
import { describeStore } from '../../../../datastore/describe-store.ts';
import { prunePlan } from '../../../../datastore/prune/plan-query.ts';
import { findSnapshot, resolveSnapshot } from '../../../../datastore/snapshots/find-snapshot.ts';
import { VisibleGroups } from '../../../../datastore/snapshots/group-reader.ts';
import { listSnapshots, showSnapshot } from '../../../../datastore/snapshots/list-snapshots.ts';
import { type AnyMethod, type Call, callerOf, defineMethod } from '../../../method.ts';
import { aclPath, openStore, owns } from '../../../snapshots/owned-groups.ts';
import {
  AnyObject,
  ArgumentNamespace,
  GroupText,
  KeepCounts,
  OrNull,
  StoreName,
  TimeOrNull,
} from '../../parameters.ts';

const OneSnapshot = { ns: ArgumentNamespace, group: GroupText, time: TimeOrNull };
const OneGroupOrAll = { ns: ArgumentNamespace, group: OrNull(GroupText) };

export const QUERY_METHODS: readonly AnyMethod[] = [
  method(describeStore, 'What a client needs to know of the datastore.', Type.Object({})),
  method(resolveSnapshot, 'The name of the snapshot that is meant.', Type.Object(OneSnapshot)),
  method(findSnapshot, 'A snapshot and its manifest.', Type.Object(OneSnapshot)),
  method(showSnapshot, 'A snapshot in full.', Type.Object(OneSnapshot)),
  method(listSnapshots, 'The snapshots of a namespace or a group as rows.', Type.Object(OneGroupOrAll)),
  method(prunePlan, 'What keep rules would keep and remove.', Type.Object({ ...OneGroupOrAll, counts: KeepCounts })),
];

function method(query: Query<never, unknown>, description: string, argument: TObject): AnyMethod {
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
    returns: AnyObject,
    handler: async (call: Call, parameters: { store: string; argument: unknown }) => {
      const { store } = await openStore(call, parameters.store);
      const caller = callerOf(call);
      const groups = call.onlyOwn ? new VisibleGroups(store.groups, (_, owner) => owns(caller, owner)) : store.groups;
      const view = { groups, layout: store.layout, config: store.config, seesSizes: !call.onlyOwn };
      return await query.run(view, parameters.argument as never, call.signal);
    },
  } as AnyMethod);
}
