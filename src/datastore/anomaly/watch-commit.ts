// What a commit remembers of what its snapshot added, and how it holds a group whose snapshot looks unusual. The hold is durable before the
// snapshot is there: from the moment at which a prune could choose the new snapshot over the old ones, it keeps them all.
import { formatTime, type GroupName, type Namespace } from '../../schema/names.ts';
import type { AddedBytes, AddedOfSpace, Anomaly, GroupState } from '../../schema/state-files.ts';
import type { Layout } from '../layout.ts';
import { readLimits } from '../limits/limits-file.ts';
import { changeServerPart } from '../snapshots/change-server-part.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import { type Added, DEFAULT_FACTOR, judge, judgeKey, REMEMBERED_SNAPSHOTS } from './judge.ts';
import { worthProtecting } from './worth-protecting.ts';

/** Keys of a group, and none, of which it is known what is usual. */
const REMEMBERED_SPACES = 4;

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
  const { bytesNew, bytesStored, isFull } = added;
  const remembered = { bytesNew, bytesStored, ...(isFull === true && { isFull }) };
  const spaces = memories(state);
  const own = spaces.find((each) => each.space === space);
  if (own !== undefined) {
    const jump = judge(added, own.snapshots, factor);
    if (jump !== undefined) return { ...state, anomaly: { time, added: remembered, ...jump, protected: [] } };
  }
  for (const { snapshots } of own === undefined ? spaces : []) {
    const jump = judgeKey(added, snapshots, factor);
    if (jump === undefined) continue;
    return { ...state, anomaly: { time, added: remembered, ...jump, cause: 'key', space, protected: [] } };
  }
  return learned(state, space, [remembered]);
}

/**
 * The state without its anomaly. What is accepted counts twice: the second largest is what is usual. A key that is accepted is one of the group from
 * then on. What was an attack does not count.
 */
export function settled({ anomaly, ...state }: HeldState, wasAttack: boolean): GroupState {
  const { cause, added } = anomaly;
  if (wasAttack) return state;
  if (cause === 'key') return anomaly.space === undefined ? state : learned(state, anomaly.space, [added]);
  return state.added === undefined ? state : learned(state, state.added.space, [added, added]);
}

/** The space that was used last comes first. */
function memories({ added, addedBefore = [] }: GroupState): readonly AddedOfSpace[] {
  return added === undefined ? addedBefore : [added, ...addedBefore];
}

function learned(state: GroupState, space: number, more: readonly AddedBytes[]): GroupState {
  const spaces = memories(state);
  const before = spaces.find((each) => each.space === space)?.snapshots ?? [];
  const others = spaces.filter((each) => each.space !== space).slice(0, REMEMBERED_SPACES - 1);
  const { addedBefore: _, ...rest } = state;
  return {
    ...rest,
    added: { space, snapshots: [...before, ...more].slice(-REMEMBERED_SNAPSHOTS) },
    ...(others.length > 0 && { addedBefore: others }),
  };
}

/**
 * Writes the state of a group that is to be held, and protects those before the anomaly that are worth it. In the turn of the roots, so that none of
 * them is forgotten meanwhile. Returns what could not be protected: a backup is worth more than that.
 */
export async function holdGroup(
  groups: GroupStore,
  ns: Namespace,
  group: GroupName,
  state: HeldState,
): Promise<string[]> {
  const chosen = await worthProtecting(groups, ns, group, state.anomaly.time, Math.floor(Date.now() / 1000));
  const toProtect = chosen.filter(({ isProtected }) => !isProtected).map(({ time }) => time);
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
