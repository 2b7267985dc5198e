// Carries out the plan of a prune: removes the snapshots that it names, one by one, each durably, and only those.

import { Type } from 'typebox';
import { Count } from '../../schema/answer-parts.ts';
import { type GroupName, type Namespace, parseGroup, parseNamespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Operation } from '../control/operation.ts';
import type { HeldDatastore } from '../held-datastore.ts';
import { type SnapshotName, snapshotLabel } from '../snapshots/group-store.ts';
import type { PrunePlan, PruneRule } from './plan.ts';

/** What goes, in the order in which it goes. */
export interface PruneRequest {
  readonly ns: Namespace;
  readonly groups: readonly { readonly group: GroupName; readonly times: readonly number[] }[];
}

export interface PruneResult {
  /** Snapshots that are gone now, also by somebody else since the plan was made. */
  readonly removed: number;
  /** Snapshots that were protected, locked or damaged since the plan was made, or whose group is held since: they stay. */
  readonly kept: readonly { readonly snapshot: string; readonly rule: PruneRule }[];
}

/** A request to a holder takes 1 MiB, and a snapshot alone in its group takes at most some 190 bytes of it. */
const MAX_SNAPSHOTS_A_REQUEST = 5000;

/** The removals of a plan as requests to `removePruned`; none when everything stays. */
export function removalsOf(ns: Namespace, plan: PrunePlan): PruneRequest[] {
  const requests: { group: GroupName; times: number[] }[][] = [];
  let room = 0;
  for (const { group, snapshots } of plan.groups) {
    let times = snapshots.filter(({ keep }) => !keep).map(({ time }) => time);
    while (times.length > 0) {
      if (room === 0) {
        requests.push([]);
        room = MAX_SNAPSHOTS_A_REQUEST;
      }
      const fitting = times.slice(0, room);
      requests.at(-1)?.push({ group, times: fitting });
      room -= fitting.length;
      times = times.slice(fitting.length);
    }
  }
  return requests.map((groups) => ({ ns, groups }));
}

/** Throws between two snapshots when it is stopped, or what the disk says; what was removed before stays removed. */
export const removePruned: Operation<PruneRequest, PruneResult> = {
  name: 'prune',
  answer: Type.Object({
    removed: Count,
    kept: Type.Array(Type.Object({ snapshot: Type.String(), rule: Type.String() })),
  }),
  run: async (store, request, { signal }) => {
    const ns = parseNamespace(request.ns);
    const kept: PruneResult['kept'][number][] = [];
    let removed = 0;
    for (const { group, times } of request.groups) {
      for (const time of times) {
        signal.throwIfAborted();
        const name = { ns, group: parseGroup(group), time };
        const rule = await removeOne(store, name);
        if (rule === undefined) removed++;
        else kept.push({ snapshot: snapshotLabel(name), rule });
      }
    }
    return { removed, kept };
  },
};

/** Removes a snapshot, or says what keeps it now. */
async function removeOne(store: HeldDatastore, name: SnapshotName): Promise<PruneRule | undefined> {
  try {
    return (await store.forgetUnlessHeld(name)) ? undefined : 'anomaly';
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    // Gone already: by another prune, or by the first half of this one in a holder that died.
    if (error.code === 'not-found') return undefined;
    if (error.code === 'protected') return 'protected';
    if (error.code === 'retention-locked') return 'locked';
    if (error.code === 'manifest-altered') return 'altered';
    throw error;
  }
}
