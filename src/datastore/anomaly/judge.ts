// Whether a snapshot adds far more than is usual in its group, as when somebody encrypts a guest's files: many bytes are new at once, and they no
// longer compress. Pure: figures in, a verdict out.
import type { AddedBytes, Anomaly } from '../../schema/state-files.ts';

/** What is usual is learned from so many snapshots, */
export const REMEMBERED_SNAPSHOTS = 14;
/** and nothing is judged before there are so many that had a base. */
export const LEAST_SNAPSHOTS = 5;
/** How many times the usual is an anomaly, where nobody has said otherwise. */
export const DEFAULT_FACTOR = 10;
/** Less than this, or than this share of what is backed up, is nobody's concern: an update of the guest may bring it any night. */
const LEAST_USUAL_BYTES = 32 * 1024 * 1024;
const LEAST_USUAL_SHARE = 0.005;
const MOST_LEAST_BYTES = 1024 ** 3;
/** Snapshots that added less say nothing of how a guest's data compresses: theirs are mostly lists. */
const TELLING_BYTES = 1024 * 1024;
/** Where nothing tells. */
const PRESUMED_RATIO = 0.5;
/** Logs compress so well that anything beside them would look like noise. */
const LEAST_RATIO = 0.2;

export interface Added extends AddedBytes {
  /** All that the snapshot holds. */
  readonly bytesLogical: number;
}

export type Jump = Pick<Anomaly, 'usual' | 'score'>;

/**
 * Undefined when it is as usual, or there is too little to tell from. The score is how many times the usual was added, times how much worse it
 * compresses: an alarm from `factor` on, 0 for never. `before` are the snapshots of the group before it, the newest last.
 */
export function judge(added: Added, before: readonly AddedBytes[], factor: number): Jump | undefined {
  const increments = before.filter(({ isFull }) => isFull !== true);
  // A full one is all new, and there is nothing before it that could be kept.
  if (factor === 0 || added.isFull === true || increments.length < LEAST_SNAPSHOTS) return undefined;
  const jump = measured(added, increments, before);
  return addedBytes(added) <= jump.usual.bytesNew || jump.score < factor ? undefined : jump;
}

/**
 * For a snapshot of a space that its group has not had, `before` those of one that it has: with another key all is new, which tells nothing, and so
 * it is the key itself that is unusual. Undefined as long as there is too little to say what is usual.
 */
export function judgeKey(added: Added, before: readonly AddedBytes[], factor: number): Jump | undefined {
  const increments = before.filter(({ isFull }) => isFull !== true);
  return factor === 0 || increments.length < LEAST_SNAPSHOTS ? undefined : measured(added, increments, before);
}

function measured(added: Added, increments: readonly AddedBytes[], before: readonly AddedBytes[]): Jump {
  const usual = { bytesNew: usualBytes(increments, added.bytesLogical), ratio: usualRatio(before) };
  const bytes = addedBytes(added);
  const ratio = Math.min(1, added.bytesStored / Math.max(1, bytes));
  return { usual, score: (bytes / usual.bytesNew) * Math.max(1, ratio / usual.ratio) };
}

/** What a retry continued from is on disk, and counted nowhere else. */
export function addedBytes({ bytesNew, bytesStored }: AddedBytes): number {
  return Math.max(bytesNew, bytesStored);
}

/** The second largest of them: what comes once, such as an upgrade, is not usual; what comes every week is. */
function usualBytes(increments: readonly AddedBytes[], bytesLogical: number): number {
  const [, second = 0] = increments.map(addedBytes).sort((a, b) => b - a);
  // Whole bytes: it is kept in a file that takes nothing else.
  const share = Math.floor(bytesLogical * LEAST_USUAL_SHARE);
  return Math.max(second, LEAST_USUAL_BYTES, Math.min(share, MOST_LEAST_BYTES));
}

function usualRatio(before: readonly AddedBytes[]): number {
  const telling = before.filter((each) => addedBytes(each) >= TELLING_BYTES);
  const [bytes, stored] = [addedBytes, ({ bytesStored }: AddedBytes) => bytesStored].map((of) =>
    telling.reduce((sum, each) => sum + of(each), 0),
  ) as [number, number];
  return bytes === 0 ? PRESUMED_RATIO : Math.min(1, Math.max(LEAST_RATIO, stored / bytes));
}
