// GET /admin/datastore: the datastores that the caller may see.
import { Type } from 'typebox';
import { callerOf, defineMethod } from '../../../method.ts';
import { seesStore } from '../../../snapshots/owned-groups.ts';
import { maintenanceText, readStoreLimits } from '../../../stores/store-options.ts';

export const STORE_LIST_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/admin/datastore',
    description: 'The datastores in which the caller may see anything.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(
      Type.Object({
        store: Type.String(),
        comment: Type.Union([Type.String(), Type.Null()]),
        maintenance: Type.Optional(Type.String()),
        'mount-status': Type.Enum(['nonremovable']),
        'backend-type': Type.Enum(['filesystem']),
      }),
    ),
    handler: async (call) => {
      const { datastores, permissions } = call.services;
      const caller = callerOf(call);
      const visible = datastores.list().filter(({ name }) => seesStore(permissions, caller, name));
      return await Promise.all(
        visible.map(async (entry) => {
          const maintenance = maintenanceText(await readStoreLimits(entry));
          return {
            store: entry.name,
            comment: entry.comment ?? null,
            ...(maintenance === undefined ? {} : { maintenance }),
            'mount-status': 'nonremovable' as const,
            'backend-type': 'filesystem' as const,
          };
        }),
      );
    },
  }),
];
