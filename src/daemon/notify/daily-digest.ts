// Sends the digest once a day at the hour that was set; one that was missed is sent once, for all of the time since the last.
import type { TaskRow } from '../../jobs/tasks/task-store.ts';
import type { Tasks } from '../../jobs/tasks/tasks.ts';
import { digestOf } from '../../notify/digest.ts';
import type { NotifyEvent } from '../../notify/event.ts';
import type { NotifySettings } from '../../notify/settings.ts';
import { endedTask } from './task-events.ts';

const HOUR_SECONDS = 3600;
const DAY_SECONDS = 86_400;
const MOST_DAYS = 7;
const MAX_TASKS = 3000;
/** Type of the task of a client's session. */
const SESSION = 'backup';

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
  // What a job, or an order, did is in its own line, when all was well.
  const parts = new Set(rows.map(({ status, data }) => (status === 'OK' ? data?.upid : undefined)));
  const whole = rows.filter(({ upid }) => !parts.has(upid));
  const sessions = sessionsWithin(whole);
  const counted = new Set([...sessions.values()].map(({ upid }) => upid));
  const ended = whole
    .filter(({ upid }) => !counted.has(upid))
    .flatMap((row) => {
      const task = endedTask(row);
      if (task === undefined) return [];
      const session = sessions.get(row.upid);
      // What came to the datastore knows the datastore best.
      const sizeBytes = (session && endedTask(session)?.sizeBytes) ?? task.sizeBytes;
      return [{ ...task, ...(sizeBytes !== undefined && { sizeBytes }) }];
    })
    .filter(({ end }) => end > window.since && end <= window.until);
  // The list has the newest first.
  return digestOf(ended.slice(0, MAX_TASKS).reverse(), { ...window, more: Math.max(0, ended.length - MAX_TASKS) });
}

/** UPID of a task that names the snapshot that it made -> the session that made it, where both ended well and there is only one that it can be. */
function sessionsWithin(rows: readonly TaskRow[]): Map<string, TaskRow> {
  const sessions = new Map<string, TaskRow[]>();
  const isWell = ({ status }: TaskRow): boolean => status === 'OK';
  for (const row of rows.filter((each) => each.type === SESSION && isWell(each))) {
    const key = snapshotKey(row, row.data);
    if (key !== undefined) sessions.set(key, [...(sessions.get(key) ?? []), row]);
  }
  const found = new Map<string, TaskRow>();
  for (const row of rows.filter((each) => each.type !== SESSION && isWell(each))) {
    const key = snapshotKey(row, row.data?.result);
    const [session, ...others] = (key !== undefined && sessions.get(key)) || [];
    if (session !== undefined && others.length === 0) found.set(row.upid, session);
  }
  return found;
}

/** `main host/web1/2026-11-22T01:00:00Z`: the first part of a worker id is its datastore. */
function snapshotKey({ id }: TaskRow, data: unknown): string | undefined {
  const { snapshot } = (data ?? {}) as { readonly snapshot?: unknown };
  return typeof snapshot === 'string' && id !== null ? `${id.split(':', 1)[0]} ${snapshot}` : undefined;
}

/** The last time that local clocks showed `HH:MM`, Unix seconds. */
function lastOccurrence(at: string, now: number): number {
  const [hours, minutes] = at.split(':').map(Number);
  const time = new Date(now * 1000);
  time.setHours(hours ?? 0, minutes ?? 0, 0, 0);
  if (time.getTime() > now * 1000) time.setDate(time.getDate() - 1);
  return time.getTime() / 1000;
}
