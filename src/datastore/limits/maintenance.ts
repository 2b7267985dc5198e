// Maintenance modes: read-only refuses everything that changes snapshots or frees space, offline everything. Work that is under way
// when a mode is set goes on to its end; a server ends what it does in a datastore that goes offline, and closes it.
import type { Limits } from '../../schema/limits-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import { readLimits } from './limits-file.ts';

/** @throws `datastore-maintenance` when the datastore is offline. */
export async function requireOnline(layout: Layout): Promise<Limits> {
  const limits = await readLimits(layout);
  if (limits.maintenance.mode === 'offline') throw underMaintenance(layout, limits, 'is offline');
  return limits;
}

/** `what` is what cannot be done now. @throws `datastore-maintenance` when the datastore is offline or read-only. */
export async function requireWritable(layout: Layout, what: string): Promise<Limits> {
  const limits = await requireOnline(layout);
  if (limits.maintenance.mode === 'read-only')
    throw underMaintenance(layout, limits, `is read-only, which excludes ${what}`);
  return limits;
}

function underMaintenance(layout: Layout, { maintenance }: Limits, state: string): HoldfastError {
  const message = maintenance.message === '' ? '' : ` (${maintenance.message})`;
  return new HoldfastError(
    'datastore-maintenance',
    `${layout.root} ${state} for maintenance${message}; wait for its end: holdfast datastore set --maintenance none`,
    { data: { mode: maintenance.mode, message: maintenance.message } },
  );
}
