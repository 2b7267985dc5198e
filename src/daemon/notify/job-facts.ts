// What alarms and figures look at of jobs: when each last ran well, since when it is behind, and whether a run may still make up for it.
import type { JobPunctuality } from '../../jobs/schedule/missed-slots.ts';
import type { JobFact } from '../../notify/alarms/alarm-rules.ts';

export function jobFact({ job, goodMs, missedMs, active, last }: JobPunctuality): JobFact {
  const { kind, id, options, timeoutMs } = job;
  // A run that hangs is ended at its time-out, and after that no other one is waited for.
  const hasFailed = last?.state === 'error' && last.endMs !== null && missedMs !== undefined && last.endMs >= missedMs;
  const hope =
    active === undefined || hasFailed
      ? undefined
      : {
          since: seconds(active.startMs ?? active.queuedMs),
          mayTake: active.startMs === null ? undefined : timeoutMs / 1000,
        };
  return {
    kind,
    id,
    datastore: textOf(options.store),
    node: textOf(options.node),
    lastGood: goodMs === undefined ? undefined : seconds(goodMs),
    missed: missedMs === undefined ? undefined : seconds(missedMs),
    hope,
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function seconds(timeMs: number): number {
  return Math.floor(timeMs / 1000);
}
