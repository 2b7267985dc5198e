// POST /admin/datastore/{store}/prune and /prune-datastore: what the keep rules do not keep goes.

import { type Static, Type } from 'typebox';
import { givenCounts, isWithoutRules } from '../../../../datastore/prune/keep-rules.ts';
import type { GroupPlan } from '../../../../datastore/prune/plan.ts';
import { type GroupName, type Namespace, namespaceDepth } from '../../../../schema/names.ts';
import { type Call, callerOf, defineMethod } from '../../../method.ts';
import type { OpenDatastore } from '../../../services.ts';
import { aclPath, findGroup, findNamespace, owns } from '../../../snapshots/owned-groups.ts';
import { startTask } from '../../../start-task.ts';
import { logPlan, planOf, pruneGroup } from '../../../stores/store-work.ts';
import { BackupId, BackupTime, BackupType, KeepRules, MaxDepth, OfGroup, OfNamespace } from '../../parameters.ts';
import { onContent } from './rules.ts';

const Row = Type.Object({
  'backup-type': BackupType,
  'backup-id': BackupId,
  'backup-time': BackupTime,
  keep: Type.Boolean(),
  protected: Type.Boolean(),
  ns: Type.Optional(Type.String()),
});
const mayPrune = onContent(['Datastore.Modify'], 'Datastore.Prune');

export const PRUNE_METHODS = [
  defineMethod({
    method: 'POST',
    path: '/admin/datastore/{store}/prune',
    description:
      'Prunes a group. Without any keep rule everything stays. Answers the plan, or with `use-task` the task.',
    access: mayPrune,
    parameters: Type.Object({
      ...OfGroup,
      ...KeepRules,
      'dry-run': Type.Boolean({ default: false, description: 'Only say what would go.' }),
      'use-task': Type.Boolean({ default: false, description: 'Do not wait for the end.' }),
    }),
    returns: Type.Union([Type.Array(Row), Type.String()]),
    handler: async (call, { 'dry-run': isDry, 'use-task': useTask, ...asked }) => {
      const { open, ns, group } = await findGroup(call, asked);
      const counts = givenCounts(asked);
      if (isDry) return rowsOf(ns, await planOf(open.store, ns, group.name, counts, call));
      let plan: GroupPlan | undefined;
      const id = `${asked.store}:${ns}:${group.name}`;
      const task = startTask(call, { type: 'prune', id }, async (work) => {
        plan = await pruneGroup(open, ns, group.name, counts, work);
      });
      if (useTask) return task.upid;
      const { status, error } = await task.done;
      if (plan === undefined) throw error ?? new Error(status);
      return rowsOf(ns, plan);
    },
  }),
  defineMethod({
    method: 'POST',
    path: '/admin/datastore/{store}/prune-datastore',
    description: 'Prunes all groups of a namespace and of those below it. Answers the task.',
    access: mayPrune,
    parameters: Type.Object({
      ...OfNamespace,
      ...KeepRules,
      'max-depth': MaxDepth,
      'dry-run': Type.Boolean({ default: false }),
    }),
    returns: Type.String(),
    handler: async (call, { 'max-depth': maxDepth, 'dry-run': isDry, ...asked }) => {
      const { open, ns } = await findNamespace(call, asked);
      const counts = givenCounts(asked);
      const id = `${asked.store}:${ns}`;
      const { upid } = startTask(call, { type: 'prune', id }, async (work) => {
        if (isWithoutRules(counts)) work.log('no keep rule was given: everything stays');
        for (const each of await open.store.groups.namespaces(ns)) {
          if (namespaceDepth(each) - namespaceDepth(ns) > maxDepth) continue;
          for (const group of await prunable(call, open, each)) {
            if (isDry) logPlan(each, await planOf(open.store, each, group, counts, work), work);
            else await pruneGroup(open, each, group, counts, work);
          }
        }
      });
      return upid;
    },
  }),
];

/** Below the namespace that was asked for the caller may have other rights: each is looked at by itself. */
async function prunable(call: Call, open: OpenDatastore, ns: Namespace): Promise<GroupName[]> {
  const { permissions } = call.services;
  const caller = callerOf(call);
  const path = aclPath({ store: open.name, ns });
  const groups = await call.views.of(open.store).groups(ns);
  if (permissions.has(caller, path, 'Datastore.Modify')) return groups.map(({ name }) => name);
  if (!permissions.has(caller, path, 'Datastore.Prune')) return [];
  return groups.filter(({ owner }) => owns(caller, owner)).map(({ name }) => name);
}

function rowsOf(ns: Namespace, { group, snapshots }: GroupPlan): Static<typeof Row>[] {
  const [type, id = ''] = group.split('/');
  return snapshots.map(({ time, keep, rule }) => ({
    'backup-type': type as 'vm',
    'backup-id': id,
    'backup-time': time,
    keep,
    protected: rule === 'protected',
    ...(ns === '' ? {} : { ns }),
  }));
}
