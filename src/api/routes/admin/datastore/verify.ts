// POST /admin/datastore/{store}/verify: a datastore, a group or a snapshot, in a task.

import { Type } from 'typebox';
import type { HeldDatastore } from '../../../../datastore/held-datastore.ts';
import type { SnapshotName } from '../../../../datastore/snapshots/group-store.ts';
import { snapshotLabel } from '../../../../datastore/snapshots/group-store.ts';
import { damageLines, refuseDamage } from '../../../../datastore/verify/damage-report.ts';
import { verify } from '../../../../datastore/verify/verify-operation.ts';
import type { TaskWork } from '../../../../jobs/tasks/task.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { type Call, defineMethod } from '../../../method.ts';
import { findGroup, findNamespace, findSnapshot, visibleGroups } from '../../../snapshots/owned-groups.ts';
import { startTask } from '../../../start-task.ts';
import { BackupId, BackupTime, BackupType, OfNamespace } from '../../parameters.ts';
import { onContent } from './rules.ts';

const DAY_MS = 24 * 3600 * 1000;

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
      const now = call.services.clock();
      const provedSinceMs = !skip ? now : days === undefined ? 0 : now - days * DAY_MS;
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

/** Goes through all, and throws at the end when anything was damaged. */
async function verifyAll(
  store: HeldDatastore,
  snapshots: readonly SnapshotName[] | null,
  provedSinceMs: number,
  task: TaskWork,
): Promise<void> {
  const failures: Error[] = [];
  for (const snapshot of snapshots ?? [null]) {
    task.signal.throwIfAborted();
    task.log(snapshot === null ? 'verify datastore' : `verify ${snapshotLabel(snapshot)}`);
    try {
      const report = await verify.run(store, { snapshot, provedSinceMs, rateLimitBytes: null }, task);
      for (const line of damageLines(report)) task.log(line);
      task.log(
        `  ${report.packsRead} packs read, ${report.packsSkipped} verified lately, ${report.recordsRead} records`,
      );
      refuseDamage(report);
    } catch (error) {
      if (
        !(error instanceof HoldfastError) ||
        !['object-damaged', 'manifest-altered', 'not-found'].includes(error.code)
      )
        throw error;
      // Forgotten since the task began: nothing to verify.
      if (error.code === 'not-found') task.log(`  skipped: ${error.message}`);
      else failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (first === undefined) return;
  throw others.length === 0
    ? first
    : new HoldfastError('object-damaged', `${failures.length} snapshots are damaged; the log names them`);
}
