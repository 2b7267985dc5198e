// What tasks do with a datastore, whoever starts them: a call of the API or a job.
import { collectGarbage, type GcReport } from '../../datastore/gc/gc-operation.ts';
import type { HeldDatastore } from '../../datastore/held-datastore.ts';
import type { KeepCounts } from '../../datastore/prune/keep-rules.ts';
import { type GroupPlan, planPrune } from '../../datastore/prune/plan.ts';
import { removalsOf, removePruned } from '../../datastore/prune/prune-operation.ts';
import { type SnapshotName, snapshotLabel } from '../../datastore/snapshots/group-store.ts';
import { damageLines, refuseDamage } from '../../datastore/verify/damage-report.ts';
import { verify } from '../../datastore/verify/verify-operation.ts';
import type { TaskWork } from '../../jobs/tasks/task.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { OpenDatastore } from '../services.ts';
import { changing } from '../snapshots/owned-groups.ts';

const DAY_MS = 24 * 3600 * 1000;

type OpenStore = Pick<OpenDatastore, 'name' | 'store'>;

/** Frees what no snapshot needs. */
export async function collectAll({ name, store }: OpenStore, task: TaskWork): Promise<GcReport> {
  task.log(`starting garbage collection on store ${name}`);
  const request = { dryRun: false, audit: false, rateLimitBytes: null };
  const report = await changing(name, () => collectGarbage.run(store, request, task));
  for (const [member, value] of Object.entries(report)) task.log(`${member}: ${value}`);
  return report;
}

/** What would stay and go of a group. `warn` hears of what cannot be judged, and of a group that is held. */
export async function planOf(
  store: HeldDatastore,
  ns: Namespace,
  group: GroupName,
  counts: KeepCounts,
  { signal, warn }: { readonly signal: AbortSignal; warn?(message: string): void },
): Promise<GroupPlan> {
  const plan = await planPrune(store.groups, { ns, groups: [group], counts, clockMs: store.clockMs }, signal);
  for (const message of plan.warnings) warn?.(message);
  return plan.groups[0] as GroupPlan;
}

/** The plan, and what came of it. */
export interface PrunedGroup extends GroupPlan {
  /** Snapshots that are gone now. */
  readonly removed: number;
}

/** Removes what the plan of a group says, as far as it is still so when it goes: a backup that runs beside it changes the plan. */
export async function pruneGroup(
  { store, name }: OpenStore,
  ns: Namespace,
  group: GroupName,
  counts: KeepCounts,
  work: TaskWork,
): Promise<PrunedGroup> {
  const plan = await planOf(store, ns, group, counts, work);
  logPlan(ns, plan, work);
  let removed = 0;
  for (const request of removalsOf(ns, { groups: [plan], warnings: [] })) {
    const result = await changing(name, () => removePruned.run(store, request, work));
    removed += result.removed;
    for (const { snapshot, rule } of result.kept) work.warn(`${snapshot} stays: it became ${rule} meanwhile`);
  }
  work.log(`removed ${removed} snapshots of ${group}, ${plan.snapshots.length - removed} stay`);
  return { ...plan, removed };
}

/** A line for each snapshot: what becomes of it, and why. */
export function logPlan(ns: Namespace, { group, snapshots }: GroupPlan, work: TaskWork): void {
  const going = snapshots.filter(({ keep }) => !keep).length;
  const where = ns === '' ? group : `${group} in namespace ${ns}`;
  work.log(`${where}: of ${snapshots.length} snapshots ${going} go`);
  for (const { snapshot, keep, reason } of snapshots) work.log(`  ${keep ? 'keep' : 'remove'} ${snapshot} (${reason})`);
}

/** Since when what was proved needs no reading, in Unix milliseconds; `days` counts only when what was proved is left out. */
export function provedSince(nowMs: number, ignoreVerified: boolean, days: number | undefined): number {
  if (!ignoreVerified) return nowMs;
  return days === undefined ? 0 : nowMs - days * DAY_MS;
}

/** Goes through all, and throws at the end when anything was damaged. */
export async function verifyAll(
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
