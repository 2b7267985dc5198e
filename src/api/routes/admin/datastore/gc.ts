// /admin/datastore/{store}/gc and /admin/gc: garbage collection.
import { Type } from 'typebox';
import { callerOf, defineMethod } from '../../../method.ts';
import { noSuchStore, openStore } from '../../../snapshots/owned-groups.ts';
import { startTask } from '../../../start-task.ts';
import { gcPlans } from '../../../stores/gc-schedule.ts';
import { GC_TASK, GcRun, gcRunOf } from '../../../stores/gc-status.ts';
import { collectAll } from '../../../stores/store-work.ts';
import { StoreName } from '../../parameters.ts';
import { onStore } from './rules.ts';

const PATH = '/admin/datastore/{store}/gc';

export const GC_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'What the last garbage collection said, and when the next one comes.',
    access: onStore('Datastore.Audit'),
    parameters: Type.Object({ store: StoreName }),
    returns: GcRun,
    handler: ({ services }, { store }) => {
      if (!services.datastores.list().some(({ name }) => name === store)) throw noSuchStore(store);
      return gcRunOf(services.tasks, store, gcPlans(services.jobs)(store));
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Starts a garbage collection. Answers its task.',
    access: onStore('Datastore.Modify'),
    parameters: Type.Object({ store: StoreName }),
    returns: Type.String(),
    handler: async (call, { store: name }) => {
      const { store } = await openStore(call, name);
      const { upid } = startTask(call, { type: GC_TASK, id: name }, (task) => collectAll({ name, store }, task));
      return upid;
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/gc',
    description:
      'What the last garbage collection of each datastore said that the caller may look at, and the next one.',
    access: { auth: true },
    parameters: Type.Object({ store: Type.Optional(StoreName) }),
    returns: Type.Array(GcRun),
    handler: (call, { store }) => {
      const { datastores, permissions, tasks, jobs } = call.services;
      const planOf = gcPlans(jobs);
      return datastores
        .list()
        .filter(({ name }) => store === undefined || name === store)
        .filter(({ name }) => permissions.has(callerOf(call), `/datastore/${name}`, 'Datastore.Audit'))
        .map(({ name }) => gcRunOf(tasks, name, planOf(name)));
    },
  }),
];
