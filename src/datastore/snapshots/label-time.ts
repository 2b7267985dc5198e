// The time label of a new snapshot: max(now or the wanted time, last + 1 s). A clock is never a reason to refuse a backup; one that
// cannot be right marks the snapshot and is said (rule D8).
import { formatTime } from '../../schema/names.ts';

/** No backup by this program is older than the program. */
const EARLIEST_PLAUSIBLE = Date.UTC(2026, 0, 1) / 1000;
/** A label further than this after the group's last one, and after today's program, points to a wrong clock. */
const LARGEST_PLAUSIBLE_GAP = 3 * 366 * 24 * 3600;

export interface Label {
  /** Unix seconds. */
  readonly time: number;
  readonly suspect: boolean;
  readonly warning: string | undefined;
}

/** `now`, `wanted` and `last` in Unix seconds; `last` is the group's high-water mark. */
export function labelTime(now: number, wanted: number | undefined, last: number | undefined): Label {
  const asked = wanted ?? now;
  const time = last === undefined ? asked : Math.max(asked, last + 1);
  const label = formatTime(time);
  if (time !== asked) {
    const what =
      wanted === undefined ? `the clock shows ${formatTime(now)}` : `--time ${formatTime(wanted)} was asked for`;
    return suspect(
      time,
      `${what}, but the group's last snapshot is of ${formatTime(last as number)}: this one is labelled ${label}; check the clock`,
    );
  }
  if (wanted !== undefined) return { time, suspect: false, warning: undefined };
  if (now < EARLIEST_PLAUSIBLE) return suspect(time, `the clock shows ${label}, which cannot be: check it`);
  if (
    now - Math.max(last ?? EARLIEST_PLAUSIBLE, EARLIEST_PLAUSIBLE) >
    LARGEST_PLAUSIBLE_GAP * (last === undefined ? 10 : 1)
  ) {
    return suspect(time, `the clock shows ${label}, far after anything known: check it`);
  }
  return { time, suspect: false, warning: undefined };
}

function suspect(time: number, warning: string): Label {
  return { time, suspect: true, warning };
}
