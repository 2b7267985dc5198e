// The time label of a new snapshot: max(now or the wanted time, last + 1 s). A clock is never a reason to refuse a backup; one that
// cannot be right marks the snapshot and is said (rule D8).
import { formatTime, MAX_TIME } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

/** No backup by this program is older than the program. */
const EARLIEST_PLAUSIBLE = Date.UTC(2026, 0, 1) / 1000;
/** A label further than this after the group's last one, and after today's program, points to a wrong clock. */
const LARGEST_PLAUSIBLE_GAP = 3 * 366 * 24 * 3600;

/** Snapshots of one group that follow each other within seconds get labels a little ahead of the clock; that is no fault of it. */
const QUICK_SUCCESSION = 60;

export interface Label {
  /** Unix seconds. */
  readonly time: number;
  readonly suspect: boolean;
  readonly warning: string | undefined;
}

/**
 * `now`, `wanted` and `last` in Unix seconds; `last` is the group's high-water mark.
 * @throws `bad-argument` behind the last label that there is, 9999-12-31T23:59:59Z: nothing would list such a snapshot.
 */
export function labelTime(now: number, wanted: number | undefined, last: number | undefined): Label {
  const asked = wanted ?? now;
  const time = last === undefined ? asked : Math.max(asked, last + 1);
  if (time > MAX_TIME) {
    throw new HoldfastError(
      'bad-argument',
      `the last snapshot of this group is of ${formatTime(last ?? MAX_TIME)}, and no later time can be written; back up into another group`,
    );
  }
  const allowed = wanted === undefined ? QUICK_SUCCESSION : 0;
  const warning = time - asked > allowed ? tooEarly(now, wanted, last as number, time) : implausible(now, wanted, last);
  return { time, suspect: warning !== undefined, warning };
}

function tooEarly(now: number, wanted: number | undefined, last: number, time: number): string {
  const asked =
    wanted === undefined ? `the clock shows ${formatTime(now)}` : `--time ${formatTime(wanted)} was asked for`;
  const label = formatTime(time);
  return `${asked}, but the group's last snapshot is of ${formatTime(last)}: this one is labelled ${label}; check the clock`;
}

/** Why the clock's own time cannot be right, if it was asked at all. */
function implausible(now: number, wanted: number | undefined, last: number | undefined): string | undefined {
  if (wanted !== undefined) return undefined;
  if (now < EARLIEST_PLAUSIBLE) return `the clock shows ${formatTime(now)}, which cannot be: check it`;
  const gap = now - Math.max(last ?? EARLIEST_PLAUSIBLE, EARLIEST_PLAUSIBLE);
  // A new group says nothing of when the last backup was: only this program's own age counts then.
  const largest = last === undefined ? 10 * LARGEST_PLAUSIBLE_GAP : LARGEST_PLAUSIBLE_GAP;
  return gap > largest ? `the clock shows ${formatTime(now)}, far after anything known: check it` : undefined;
}
