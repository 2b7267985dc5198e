// Ends of tasks as events and as lines of a digest. Told are those that Proxmox tells of; of what clients do themselves only what went wrong, for
// a night has hundreds of good backups, and the digest has them all.
import { outcomeOf, type TaskOutcome } from '../../jobs/tasks/task.ts';
import type { TaskRow } from '../../jobs/tasks/task-store.ts';
import type { EndedTask } from '../../notify/digest.ts';
import type { NotifyEvent, Severity } from '../../notify/event.ts';
import { formatBytes } from '../../util/format-bytes.ts';

/** Type of a task -> type of its event, and whether it is told when all was well. */
const TOLD: Readonly<Record<string, readonly [string, boolean]>> = {
  garbage_collection: ['gc', true],
  prune: ['prune', true],
  prunejob: ['prune', true],
  verify: ['verify', true],
  verificationjob: ['verify', true],
  syncjob: ['sync', true],
  vzdump: ['backup', true],
  backup: ['backup', false],
  backupjob: ['backup', false],
};
/** Never told, and in no digest: somebody looks at it. */
const QUIET = new Set(['reader', 'download', 'vncproxy', 'termproxy']);
const SEVERITY: Readonly<Record<TaskOutcome, Severity>> = {
  ok: 'info',
  warning: 'warning',
  error: 'error',
  unknown: 'error',
};
const MAX_WARNINGS = 100;
/** Figures of results that say how much it was, the best first. */
const SIZES = ['bytesStored', 'bytesNew', 'bytesFreed', 'bytesRead', 'bytesLogical'];

/** Undefined of a task that is not worth telling. */
export function taskEvent(row: TaskRow, node: string): NotifyEvent | undefined {
  const { type, id, status, endtime, starttime, upid } = row;
  if (status === null || endtime === null) return undefined;
  const outcome = outcomeOf(status);
  const [kind, isAlways] = TOLD[type] ?? ['system', false];
  if (QUIET.has(type) || (outcome === 'ok' && !isAlways)) return undefined;
  const { sizeBytes, warnings } = endedTask(row) ?? {};
  const datastore = /^[^:]*/.exec(id ?? '')?.[0] ?? '';
  const how = outcome === 'ok' ? 'successful' : outcome === 'warning' ? 'ended with warnings' : 'failed';
  return {
    type: kind,
    severity: SEVERITY[outcome],
    time: endtime,
    node,
    subject: `${type}${id === null ? '' : ` of ${id}`} ${how}`,
    text: [
      `Result: ${status}`,
      `Took: ${endtime - starttime} s`,
      ...(sizeBytes === undefined ? [] : [`Size: ${formatBytes(sizeBytes)}`]),
      `By: ${row.user}`,
      `Task: ${upid}`,
      ...(warnings === undefined ? [] : ['', 'Warnings:', ...warnings]),
    ].join('\n'),
    fields: { 'task-type': type, status: outcome, ...(datastore === '' ? {} : { datastore }) },
  };
}

/** Undefined of one that runs, or stands in no digest. */
export function endedTask({ type, id, status, endtime, starttime, data }: TaskRow): EndedTask | undefined {
  if (status === null || endtime === null || QUIET.has(type)) return undefined;
  const { result, warnings } = (data ?? {}) as { result?: unknown; warnings?: unknown };
  const figures = { ...(data as object | null), ...(typeof result === 'object' ? result : {}) } as Record<
    string,
    unknown
  >;
  const sizeBytes = SIZES.map((name) => figures[name]).find((value) => typeof value === 'number');
  const lines = Array.isArray(warnings) ? warnings.slice(0, MAX_WARNINGS).map(String) : [];
  return {
    type,
    id: id ?? '',
    start: starttime,
    end: endtime,
    outcome: outcomeOf(status),
    status,
    ...(sizeBytes !== undefined && { sizeBytes: Math.max(0, sizeBytes as number) }),
    ...(lines.length > 0 && { warnings: lines }),
  };
}
