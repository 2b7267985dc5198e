// POST /admin/datastore/{store}/prune and /prune-datastore: what the keep rules do not keep goes.

import { type Static, Type } from 'typebox';
import type { HeldDatastore } from '../../../../datastore/held-datastore.ts';
import { isWithoutRules, KEEP_RULES, type KeepCounts } from '../../../../datastore/prune/keep-rules.ts';
import { type GroupPlan, planPrune } from '../../../../datastore/prune/plan.ts';
import { removalsOf, removePruned } from '../../../../datastore/prune/prune-operation.ts';
import type { TaskWork } from '../../../../jobs/tasks/task.ts';
import { type GroupName, type Namespace, namespaceDepth } from '../../../../schema/names.ts';
import { type Call, callerOf, defineMethod } from '../../../method.ts';
import type { OpenDatastore } from '../../../services.ts';
import { aclPath, changing, findGroup, findNamespace, owns } from '../../../snapshots/owned-groups.ts';
import { startTask } from '../../../start-task.ts';
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
      const counts = countsOf(asked);
      if (isDry) return rowsOf(ns, await planOf(open.store, ns, group.name, counts, call.signal));
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
      const counts = countsOf(asked);
      const id = `${asked.store}:${ns}`;
      const { upid } = startTask(call, { type: 'prune', id }, async (work) => {
        if (isWithoutRules(counts)) work.log('no keep rule was given: everything stays');
        for (const each of await open.store.groups.namespaces(ns)) {
          if (namespaceDepth(each) - namespaceDepth(ns) > maxDepth) continue;
          for (const group of await prunable(call, open, each)) {
            if (isDry) logPlan(await planOf(open.store, each, group, counts, work.signal), work);
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

async function planOf(
  store: HeldDatastore,
  ns: Namespace,
  group: GroupName,
  counts: KeepCounts,
  signal: AbortSignal,
): Promise<GroupPlan> {
  const plan = await planPrune(store.groups, { ns, groups: [group], counts, clockMs: store.clockMs }, signal);
  return plan.groups[0] as GroupPlan;
}

async function pruneGroup(
  { store, name }: OpenDatastore,
  ns: Namespace,
  group: GroupName,
  counts: KeepCounts,
  work: TaskWork,
): Promise<GroupPlan> {
  const plan = await planOf(store, ns, group, counts, work.signal);
  logPlan(plan, work);
  for (const request of removalsOf(ns, { groups: [plan], warnings: [] })) {
    const { removed, kept } = await changing(name, () => removePruned.run(store, request, work));
    work.log(`removed ${removed} snapshots of ${group}`);
    for (const { snapshot, rule } of kept) work.warn(`${snapshot} stays: it became ${rule} meanwhile`);
  }
  return plan;
}

function logPlan({ snapshots }: GroupPlan, work: TaskWork): void {
  for (const { snapshot, keep, rule } of snapshots) work.log(`${keep ? `keep (${rule})` : 'remove'} ${snapshot}`);
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

function countsOf(asked: KeepCounts): KeepCounts {
  const given = KEEP_RULES.filter((rule) => asked[rule] !== undefined).map((rule) => [rule, asked[rule]]);
  return Object.fromEntries(given) as KeepCounts;
}
