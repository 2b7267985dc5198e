// Runs of jobs that no task can tell of: those that were skipped, and those that the server's end cut off.
import type { Job, JobRun } from '../../jobs/schedule/job.ts';
import type { NotifyEvent } from '../../notify/event.ts';

/** Kind of a job -> type of its event, where they differ. */
const TYPES: Readonly<Record<string, string>> = { vzdump: 'backup' };

/** Undefined of a run whose task tells of it. `job` is undefined when it is gone. */
export function runEvent(run: JobRun, job: Job | undefined, node: string): NotifyEvent | undefined {
  const { kind, id, state, message, endMs, queuedMs, slotMs } = run;
  if (state !== 'skipped' && state !== 'interrupted') return undefined;
  const datastore = job?.options.store;
  return {
    type: TYPES[kind] ?? kind,
    severity: 'warning',
    time: Math.floor((endMs ?? queuedMs) / 1000),
    node,
    subject: `job ${kind}/${id} was ${state === 'skipped' ? 'skipped' : 'cut off'}`,
    text: [
      `Result: ${message}`,
      ...(slotMs === null ? [] : [`Due: ${new Date(slotMs).toISOString()}`]),
      ...(run.upid === null ? [] : [`Task: ${run.upid}`]),
    ].join('\n'),
    fields: { 'job-id': id, status: state, ...(typeof datastore === 'string' ? { datastore } : {}) },
  };
}
