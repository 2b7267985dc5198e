// The manifests that a session may see, told to all threads in memory that they share: groups with their labels, not a path of each, for an
// owner may have 100,000 and there may be many sessions.
import { manifestPathIn } from '../snapshots/manifest-path.ts';

/** The snapshots of a group at one moment. */
export interface GroupLabels {
  readonly groupPath: string;
  /** Unix seconds. */
  readonly times: readonly number[];
}

export interface SharedManifests {
  /** Paths of groups, each with its end. */
  readonly groups: SharedArrayBuffer;
  /** For each group how many labels it has, and these. */
  readonly labels: SharedArrayBuffer;
}

const END = '\0';

export function shareManifests(groups: readonly GroupLabels[]): SharedManifests {
  const paths = Buffer.from(groups.map(({ groupPath }) => groupPath + END).join(''));
  const shared = new SharedArrayBuffer(paths.length);
  Buffer.from(shared).set(paths);
  const count = groups.reduce((sum, { times }) => sum + 1 + times.length, 0);
  const labels = new Float64Array(new SharedArrayBuffer(count * Float64Array.BYTES_PER_ELEMENT));
  let at = 0;
  for (const { times } of groups) {
    labels[at] = times.length;
    labels.set(times, at + 1);
    at += 1 + times.length;
  }
  return { groups: shared, labels: labels.buffer };
}

/** The paths of the manifests, made one by one. */
export function* eachManifest(shared: SharedManifests): Generator<string, undefined> {
  const paths = Buffer.from(shared.groups);
  const labels = new Float64Array(shared.labels);
  let at = 0;
  for (let start = 0; start < paths.length; ) {
    const end = paths.indexOf(END, start);
    const groupPath = paths.toString('utf8', start, end);
    const last = at + (labels[at] as number);
    while (at++ < last) yield manifestPathIn(groupPath, labels[at] as number);
    start = end + 1;
  }
}
