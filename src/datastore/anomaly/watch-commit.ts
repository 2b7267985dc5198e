// What a commit remembers of what its snapshot added, and how it holds a group whose snapshot looks unusual. The hold is durable before the
// snapshot is there: from the moment at which a prune could choose the new snapshot over the old ones, it keeps them all.
import { formatTime, type GroupName, type Namespace } from '../../schema/names.ts';
import type { Anomaly, GroupState } from '../../schema/state-files.ts';
import type { Layout } from '../layout.ts';
import { readLimits } from '../limits/limits-file.ts';
import { changeServerPart } from '../snapshots/change-server-part.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';
import { type Added, DEFAULT_FACTOR, judge, REMEMBERED_SNAPSHOTS } from './judge.ts';

/** Of the newest snapshots before an anomaly so many are protected. */
const PROTECTED_SNAPSHOTS = 3;

/** From how many times the usual a snapshot is an anomaly. A file of limits that cannot be read keeps no backup from its end here. */
export async function anomalyFactor(layout: Layout): Promise<number> {
  try {
    return (await readLimits(layout)).anomalyFactor ?? DEFAULT_FACTOR;
  } catch {
    return DEFAULT_FACTOR;
  }
}

export interface NewSnapshot {
  readonly time: number;
  readonly space: number;
  readonly added: Added;
}

export type HeldState = GroupState & { readonly anomaly: Anomaly };

export function isHeld(state: GroupState | undefined): state is HeldState {
  return state?.anomaly !== undefined;
}

/**
 * The group's state with what it is to remember, or with the anomaly when this snapshot is one. From then on until somebody has settled it nothing
 * is learned: who attacks goes on, and must not make it usual.
 */
export function watched(state: GroupState, { time, space, added }: NewSnapshot, factor: number): GroupState {
  if (isHeld(state)) return state;
  const before = state.added?.space === space ? state.added.snapshots : [];
  const { bytesNew, bytesStored, isFull } = added;
  const remembered = { bytesNew, bytesStored, ...(isFull === true && { isFull }) };
  const jump = judge(added, before, factor);
  if (jump !== undefined) return { ...state, anomaly: { time, added: remembered, ...jump, protected: [] } };
  return { ...state, added: { space, snapshots: [...before, remembered].slice(-REMEMBERED_SNAPSHOTS) } };
}

/** The state without its anomaly. What is accepted counts twice: the second largest is what is usual. What was an attack does not count. */
export function settled({ anomaly, ...state }: HeldState, wasAttack: boolean): GroupState {
  if (wasAttack || state.added === undefined) return state;
  const { space, snapshots } = state.added;
  return {
    ...state,
    added: { space, snapshots: [...snapshots, anomaly.added, anomaly.added].slice(-REMEMBERED_SNAPSHOTS) },
  };
}

/**
 * Writes the state of a group that is to be held, and protects the last snapshots before the anomaly. In the turn of the roots, so that none of
 * them is forgotten meanwhile. Returns what could not be protected: a backup is worth more than that.
 */
export async function holdGroup(
  groups: GroupStore,
  ns: Namespace,
  group: GroupName,
  state: HeldState,
): Promise<string[]> {
  const toProtect: number[] = [];
  let kept = 0;
  for (const time of (await groups.times(ns, group)).reverse()) {
    if (kept === PROTECTED_SNAPSHOTS) break;
    const manifest = await readableManifest(groups, { ns, group, time });
    if (manifest === undefined) continue;
    kept++;
    if (!manifest.server.protected) toProtect.push(time);
  }
  // Named first: whoever settles the anomaly takes back what was done of it, also when this ends halfway.
  await groups.writeState(ns, group, { ...state, anomaly: { ...state.anomaly, protected: toProtect } });
  const failed: string[] = [];
  for (const time of toProtect) {
    try {
      await changeServerPart(groups, { ns, group, time }, () => ({ protected: true }));
    } catch (error) {
      failed.push(`${group}/${formatTime(time)} could not be protected: ${(error as Error).message}`);
    }
  }
  return failed;
}
