// GET /status/datastore-usage: space of every datastore, for those who watch.
import { type Static, Type } from 'typebox';
import { Count } from '../../../schema/answer-parts.ts';
import { type Call, callerOf, defineMethod } from '../../method.ts';
import type { DatastoreEntry } from '../../services.ts';
import { seesStore, unavailable } from '../../snapshots/owned-groups.ts';
import { GcStatus, gcStatusOf } from '../../stores/gc-status.ts';
import { readStoreLimits } from '../../stores/store-options.ts';
import { spaceOn } from '../../stores/store-space.ts';

const Row = Type.Object({
  store: Type.String(),
  'mount-status': Type.Enum(['nonremovable']),
  'backend-type': Type.Enum(['filesystem']),
  total: Type.Optional(Count),
  used: Type.Optional(Count),
  avail: Type.Optional(Count),
  error: Type.Optional(Type.String({ description: 'Why there are no figures.' })),
  'gc-status': Type.Optional(GcStatus),
  'estimated-full-date': Type.Optional(
    Type.Integer({ description: 'Unix seconds; 0 for not in sight. Missing while there is too little to tell from.' }),
  ),
});

export const USAGE_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/status/datastore-usage',
    description: 'Space and the last garbage collection of each datastore that the caller may look at.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: async (call) => {
      const { datastores, permissions } = call.services;
      const caller = callerOf(call);
      const rows: Static<typeof Row>[] = [];
      for (const entry of datastores.list()) {
        const path = `/datastore/${entry.name}`;
        const seesUsage = (['Datastore.Audit', 'Datastore.Backup'] as const).some((each) =>
          permissions.has(caller, path, each),
        );
        if (seesUsage) rows.push(await rowOf(call, entry));
        else if (seesStore(permissions, caller, entry.name)) rows.push(headOf(entry));
      }
      return rows;
    },
  }),
];

function headOf({ name }: DatastoreEntry): Static<typeof Row> {
  return { store: name, 'mount-status': 'nonremovable', 'backend-type': 'filesystem' };
}

async function rowOf({ services, forecasts }: Call, entry: DatastoreEntry): Promise<Static<typeof Row>> {
  const { datastores, tasks, clock } = services;
  const head = headOf(entry);
  try {
    const { maintenance } = await readStoreLimits(entry);
    if (maintenance.mode === 'offline') return { ...head, error: unavailable(entry.name, maintenance).message };
    // The space of its file system says nothing of one that nobody can use, such as one of a newer version.
    const { reason } = datastores.state(entry.name);
    if (reason !== undefined) return { ...head, error: reason };
    const space = spaceOn(entry.path);
    const full = await forecasts.fullAt(entry.path, space.avail, Math.floor(clock() / 1000));
    return {
      ...head,
      ...space,
      'gc-status': gcStatusOf(tasks, entry.name),
      ...(full === undefined ? {} : { 'estimated-full-date': full }),
    };
  } catch (error) {
    // One that cannot be reached must not hide the others.
    return { ...head, error: (error as Error).message };
  }
}
