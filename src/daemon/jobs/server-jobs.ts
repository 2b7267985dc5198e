// The jobs of a server, and of a command on its machine: which kinds there are, the list, and for a server the scheduler that runs them.
import type { AuditLog } from '../../auth/audit-log.ts';
import { noSuchPool } from '../../auth/pools.ts';
import { hostZone, Zone } from '../../jobs/calendar/zone.ts';
import type { JobKey } from '../../jobs/schedule/job.ts';
import { type JobActor, JobBook } from '../../jobs/schedule/job-book.ts';
import { JobDesk } from '../../jobs/schedule/job-desk.ts';
import { JobKinds } from '../../jobs/schedule/job-kinds.ts';
import { Scheduler, type SchedulerParts } from '../../jobs/schedule/scheduler.ts';
import { comingSlots } from '../../jobs/schedule/slots.ts';
import { parsePoolId } from '../../schema/pool-id.ts';
import { JobTables } from '../../state/job-tables.ts';
import { poolTable } from '../../state/pool-tables.ts';
import type { StateDatabase } from '../../state/state-database.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type BackupKindParts, backupKind } from './backup-kind.ts';
import { everyMinute } from './minute-tick.ts';
import { storeKinds } from './store-kinds.ts';
import type { StoreKindParts } from './store-options.ts';
import { type VzdumpKindParts, vzdumpKind } from './vzdump-kind.ts';

/** How soon a command on the machine is heard. */
const FOLLOW_EVERY_MS = 2000;
const OF_A_STORE = ['prune', 'gc', 'verify'];

export { FAILED_STATES, type JobKey, type JobRun } from '../../jobs/schedule/job.ts';
export type { NewJob } from '../../jobs/schedule/job-book.ts';
export type { JobAmendment, JobDesk, JobView } from '../../jobs/schedule/job-desk.ts';

interface CommonParts {
  readonly state: StateDatabase;
  readonly audit: Pick<AuditLog, 'append'>;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

export interface ServerJobsParts
  extends CommonParts,
    StoreKindParts,
    BackupKindParts,
    Omit<VzdumpKindParts, 'requirePool'>,
    Pick<SchedulerParts, 'tasks' | 'limits' | 'onRunEnd'> {
  readonly report: SchedulerParts['report'];
  readonly onBug: (error: unknown) => void;
}

export interface ServerJobs {
  readonly desk: JobDesk;
  /** For kinds from elsewhere; before the start. */
  readonly kinds: JobKinds;
  /** Makes up at once for what a server before this one left and what was missed, and looks every minute from then on. */
  start(): void;
  /** Starts no more runs; those that run end with their tasks. */
  stop(): void;
}

export function serverJobs(parts: ServerJobsParts): ServerJobs {
  const { state, audit, clock, onBug } = parts;
  const kinds = new JobKinds([
    ...storeKinds(parts),
    backupKind(parts),
    vzdumpKind({ ...parts, requirePool: poolsOf(state) }),
  ]);
  const zone = new Zone(hostZone());
  const store = new JobTables(state);
  const scheduler = new Scheduler({ ...parts, store, kinds, zone });
  const desk = new JobDesk({
    book: bookOf({ state, audit, clock }, store, kinds),
    store,
    zone,
    clock,
    run: (key, authId) => scheduler.runNow(key, authId).upid,
    changed: (key) => scheduler.changed(key),
  });
  let stopTicking = (): void => undefined;
  let following: NodeJS.Timeout | undefined;
  const guarded = (look: () => void): void => {
    try {
      look();
    } catch (error) {
      onBug(error);
    }
  };
  return {
    desk,
    kinds,
    start: () => {
      scheduler.start();
      guarded(() => scheduler.tick());
      stopTicking = everyMinute(() => guarded(() => scheduler.tick()), onBug);
      following = setInterval(() => guarded(() => scheduler.follow()), FOLLOW_EVERY_MS);
    },
    stop: () => {
      stopTicking();
      clearInterval(following);
      scheduler.stop();
    },
  };
}

/** For a command on the server's machine, while a server runs or not; a server that runs sees what it changes. */
export function localJobs(parts: CommonParts): JobDesk {
  const nowhere = (): never => {
    throw new HoldfastError('not-allowed', 'a command runs no jobs: the server does');
  };
  const kinds = new JobKinds([
    ...storeKinds({ get: nowhere }),
    backupKind({ isOnline: nowhere, order: nowhere, endOf: nowhere, abort: nowhere }),
    vzdumpKind({
      requirePool: poolsOf(parts.state),
      ...{ get: nowhere, isOnline: nowhere, guestsOf: nowhere, orderWithin: nowhere },
    }),
  ]);
  const store = new JobTables(parts.state);
  const book = bookOf(parts, store, kinds);
  return new JobDesk({
    book,
    store,
    zone: new Zone(hostZone()),
    clock: parts.clock,
    run: (key, authId) => {
      book.get(key);
      const active = store.unended().find(({ kind, id }) => kind === key.kind && id === key.id);
      if (active !== undefined)
        throw new HoldfastError(
          'exists',
          `job ${key.kind}/${key.id} is ${active.state} already: wait for its end, or stop it`,
        );
      store.request({ ...key, authId });
      return undefined;
    },
    changed: (_: JobKey) => undefined,
  });
}

/**
 * Removes the jobs that are of a datastore alone, within a transaction; what it returns is to be called when that is written. Those that back up to
 * it stay, and fail: somebody relies on them, and is told.
 */
export function removeStoreJobs(
  desk: Pick<JobDesk, 'list' | 'removeWithin'>,
  actor: JobActor,
  store: string,
): () => void {
  const keys = OF_A_STORE.flatMap((kind) => desk.list(kind).filter(({ options }) => options.store === store));
  return desk.removeWithin(actor, keys);
}

/** Coming slots of a schedule after one time, and up to another one, in the time zone of this machine; Unix milliseconds. @throws `bad-argument`. */
export function analyzeSchedule(
  schedule: string,
  count: number,
  fromMs: number,
  untilMs?: number,
): { zone: string; slots: number[] } {
  const zone = hostZone();
  return { zone, slots: comingSlots(schedule, fromMs, count, new Zone(zone), untilMs) };
}

/** Looks whether there is a pool. What it says of none is what pools themselves say. */
function poolsOf({ db }: StateDatabase): VzdumpKindParts['requirePool'] {
  const pools = poolTable(db, () => undefined);
  return (pool) => {
    if (pools.find(parsePoolId(pool)) === undefined) throw noSuchPool(pool);
  };
}

function bookOf({ audit, clock }: CommonParts, store: JobTables, kinds: JobKinds): JobBook {
  return new JobBook({
    store,
    kinds,
    clock,
    note: (action, { kind, id }, actor) =>
      audit.append({ action, by: actor.authId, address: actor.address, object: `${kind}/${id}` }),
  });
}
