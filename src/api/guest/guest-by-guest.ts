// The task of a vzdump: guests one after the other, a section of the log for each. One that fails keeps no other from its backup.
import type { TaskResult, TaskWork } from '../../jobs/tasks/task.ts';
import { HoldfastError } from '../../util/errors.ts';

const MAX_LINE = 4096;
/** Failures that are told with the end of the task; its log has all of them. */
const MAX_TOLD = 100;
const MAX_TOLD_CHARS = 300;

/** Figures of backups that are worth adding up. */
const FIGURES = ['bytesLogical', 'bytesRead', 'bytesNew', 'bytesStored'] as const;

/** `what` says it as vzdump's command line. Answers with the figures of all guests together, as far as their backups tell any. @throws `task-failed` with the words `job errors`, which clients look for, when any failed; the signal's reason. */
export async function guestByGuest(
  what: string,
  vmids: readonly number[],
  backup: (vmid: number) => Promise<unknown>,
  work: Pick<TaskWork, 'log' | 'signal'>,
): Promise<Record<string, number>> {
  work.log(`INFO: starting new backup job: vzdump ${vmids.join(' ')} ${what}`.slice(0, MAX_LINE));
  const sum: Record<string, number> = { guests: 0 };
  const failures: string[] = [];
  for (const vmid of vmids) {
    work.signal.throwIfAborted();
    const startedMs = performance.now();
    work.log(`INFO: Starting Backup of VM ${vmid} (qemu)`);
    try {
      add(sum, await backup(vmid));
      work.log(`INFO: Finished Backup of VM ${vmid} (${clock(performance.now() - startedMs)})`);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      work.log(`ERROR: Backup of VM ${vmid} failed - ${error.message}`);
      // Whoever stops the task means all of it.
      work.signal.throwIfAborted();
      failures.push(`VM ${vmid}: ${error.message}`.slice(0, MAX_TOLD_CHARS));
    }
  }
  if (failures.length === 0) {
    work.log('INFO: Backup job finished successfully');
    return sum;
  }
  work.log(`INFO: Backup job finished with errors: ${failures.length} of ${vmids.length} guests`);
  const left: TaskResult['data'] = { ...sum, warnings: failures.slice(0, MAX_TOLD) };
  throw new HoldfastError('task-failed', 'job errors', { data: { left } });
}

/** What an order has answered with: `{ data: { result } }`. */
function add(sum: Record<string, number>, answer: unknown): void {
  const { result } = ((answer ?? {}) as { data?: { result?: unknown } }).data ?? {};
  const found = (typeof result === 'object' ? (result ?? {}) : {}) as Record<string, unknown>;
  for (const name of FIGURES) {
    const value = found[name];
    if (typeof value === 'number') sum[name] = (sum[name] ?? 0) + value;
  }
  sum.guests = (sum.guests ?? 0) + 1;
}

/** `00:01:07`. */
function clock(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}
