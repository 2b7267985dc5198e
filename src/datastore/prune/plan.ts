// The plan of a prune: for every snapshot whether it stays, and why. Nothing is changed here; what removes takes a plan.
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { heldText } from '../anomaly/describe-anomaly.ts';
import { isHeld } from '../anomaly/watch-commit.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from '../snapshots/group-store.ts';
import { remainingLockMs } from '../snapshots/retention-lock.ts';
import { localPeriods, type Periods, remembered } from './calendar.ts';
import { explainChoice } from './explain.ts';
import { chooseByRules, isKeepRule, isWithoutRules, type KeepCounts, type KeepRule } from './keep-rules.ts';

/**
 * Why a snapshot stays: the rule that chose it; `keep-all` because no rule was given; or because it may not go, or nobody can tell whether
 * it may (`altered`); or because somebody has to look at the group first (`anomaly`).
 */
export type PruneRule = KeepRule | 'keep-all' | 'protected' | 'locked' | 'altered' | 'anomaly';

export interface PlannedSnapshot {
  /** `vm/101/2026-11-20T02:00:00Z`. */
  readonly snapshot: string;
  /** Unix seconds. */
  readonly time: number;
  readonly keep: boolean;
  /** Null for one that goes. */
  readonly rule: PruneRule | null;
  /** Why it stays or goes, in a sentence. */
  readonly reason: string;
}

export interface GroupPlan {
  readonly group: GroupName;
  /** Oldest first. */
  readonly snapshots: readonly PlannedSnapshot[];
}

export interface PrunePlan {
  readonly groups: readonly GroupPlan[];
  /** What the user should know: of manifests that cannot be read, and of groups that are held. */
  readonly warnings: readonly string[];
}

export interface PlanRequest {
  readonly ns: Namespace;
  readonly groups: readonly GroupName[];
  readonly counts: KeepCounts;
  /** Now, by the store clock: a lock that has not expired keeps its snapshot. */
  readonly clockMs: number;
}

/** What planning reads. */
export type SnapshotReader = Pick<GroupStore, 'times' | 'manifest' | 'state'>;

/** Plans a prune of each group by itself. `calendar` is for tests; a plan counts in local time. */
export async function planPrune(
  reader: SnapshotReader,
  request: PlanRequest,
  signal: AbortSignal,
  calendar: (time: number) => Periods = localPeriods,
): Promise<PrunePlan> {
  const groups: GroupPlan[] = [];
  const warnings: string[] = [];
  for (const group of request.groups) {
    const found: FoundSnapshot[] = [];
    for (const time of await reader.times(request.ns, group)) {
      signal.throwIfAborted();
      const snapshot = await look(reader, { ns: request.ns, group, time }, request.clockMs, warnings);
      if (snapshot !== undefined) found.push(snapshot);
    }
    const state = await reader.state(request.ns, group);
    // Who may prune what they own may not see all sizes.
    if (isHeld(state)) warnings.push(heldText(request.ns, group, state.anomaly, false));
    groups.push({ group, snapshots: planGroup(found, request.counts, calendar, isHeld(state)) });
  }
  return { groups, warnings };
}

export interface FoundSnapshot {
  readonly name: SnapshotName;
  readonly hold: 'protected' | 'locked' | 'altered' | undefined;
}

/**
 * Protected and altered snapshots stay and do not count: they take no good one's place. A locked one counts like any other, so that a lock
 * changes no other snapshot's fate; it only stays longer than the rules would have it.
 */
export function planGroup(
  found: readonly FoundSnapshot[],
  counts: KeepCounts,
  calendar: (time: number) => Periods,
  isGroupHeld = false,
): PlannedSnapshot[] {
  const isCounting = ({ hold }: FoundSnapshot): boolean => hold === undefined || hold === 'locked';
  const counting = found.filter(isCounting).map(({ name }) => name.time);
  const aside = found.filter((snapshot) => !isCounting(snapshot)).map(({ name }) => name.time);
  const periods = remembered(calendar, [...counting, ...aside]);
  const choice = chooseByRules(counting, counts, periods);
  const why = explainChoice({ counting, aside }, counts, choice, periods);
  const ruleOf = ({ name, hold }: FoundSnapshot): PruneRule | null => {
    if (hold === 'protected' || hold === 'altered') return hold;
    if (isWithoutRules(counts)) return 'keep-all';
    return choice.kept.get(name.time)?.rule ?? hold ?? (isGroupHeld ? 'anomaly' : null);
  };
  return found.map((snapshot) => {
    const rule = ruleOf(snapshot);
    const { time } = snapshot.name;
    return {
      snapshot: snapshotLabel(snapshot.name),
      time,
      keep: rule !== null,
      rule,
      reason: reasonOf(rule, time, why),
    };
  });
}

/** Of what stays whatever the keep rules say. */
const HELD_REASONS: Readonly<Record<Exclude<PruneRule, KeepRule | 'locked' | 'anomaly'>, string>> = {
  'keep-all': 'no keep rule was given',
  protected: 'protected: it stays, and takes no place of another one',
  altered: 'its manifest was altered: nobody can tell whether it may go',
};

function reasonOf(rule: PruneRule | null, time: number, why: (time: number) => string): string {
  if (rule === 'anomaly') return `somebody has to look at its group first (anomaly); else it would go: ${why(time)}`;
  if (rule === 'locked') return `locked; without the lock it would go: ${why(time)}`;
  return rule === null || isKeepRule(rule) ? why(time) : HELD_REASONS[rule];
}

/** Undefined when the snapshot was removed meanwhile. */
async function look(
  reader: SnapshotReader,
  name: SnapshotName,
  clockMs: number,
  warnings: string[],
): Promise<FoundSnapshot | undefined> {
  let manifest: Manifest | undefined;
  try {
    manifest = await reader.manifest(name);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
    warnings.push(`${snapshotLabel(name)} is kept and does not count: ${error.message}`);
    return { name, hold: 'altered' };
  }
  if (manifest === undefined) return undefined;
  return { name, hold: holdOf(manifest, clockMs) };
}

function holdOf({ server }: Manifest, clockMs: number): FoundSnapshot['hold'] {
  if (server.protected) return 'protected';
  return remainingLockMs(server, clockMs) > 0 ? 'locked' : undefined;
}
