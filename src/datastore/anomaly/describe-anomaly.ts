// An anomaly in words, for people and for logs.
import { PLAIN_SPACE } from '../../chunker/object.ts';
import { formatTime, type GroupName, type Namespace } from '../../schema/names.ts';
import type { Anomaly } from '../../schema/state-files.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { addedBytes } from './judge.ts';

/**
 * `added 3.1 GiB at 2026-11-20T02:00:00Z, where 150.0 MiB are the most that is usual; compression leaves 99 % of it, where 41 % are usual`. Without
 * figures for whoever may not see sizes: they show what others have stored (rule S7).
 */
export function describeAnomaly({ time, added, usual, cause, space }: Anomaly, seesSizes: boolean): string {
  const bytes = addedBytes(added);
  if (cause === 'repair') return 'has protected snapshots, and lost in a repair whether it was held';
  if (cause === 'key') {
    const key = space === PLAIN_SPACE ? 'without its key' : 'with a key that it has not had before';
    return `was backed up ${key} at ${formatTime(time)}${seesSizes ? `, which added ${formatBytes(bytes)}` : ''}`;
  }
  if (!seesSizes) return `added far more than usual at ${formatTime(time)}`;
  const percent = (share: number): string => `${Math.round(Math.min(1, share) * 100)} %`;
  return [
    `added ${formatBytes(bytes)} at ${formatTime(time)}, where ${formatBytes(usual.bytesNew)} are the most that is usual`,
    `compression leaves ${percent(added.bytesStored / Math.max(1, bytes))} of it, where ${percent(usual.ratio)} are usual`,
  ].join('; ');
}

/** What keeps a group from being pruned, and what to do about it. */
export function heldText(ns: Namespace, group: GroupName, anomaly: Anomaly, seesSizes: boolean): string {
  return `${group} ${describeAnomaly(anomaly, seesSizes)}: it is not pruned until somebody has looked at it; then: ${clearCommand(ns, group)}`;
}

export function clearCommand(ns: Namespace, group: GroupName): string {
  return `holdfast anomaly clear ${group}${ns === '' ? '' : ` --ns ${ns}`}`;
}
