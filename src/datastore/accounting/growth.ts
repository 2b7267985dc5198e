// Growth and the day on which the file system is full, from what snapshots stored on each day. A straight line, and none at all when
// there is too little to draw it through.

const DAY_SECONDS = 86_400;
/** Older days say little of tomorrow. */
const WINDOW_DAYS = 60;
/** Fewer days with backups, or a shorter time between the first and the last, make no line. */
const LEAST_DAYS = 3;
const LEAST_SPAN_DAYS = 2;
/** A forecast beyond says "not soon" with many digits. */
const LARGEST_FORECAST_DAYS = 3650;

export interface StoredAt {
  /** Label, Unix seconds. */
  readonly time: number;
  readonly bytesStored: number | null;
  readonly suspectClock: boolean;
}

export interface Growth {
  /** Slope of the least-squares line through the sums of stored bytes by day; null for "not enough history". */
  readonly bytesPerDay: number | null;
  /** Days with backups that the line is drawn through. */
  readonly days: number;
  /** `2027-03-01`, counted from `now`; null when nothing grows, there is no line, or it lies more than ten years ahead. */
  readonly fullOn: string | null;
}

/** `now` in Unix seconds. What forgetting and garbage collection give back is not in the line: growth is what backups add. */
export function growthOf(snapshots: readonly StoredAt[], freeBytes: number, now: number): Growth {
  const byDay = new Map<number, number>();
  const today = Math.floor(now / DAY_SECONDS);
  for (const { time, bytesStored, suspectClock } of snapshots) {
    const day = Math.floor(time / DAY_SECONDS);
    if (bytesStored === null || suspectClock || day > today || day <= today - WINDOW_DAYS) continue;
    byDay.set(day, (byDay.get(day) ?? 0) + bytesStored);
  }
  const days = [...byDay.keys()].sort((a, b) => a - b);
  const span = (days.at(-1) ?? 0) - (days[0] ?? 0);
  if (days.length < LEAST_DAYS || span < LEAST_SPAN_DAYS) return { bytesPerDay: null, days: days.length, fullOn: null };
  let sum = 0;
  const points = days.map((day) => {
    sum += byDay.get(day) as number;
    return { x: day - (days[0] as number), y: sum };
  });
  const bytesPerDay = Math.round(slope(points));
  return { bytesPerDay, days: days.length, fullOn: dayWhenFull(bytesPerDay, freeBytes, now) };
}

function slope(points: readonly { x: number; y: number }[]): number {
  const mean = (of: (point: { x: number; y: number }) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  const above = points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0);
  return above / points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
}

function dayWhenFull(bytesPerDay: number, freeBytes: number, now: number): string | null {
  const left = freeBytes / bytesPerDay;
  if (bytesPerDay <= 0 || left > LARGEST_FORECAST_DAYS) return null;
  return new Date((now + left * DAY_SECONDS) * 1000).toISOString().slice(0, 10);
}
