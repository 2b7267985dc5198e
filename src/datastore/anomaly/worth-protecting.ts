// Which snapshots before an anomaly are protected. Not simply the newest: whoever plans an attack makes a few of nothing first. So they are as large
// as usual, and two of them are older, which nobody makes in an evening.
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';

const NEWEST = 3;
const DAY_SECONDS = 24 * 3600;
/** Of those that are so much older than the anomaly the newest too. */
const AGES_SECONDS = [DAY_SECONDS, 7 * DAY_SECONDS];
/** So many say what size is usual, and so many are looked at for each of them that is older. */
const LOOKED_AT = 14;
/** Of the usual size. */
const LEAST_SHARE = 0.5;

export interface Candidate {
  readonly time: number;
  readonly isProtected: boolean;
}

interface Seen extends Candidate {
  readonly sizeBytes: number;
  readonly isDamaged: boolean;
}

/**
 * Of the snapshots before `anomalyTime`, the newest first; fewer only where there are fewer that can be read. `now` in Unix seconds: a client chooses
 * its label, and one in the future makes nothing older.
 */
export async function worthProtecting(
  groups: GroupStore,
  ns: Namespace,
  group: GroupName,
  anomalyTime: number,
  now: number,
): Promise<readonly Candidate[]> {
  const times = (await groups.times(ns, group)).filter((time) => time < anomalyTime).reverse();
  const seen = new Map<number, Seen | undefined>();
  const look = async (time: number): Promise<Seen | undefined> => {
    if (seen.has(time)) return seen.get(time);
    const manifest = await readableManifest(groups, { ns, group, time });
    const found = manifest && {
      time,
      isProtected: manifest.server.protected,
      sizeBytes: manifest.client.archives.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      isDamaged: manifest.server.damaged,
    };
    seen.set(time, found);
    return found;
  };
  const newest: Seen[] = [];
  for (const time of times) {
    if (newest.length === LOOKED_AT) break;
    const found = await look(time);
    if (found !== undefined) newest.push(found);
  }
  const least = usualSize(newest) * LEAST_SHARE;
  const isNormal = ({ sizeBytes, isDamaged }: Seen): boolean => !isDamaged && sizeBytes >= least;
  // Where too few are normal the others are better than none.
  const ordered = [...newest.filter(isNormal), ...newest.filter((each) => !isNormal(each))];
  const chosen = new Map(ordered.slice(0, NEWEST).map((each) => [each.time, each]));
  for (const age of AGES_SECONDS)
    for (const time of times.filter((each) => each <= Math.min(anomalyTime, now) - age).slice(0, LOOKED_AT)) {
      const found = await look(time);
      if (found === undefined || !isNormal(found)) continue;
      chosen.set(time, found);
      break;
    }
  return [...chosen.values()].sort((a, b) => b.time - a.time);
}

/** The median: a few snapshots of nothing, or of far too much, do not move it. */
function usualSize(seen: readonly Seen[]): number {
  const sizes = seen.map(({ sizeBytes }) => sizeBytes).sort((a, b) => a - b);
  return sizes[Math.floor(sizes.length / 2)] ?? 0;
}
