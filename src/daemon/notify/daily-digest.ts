// Sends the digest once a day at the hour that was set; one that was missed is sent once, for all of the time since the last.
import type { Tasks } from '../../jobs/tasks/tasks.ts';
import { digestOf } from '../../notify/digest.ts';
import type { NotifyEvent } from '../../notify/event.ts';
import type { NotifySettings } from '../../notify/settings.ts';
import { endedTask } from './task-events.ts';

const HOUR_SECONDS = 3600;
const DAY_SECONDS = 86_400;
const MOST_DAYS = 7;
const MAX_TASKS = 3000;

export interface DigestParts {
  readonly settings: NotifySettings;
  readonly tasks: Pick<Tasks, 'list'>;
  readonly tell: (event: NotifyEvent) => void;
  readonly node: string;
  readonly clock: () => number;
}

/** To be called about every minute. */
export function sendDueDigest({ settings, tasks, tell, node, clock }: DigestParts): void {
  const at = settings.digestAt();
  if (at === undefined) return;
  const until = Math.floor(clock() / 1000);
  const due = lastOccurrence(at, until);
  const last = settings.lastDigest();
  // A clock that was ahead when the last one was sent must not silence it.
  if (last !== undefined && last >= due && last <= until) return;
  const since =
    last === undefined || last > until ? until - DAY_SECONDS : Math.max(last, until - MOST_DAYS * DAY_SECONDS);
  tell(nightDigest(tasks, { since, until, node }));
  settings.noteDigest(until);
}

/** The digest of the last `hours`, for somebody who wants it now; the daily one knows nothing of it. */
export function digestNow({ tasks, node, clock }: Omit<DigestParts, 'settings' | 'tell'>, hours: number): NotifyEvent {
  const until = Math.floor(clock() / 1000);
  return nightDigest(tasks, { since: until - hours * HOUR_SECONDS, until, node });
}

/** Of the tasks that ended in a window, Unix seconds. */
export function nightDigest(
  tasks: Pick<Tasks, 'list'>,
  window: { readonly since: number; readonly until: number; readonly node: string },
): NotifyEvent {
  // One that ended in the window may have started a day before.
  const { rows } = tasks.list({ since: window.since - DAY_SECONDS, until: window.until, ended: true, limit: 10_000 });
  // The order that a job gave, when all was well, is in the line of the job.
  const parts = new Set(rows.map(({ status, data }) => (status === 'OK' ? data?.upid : undefined)));
  const ended = rows
    .filter(({ upid }) => !parts.has(upid))
    .flatMap((row) => endedTask(row) ?? [])
    .filter(({ end }) => end > window.since && end <= window.until);
  // The list has the newest first.
  return digestOf(ended.slice(0, MAX_TASKS).reverse(), { ...window, more: Math.max(0, ended.length - MAX_TASKS) });
}

/** The last time that local clocks showed `HH:MM`, Unix seconds. */
function lastOccurrence(at: string, now: number): number {
  const [hours, minutes] = at.split(':').map(Number);
  const time = new Date(now * 1000);
  time.setHours(hours ?? 0, minutes ?? 0, 0, 0);
  if (time.getTime() > now * 1000) time.setDate(time.getDate() - 1);
  return time.getTime() / 1000;
}
