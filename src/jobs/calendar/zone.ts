// Time zones, by the tables that Node brings along: what the clocks on the wall show at an instant. "Wall" is the time that they show, in milliseconds, as if it
// were UTC.

const HOUR_MS = 3_600_000;
/** Clocks have changed on quarters of an hour only, in every zone since 1970. */
const STEP_MS = HOUR_MS / 4;
/** Some half a megabyte. */
const KEPT_OFFSETS = 10_000;
/** Zones that schedules name beside that of the host. */
const KEPT_ZONES = 16;

export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return /^[A-Za-z]/.test(name);
  } catch {
    return false;
  }
}

/** The zone of this process: that of the host, or of `TZ`. */
export function hostZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** A change of the clocks: up to `at` they are `before` ahead of UTC, then `after`, in milliseconds. */
export interface ClockChange {
  readonly at: number;
  readonly before: number;
  readonly after: number;
}

export class Zone {
  readonly #format: Intl.DateTimeFormat;
  readonly #offsets = new Map<number, number>();
  readonly #others = new Map<string, Zone>();

  constructor(name: string) {
    const two = '2-digit';
    const parts = { year: 'numeric', month: two, day: two, hour: two, minute: two, second: two } as const;
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      calendar: 'gregory',
      ...parts,
    });
  }

  /** Another zone by its name, which `isZone` has found good; kept with what it has found out. */
  other(name: string): Zone {
    const kept = this.#others.get(name);
    if (kept !== undefined) return kept;
    const zone = new Zone(name);
    if (this.#others.size >= KEPT_ZONES) this.#others.clear();
    this.#others.set(name, zone);
    return zone;
  }

  /** How far the clocks are ahead of UTC, in milliseconds. */
  offsetAt(instant: number): number {
    const key = Math.floor(instant / STEP_MS);
    const kept = this.#offsets.get(key);
    if (kept !== undefined) return kept;
    const fields: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(key * STEP_MS)) fields[type] = Number(value);
    const { year, month, day, hour, minute, second } = fields as Record<string, number>;
    const offset = Date.UTC(year!, month! - 1, day, hour, minute, second) - key * STEP_MS;
    if (this.#offsets.size >= KEPT_OFFSETS) this.#offsets.clear();
    this.#offsets.set(key, offset);
    return offset;
  }

  /** The change between two instants that are near each other. */
  changeBetween(from: number, to: number): ClockChange | undefined {
    const [before, after] = [this.offsetAt(from), this.offsetAt(to)];
    if (before === after) return undefined;
    let [low, high] = [Math.floor(from / STEP_MS), Math.floor(to / STEP_MS)];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.offsetAt(middle * STEP_MS) === before) low = middle;
      else high = middle;
    }
    return { at: high * STEP_MS, before, after };
  }
}
