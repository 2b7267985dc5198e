// Removes the snapshots of a group, but those that may not go, and lets go of the group when none is left.
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import type { Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { GroupView } from './snapshot-views.ts';

export interface RemovalCounts {
  'removed-groups': number;
  'removed-snapshots': number;
  /** Protected ones, and those whose retention lock lasts. */
  'protected-snapshots': number;
}

export const NONE_REMOVED: Readonly<RemovalCounts> = {
  'removed-groups': 0,
  'removed-snapshots': 0,
  'protected-snapshots': 0,
};

/** What was removed before `signal` aborts stays removed. */
export async function removeSnapshots(
  store: HeldDatastore,
  ns: Namespace,
  { name, times }: GroupView,
  signal: AbortSignal,
): Promise<RemovalCounts> {
  const counts = { ...NONE_REMOVED };
  for (const time of times) {
    signal.throwIfAborted();
    try {
      await store.forget({ ns, group: name, time });
      counts['removed-snapshots']++;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (error.code === 'protected' || error.code === 'retention-locked') counts['protected-snapshots']++;
      else if (error.code !== 'not-found') throw error;
    }
  }
  if (counts['protected-snapshots'] === 0) {
    await store.keeping.releaseGroup(ns, name);
    counts['removed-groups']++;
  }
  return counts;
}
