// What a schedule of backups and keep rules come to: steps through time, makes a snapshot at each of its times, and prunes by the rules of a
// real prune whenever one is due, so that each prune finds what the ones before it left.
import { parseGroup, parseNamespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { localPeriods, type Periods, remembered } from './calendar.ts';
import { chooseByRules, isWithoutRules, type KeepCounts } from './keep-rules.ts';
import { type PlannedSnapshot, planGroup } from './plan.ts';

/** Backups of one simulation, and prunes. */
export const MAX_SIMULATED = 20_000;
/** Snapshots that all prunes of a simulation look at together: some seconds. */
const MAX_LOOKED_AT = 10_000_000;

export interface SimulationRequest {
  /** When snapshots are made: Unix seconds, ascending, none twice. */
  readonly backups: readonly number[];
  /** When they are pruned, alike; at the same second after the backup. Null is after each backup. */
  readonly prunes: readonly number[] | null;
  readonly counts: KeepCounts;
}

export interface Simulation {
  readonly made: number;
  /** Prunes. */
  readonly pruned: number;
  /** Most snapshots that were there at the same time. */
  readonly most: number;
  /** What is there at the end, oldest first; `keep` says whether one more prune would keep it. */
  readonly snapshots: readonly Omit<PlannedSnapshot, 'snapshot'>[];
}

/** @throws `too-many` above the limits. `calendar` is for tests. */
export function simulatePrune(
  { backups, prunes, counts }: SimulationRequest,
  calendar: (time: number) => Periods = localPeriods,
): Simulation {
  requireAtMost('backups', backups.length);
  requireAtMost('prunes', prunes?.length ?? 0);
  const periodsOf = remembered(calendar, backups);
  let there: number[] = [];
  let [pruned, most, lookedAt] = [0, 0, 0];
  const prune = (): void => {
    pruned++;
    if (isWithoutRules(counts)) return;
    lookedAt += there.length;
    if (lookedAt > MAX_LOOKED_AT) throw tooMuch();
    const { kept } = chooseByRules(there, counts, periodsOf);
    if (kept.size < there.length) there = there.filter((time) => kept.has(time));
  };
  let next = 0;
  const pruneWhile = (isDue: (time: number) => boolean): void => {
    for (; prunes !== null && next < prunes.length && isDue(prunes[next] as number); next++) prune();
  };
  for (const time of backups) {
    pruneWhile((due) => due < time);
    there.push(time);
    most = Math.max(most, there.length);
    if (prunes === null) prune();
  }
  pruneWhile(() => true);
  const name = { ns: parseNamespace(''), group: parseGroup('host/simulated') };
  const found = there.map((time) => ({ name: { ...name, time }, hold: undefined }));
  const snapshots = planGroup(found, counts, periodsOf).map(({ snapshot: _, ...row }) => row);
  return { made: backups.length, pruned, most, snapshots };
}

function requireAtMost(what: string, count: number): void {
  if (count <= MAX_SIMULATED) return;
  throw new HoldfastError(
    'too-many',
    `these would be more than ${MAX_SIMULATED} ${what}: simulate a shorter time, or a schedule with fewer of them`,
  );
}

function tooMuch(): HoldfastError {
  return new HoldfastError(
    'too-large',
    `all prunes together would look at more than ${MAX_LOOKED_AT} snapshots: prune less often (--prune-schedule daily), simulate a shorter time, or keep fewer`,
  );
}
