// An anomaly in words, for people and for logs.
import { formatTime, type GroupName, type Namespace } from '../../schema/names.ts';
import type { Anomaly } from '../../schema/state-files.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { addedBytes } from './judge.ts';

/** `added 3.1 GiB at 2026-11-20T02:00:00Z, where 150.0 MiB are usual; compression leaves 99 % of it, where 41 % are usual`. */
export function describeAnomaly({ time, added, usual }: Anomaly): string {
  const bytes = addedBytes(added);
  const percent = (share: number): string => `${Math.round(Math.min(1, share) * 100)} %`;
  return [
    `added ${formatBytes(bytes)} at ${formatTime(time)}, where ${formatBytes(usual.bytesNew)} are the most that is usual`,
    `compression leaves ${percent(added.bytesStored / Math.max(1, bytes))} of it, where ${percent(usual.ratio)} are usual`,
  ].join('; ');
}

/** What keeps a group from being pruned, and what to do about it. */
export function heldText(ns: Namespace, group: GroupName, anomaly: Anomaly): string {
  const where = ns === '' ? '' : ` --ns ${ns}`;
  return `${group} ${describeAnomaly(anomaly)}: it is not pruned until somebody has looked at it; then: holdfast anomaly clear ${group}${where}`;
}
