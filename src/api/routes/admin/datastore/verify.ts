// POST /admin/datastore/{store}/verify: a datastore, a group or a snapshot, in a task.

import { Type } from 'typebox';
import type { HeldDatastore } from '../../../../datastore/held-datastore.ts';
import type { SnapshotName } from '../../../../datastore/snapshots/group-store.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { type Call, defineMethod } from '../../../method.ts';
import { findGroup, findNamespace, findSnapshot, visibleGroups } from '../../../snapshots/owned-groups.ts';
import { startTask } from '../../../start-task.ts';
import { provedSince, verifyAll } from '../../../stores/store-work.ts';
import { BackupId, BackupTime, BackupType, OfNamespace } from '../../parameters.ts';
import { onContent } from './rules.ts';

interface Target {
  readonly store: HeldDatastore;
  readonly type: string;
  readonly id: string;
  /** Null for the whole datastore. */
  readonly snapshots: readonly SnapshotName[] | null;
}

interface Asked {
  readonly store: string;
  readonly ns?: string;
  readonly 'backup-type'?: 'vm' | 'ct' | 'host';
  readonly 'backup-id'?: string;
  readonly 'backup-time'?: number;
}

export const VERIFY_METHODS = [
  defineMethod({
    method: 'POST',
    path: '/admin/datastore/{store}/verify',
    description: 'Reads what is stored and says what is damaged. Answers the task, which fails when something is.',
    access: onContent(['Datastore.Verify'], 'Datastore.Backup'),
    parameters: Type.Object({
      ...OfNamespace,
      'backup-type': Type.Optional(BackupType),
      'backup-id': Type.Optional(BackupId),
      'backup-time': Type.Optional(BackupTime),
      'ignore-verified': Type.Boolean({ default: true, description: 'Leave out what was read and found whole,' }),
      'outdated-after': Type.Optional(
        Type.Integer({ minimum: 0, maximum: 100_000, description: 'but not when that was so many days ago.' }),
      ),
    }),
    returns: Type.String(),
    handler: async (call, { 'ignore-verified': skip, 'outdated-after': days, ...asked }) => {
      const { store, type, id, snapshots } = await targetOf(call, asked);
      const provedSinceMs = provedSince(call.services.clock(), skip, days);
      return startTask(call, { type, id }, (task) => verifyAll(store, snapshots, provedSinceMs, task)).upid;
    },
  }),
];

async function targetOf(call: Call, asked: Asked): Promise<Target> {
  const { 'backup-type': type, 'backup-id': id, 'backup-time': time } = asked;
  const ns = asked.ns ?? '';
  if (type === undefined && id === undefined && time === undefined) {
    const found = await findNamespace(call, asked);
    const { store } = found.open;
    if (ns === '' && !call.onlyOwn) return { store, type: 'verify', id: asked.store, snapshots: null };
    const groups = await visibleGroups(call, found);
    const snapshots = groups.flatMap(({ name, times }) =>
      times.map((each) => ({ ns: found.ns, group: name, time: each })),
    );
    return { store, type: 'verify', id: ns === '' ? asked.store : `${asked.store}:${ns}`, snapshots };
  }
  if (type === undefined || id === undefined) {
    const missing = [...(type === undefined ? ['backup-type'] : []), ...(id === undefined ? ['backup-id'] : [])];
    throw new ParameterError(missing.map((name) => [name, 'parameter is missing and it is not optional.']));
  }
  const where = { ...asked, 'backup-type': type, 'backup-id': id };
  const label = `${asked.store}:${ns}/${type}/${id}`;
  if (time === undefined) {
    const { open, ns: inside, group } = await findGroup(call, where);
    const snapshots = group.times.map((each) => ({ ns: inside, group: group.name, time: each }));
    return { store: open.store, type: 'verify_group', id: label, snapshots };
  }
  const { open, name } = await findSnapshot(call, { ...where, 'backup-time': time });
  const hex = time.toString(16).toUpperCase().padStart(8, '0');
  return { store: open.store, type: 'verify_snapshot', id: `${label}/${hex}`, snapshots: [name] };
}
