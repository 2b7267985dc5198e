// When garbage is collected, as Proxmox Backup Server has it: an option of the datastore. Behind it stands the datastore's job of kind gc.
import { parseCalendarEvent } from '../../jobs/calendar/calendar-event.ts';
import type { JobActor } from '../../jobs/schedule/job-book.ts';
import type { JobView } from '../../jobs/schedule/job-desk.ts';
import { HoldfastError } from '../../util/errors.ts';
import { ParameterError } from '../dialect/failure.ts';
import type { JobCalls } from '../services.ts';

const KIND = 'gc';
const OPTION = 'gc-schedule';

/** `nextRun` in Unix seconds. */
export interface GcPlan {
  readonly schedule?: string;
  readonly nextRun?: number;
}

/** Of any datastore, by one look at the jobs. Of several the schedule is that of the first by name, the next run that of whichever comes first. */
export function gcPlans(jobs: Pick<JobCalls, 'list'>): (store: string) => GcPlan {
  const all = jobs.list(KIND).filter(isByItself);
  return (store) => {
    const own = jobsOf(all, store);
    const [first] = own;
    const next = Math.min(...own.map(({ nextMs }) => nextMs ?? Infinity));
    return {
      ...(first !== undefined && { schedule: first.schedule as string }),
      ...(next !== Infinity && { nextRun: Math.ceil(next / 1000) }),
    };
  };
}

type ChangingJobs = Pick<JobCalls, 'list' | 'create' | 'update' | 'remove'>;

/**
 * What sets the schedule of a datastore, with null takes it away, and with undefined does nothing. What can be refused is refused before it is
 * called, and judged anew then: somebody else may have changed the jobs meanwhile.
 * @throws ParameterError for no schedule, and where it is not clear which job is meant; so does what it answers with.
 */
export function gcScheduleChange(
  jobs: ChangingJobs,
  actor: JobActor,
  store: string,
  schedule: string | null | undefined,
): () => void {
  if (schedule === undefined) return () => undefined;
  if (schedule !== null) requireSchedule(schedule);
  const change = (): (() => void) => changeOf(jobs, actor, store, schedule);
  change();
  return () => change()();
}

/** @throws ParameterError. */
function changeOf(jobs: ChangingJobs, actor: JobActor, store: string, schedule: string | null): () => void {
  const all = jobs.list(KIND);
  const own = jobsOf(all, store);
  const [job] = own;
  if (own.length > 1) {
    const refs = own.map(({ id }) => `${KIND}/${id}`).join(', ');
    throw wrong(`datastore '${store}' has several jobs that collect garbage (${refs}): change them with holdfast job`);
  }
  if (job !== undefined && schedule !== null)
    return () => void jobs.update(actor, { kind: KIND, id: job.id }, { schedule, enabled: true });
  // One that only a hand starts, or that is switched off, is no schedule.
  if (schedule === null) return () => void (job && isByItself(job) && jobs.remove(actor, { kind: KIND, id: job.id }));
  if (all.some(({ id }) => id === store))
    throw wrong(`job ${KIND}/${store} is of another datastore: give this one a job with holdfast job`);
  return () => void jobs.create(actor, { kind: KIND, id: store, schedule, options: { store } });
}

function jobsOf(all: readonly JobView[], store: string): JobView[] {
  return all.filter(({ options }) => options.store === store);
}

function isByItself({ schedule, enabled }: JobView): boolean {
  return schedule !== null && enabled;
}

function requireSchedule(schedule: string): void {
  try {
    parseCalendarEvent(schedule);
  } catch (error) {
    if (error instanceof HoldfastError) throw wrong(error.message);
    throw error;
  }
}

function wrong(text: string): ParameterError {
  return new ParameterError([[OPTION, text]]);
}
