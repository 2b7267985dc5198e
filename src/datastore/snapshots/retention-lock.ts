// The retention lock of a snapshot: until a moment of the store clock nothing removes it, and the moment only moves away (rule L2).
import type { ServerPart } from '../../schema/manifest.ts';
import type { DatastoreConfig } from '../../schema/state-files.ts';
import { durationText } from '../../util/duration.ts';
import { HoldfastError } from '../../util/errors.ts';

/** The longest lock of a datastore whose `datastore.json` names none: a slip of the pen must not fill a disk for ever. */
export const DEFAULT_MAX_LOCK_MS = 365 * 24 * 3600 * 1000;

/** How much longer a snapshot is locked, in milliseconds of the store clock; 0 when it is not. */
export function remainingLockMs(server: Pick<ServerPart, 'lockedUntilClockMs'>, clockMs: number): number {
  return Math.max(0, (server.lockedUntilClockMs ?? 0) - clockMs);
}

/** The longest lock that the datastore's policy allows. */
export function maxLockMs(config: DatastoreConfig): number {
  return config.retentionLock?.maxMs ?? DEFAULT_MAX_LOCK_MS;
}

/**
 * The end of a lock of `forMs` from now, on the store clock. `label` names the snapshot in messages.
 * @throws `bad-argument` for no time at all, `too-large` beyond the policy, `retention-locked` when the lock that is there ends later.
 */
export function extendedLock(
  label: string,
  server: Pick<ServerPart, 'lockedUntilClockMs'>,
  forMs: number,
  { clockMs, maxMs }: { clockMs: number; maxMs: number },
): number {
  if (!Number.isSafeInteger(forMs) || forMs <= 0)
    throw new HoldfastError('bad-argument', `${label}: a lock lasts some time; give a duration above 0, such as 30d`);
  if (forMs > maxMs) {
    throw new HoldfastError(
      'too-large',
      `${label} cannot be locked for ${durationText(forMs)}: the policy of this datastore allows at most ${durationText(maxMs)}`,
      { data: { maxMs } },
    );
  }
  const until = clockMs + forMs;
  const remainingMs = remainingLockMs(server, clockMs);
  if (until < clockMs + remainingMs) {
    throw new HoldfastError(
      'retention-locked',
      `${label} is already locked for another ${durationText(remainingMs)}, which is longer than ${durationText(forMs)}: a lock can be extended, never shortened or removed`,
      { data: { remainingMs } },
    );
  }
  return until;
}

/** @throws `retention-locked` while the lock lasts. */
export function refuseLocked(label: string, server: Pick<ServerPart, 'lockedUntilClockMs'>, clockMs: number): void {
  const remainingMs = remainingLockMs(server, clockMs);
  if (remainingMs === 0) return;
  throw new HoldfastError(
    'retention-locked',
    `${label} is locked for another ${durationText(remainingMs)} of store clock, which runs only while the datastore is held; nobody can remove it before, or shorten the lock`,
    { data: { remainingMs } },
  );
}
