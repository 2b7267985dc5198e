// Whether a job keeps its times: from when on it has missed so many in a row that somebody should know.
import { nextEvent } from '../calendar/next-event.ts';
import type { Zone } from '../calendar/zone.ts';
import { type Job, type JobRecord, type JobRun, refOf } from './job.ts';
import { eventOf } from './slots.ts';

/** What is known of a job's times, Unix milliseconds. */
export interface JobPunctuality {
  readonly job: Job;
  /** When its last good run began. */
  readonly goodMs: number | undefined;
  /** Its second slot without a good run since; in the future for one that is in time, undefined where nothing is due by the clock. */
  readonly missedMs: number | undefined;
  /** The run that waits or works, and the one that ended last. */
  readonly active: JobRun | undefined;
  readonly last: JobRun | undefined;
}

/**
 * One slot may fail, and is told then; of two in a row nothing good came. A good run covers all slots up to its begin, a schedule that has no
 * second one is missed with its first.
 */
function missedSlot({ job, sinceMs, goodMs }: Omit<JobRecord, 'state'>, zone: Zone): number | undefined {
  try {
    const event = eventOf(job);
    const first = event && nextEvent(event, Math.max(sinceMs, goodMs ?? 0), zone);
    if (event === undefined || first === undefined) return undefined;
    return nextEvent(event, first, zone) ?? first;
  } catch {
    // A schedule that cannot be read: the scheduler says so.
    return undefined;
  }
}

/** Missed slots of all jobs, worked out anew only where something changed: figures are asked for often, and jobs are up to 5,000. */
export class MissedSlots {
  readonly #zone: Zone;
  #known = new Map<string, { readonly of: string; readonly missedMs: number | undefined }>();

  constructor(zone: Zone) {
    this.#zone = zone;
  }

  /** In the order of the jobs, which are all that there are. */
  ofAll(records: readonly Omit<JobRecord, 'state'>[]): (number | undefined)[] {
    const before = this.#known;
    this.#known = new Map();
    return records.map((record) => {
      const { job, sinceMs, goodMs } = record;
      const of = `${job.enabled} ${sinceMs} ${goodMs} ${job.schedule}`;
      const known = before.get(refOf(job));
      const slot = known?.of === of ? known : { of, missedMs: missedSlot(record, this.#zone) };
      this.#known.set(refOf(job), slot);
      return slot.missedMs;
    });
  }
}
