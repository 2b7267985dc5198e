// GET /admin/datastore/{store}/status and /active-operations.
import { Type } from 'typebox';
import { Count } from '../../../../schema/answer-parts.ts';
import { GROUP_TYPES } from '../../../../schema/names.ts';
import { type Call, defineMethod } from '../../../method.ts';
import type { OpenDatastore } from '../../../services.ts';
import { openStore } from '../../../snapshots/owned-groups.ts';
import { GcStatus, gcStatusOf } from '../../../stores/gc-status.ts';
import { spaceOn } from '../../../stores/store-space.ts';
import { StoreName } from '../../parameters.ts';
import { onStore } from './rules.ts';

/** Restores of clients, and verifications. */
const READING = /^(reader$|verif)/;
const TypeCount = Type.Object({ groups: Count, snapshots: Count });

export const STATUS_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/status',
    description: 'Space of a datastore; with `verbose` also what is in it and the last garbage collection.',
    access: onStore('Datastore.Audit', 'Datastore.Backup'),
    parameters: Type.Object({ store: StoreName, verbose: Type.Boolean({ default: false }) }),
    returns: Type.Object({
      total: Count,
      used: Count,
      avail: Count,
      'backend-type': Type.Enum(['filesystem']),
      counts: Type.Optional(Type.Record(Type.String(), TypeCount)),
      'gc-status': Type.Optional(GcStatus),
    }),
    handler: async (call, { store, verbose }) => {
      const open = await openStore(call, store);
      const space = { ...spaceOn(open.store.layout.root), 'backend-type': 'filesystem' as const };
      if (!verbose) return space;
      return { ...space, counts: await countsOf(call, open), 'gc-status': gcStatusOf(call.services.tasks, store) };
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/active-operations',
    description:
      'Tasks that write to a datastore, backups of clients among them, and those and downloads that read it.',
    access: onStore('Datastore.Audit'),
    parameters: Type.Object({ store: StoreName }),
    returns: Type.Object({ read: Count, write: Count }),
    handler: async (call, { store }) => {
      await openStore(call, store);
      const { rows } = call.services.tasks.list({ store, running: true, limit: 0 });
      const read = rows.filter(({ type }) => READING.test(type)).length;
      return { read: read + call.downloads.runningIn(store), write: rows.length - read };
    },
  }),
];

async function countsOf(
  call: Call,
  { store }: OpenDatastore,
): Promise<Record<string, { groups: number; snapshots: number }>> {
  const view = call.views.of(store);
  const counts = Object.fromEntries(GROUP_TYPES.map((type) => [type, { groups: 0, snapshots: 0 }]));
  for (const ns of await store.groups.namespaces()) {
    for (const { name, times } of await view.groups(ns)) {
      const count = counts[name.split('/')[0] as string];
      if (count === undefined || times.length === 0) continue;
      count.groups++;
      count.snapshots += times.length;
    }
  }
  return counts;
}
