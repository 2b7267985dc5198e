// Notifications of a server put together: tasks that end, alarms each hour, the digest once a day, the queue.

import type { Datastores } from '../../api/services.ts';
import type { SnapshotViews } from '../../api/snapshots/snapshot-views.ts';
import type { AuditLog } from '../../auth/audit-log.ts';
import { isGood, type Job, type JobRun } from '../../jobs/schedule/job.ts';
import type { JobDesk } from '../../jobs/schedule/job-desk.ts';
import type { TaskRow } from '../../jobs/tasks/task-store.ts';
import type { Tasks } from '../../jobs/tasks/tasks.ts';
import { AlarmKeeper, type AlarmView, alarmView } from '../../notify/alarms/alarm-keeper.ts';
import { behindKey, isBehind, type JobFact } from '../../notify/alarms/alarm-rules.ts';
import { CheckRequests } from '../../notify/alarms/check-requests.ts';
import type { NotifyEvent } from '../../notify/event.ts';
import { Notifications } from '../../notify/notifications.ts';
import { NotifyConfig } from '../../notify/notify-config.ts';
import { NotifySettings } from '../../notify/settings.ts';
import { NotifyQueueTable } from '../../state/notify-queue-table.ts';
import { AlarmTable, NotifyTables } from '../../state/notify-tables.ts';
import type { StateDatabase } from '../../state/state-database.ts';
import type { Log } from '../log.ts';
import { digestNow, sendDueDigest } from './daily-digest.ts';
import { jobFact } from './job-facts.ts';
import { KnownFacts } from './known-facts.ts';
import { runEvent } from './run-events.ts';
import { type GroupFigures, type StoreFacts, StoreFactsSource } from './store-facts.ts';
import { taskEvent } from './task-events.ts';

const MINUTE_MS = 60_000;

export interface ServerNotificationsParts {
  readonly state: StateDatabase;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly node: string;
  readonly clock: () => number;
  readonly log: Log;
  readonly times?: RoundTimes | undefined;
}

/** When it is looked what has not happened and what is due, in milliseconds. */
export interface RoundTimes {
  /** After the start. */
  readonly firstAlarmsMs: number;
  readonly alarmsEveryMs: number;
  readonly digestEveryMs: number;
  /** How soon a command on the machine is heard. */
  readonly followEveryMs: number;
}

/** Of a job. */
export interface JobFigures extends Pick<JobFact, 'kind' | 'id' | 'lastGood'> {
  /** Undefined of one that the clock does not start. */
  readonly isBehind: boolean | undefined;
}

/** What a look at the alarms has found. */
export interface CheckedAlarms {
  readonly alarms: readonly AlarmView[];
  /** Datastores that could not be asked, or not about all of their groups. */
  readonly unknown: readonly string[];
}

/** Alarms at first when datastores are open and what was missed while the server was off has begun. */
const ROUND_TIMES: RoundTimes = {
  firstAlarmsMs: 10 * MINUTE_MS,
  alarmsEveryMs: 60 * MINUTE_MS,
  digestEveryMs: MINUTE_MS,
  followEveryMs: 2000,
};

export class ServerNotifications {
  readonly notifications: Notifications;
  readonly settings: NotifySettings;
  readonly alarms: AlarmKeeper;
  readonly #parts: ServerNotificationsParts;
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #requests: CheckRequests;
  #heard = 0;
  #facts: KnownFacts<StoreFacts> | undefined;
  #hasLooked = false;
  #tasks: Pick<Tasks, 'list'> | undefined;
  #jobs: Pick<JobDesk, 'punctuality'> | undefined;

  constructor(parts: ServerNotificationsParts) {
    this.#parts = parts;
    const { state, audit, node, clock, log } = parts;
    const store = new NotifyTables(state.db);
    const queue = new NotifyQueueTable(state.db);
    this.settings = new NotifySettings(store);
    this.#requests = new CheckRequests(store);
    this.notifications = new Notifications({
      config: new NotifyConfig({ store, queue, audit, transactions: state }),
      secretsOf: (name) => store.secretsOf(name),
      queue,
      node,
      clock,
      warn: (message, detail) => log.warn(detail, message),
    });
    this.alarms = new AlarmKeeper({
      store: new AlarmTable(state.db),
      tell: (event) => this.notifications.tell(event),
      transactions: state,
      node,
      clock,
    });
  }

  /** Of a task that has ended. */
  taskEnded(find: () => TaskRow | undefined): void {
    this.#tell(() => {
      const row = find();
      const event = row && taskEvent(row, this.#parts.node);
      // It may have found something unusual; before the first look it is too early to say what is missing.
      if (this.#hasLooked && event?.type === 'backup' && event.severity === 'warning') this.#look();
      return event;
    });
  }

  /** Of a job's run that has ended. */
  runEnded(run: JobRun, job: Job | undefined): void {
    this.#tell(() => {
      // The end of its alarm is told at once.
      if (this.#hasLooked && isGood(run.state) && this.alarms.isRaised(behindKey(run))) this.#look();
      return runEvent(run, job, this.#parts.node);
    });
  }

  /** `views` are those of the API. */
  start(
    datastores: Pick<Datastores, 'list' | 'get'>,
    tasks: Pick<Tasks, 'list'>,
    jobs: Pick<JobDesk, 'punctuality'>,
    views: SnapshotViews | undefined = undefined,
  ): void {
    const { node, clock, log, times = ROUND_TIMES } = this.#parts;
    this.#tasks = tasks;
    this.#jobs = jobs;
    const source = new StoreFactsSource(datastores, {
      warn: (message, datastore) => log.warn({ datastore }, message),
      views,
    });
    this.#facts = new KnownFacts(() =>
      source.read(Math.floor(clock() / 1000), this.settings.rules().verifyDays, this.#stop.signal),
    );
    this.notifications.start();
    const look = (): void => this.#look();
    this.#timers.push(setTimeout(look, times.firstAlarmsMs), setInterval(look, times.alarmsEveryMs));
    // Whoever asked a server before this one waits no more.
    this.#heard = this.#requests.asked();
    this.#timers.push(setInterval(() => this.#follow(), times.followEveryMs));
    const { settings } = this;
    const digest = (): void => {
      try {
        sendDueDigest({ settings, tasks, tell: (event) => this.notifications.tell(event), node, clock });
      } catch (error) {
        log.warn({ err: error }, 'the digest could not be made; it is tried again');
      }
    };
    this.#timers.push(setInterval(digest, times.digestEveryMs));
    digest();
  }

  #look(): void {
    this.checkAlarms().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#parts.log.warn({ err: error }, 'alarms could not be checked');
    });
  }

  /** Looks now what has not happened, tells what is new, and says what is raised. @throws what reading datastores or the state throws. */
  async checkAlarms(): Promise<CheckedAlarms> {
    this.#hasLooked = true;
    const facts = await this.#facts?.anew();
    this.#stop.signal.throwIfAborted();
    if (facts !== undefined)
      this.alarms.check({ ...facts, jobs: this.#jobFacts() }, facts.unknown, this.settings.rules());
    return { alarms: this.alarms.raised().map(alarmView), unknown: [...(facts?.unknown ?? [])].sort() };
  }

  /** Sends the digest of the last `hours`; answers with the targets that get it. @throws what the state throws. */
  sendDigest(hours: number): readonly string[] {
    const { node, clock } = this.#parts;
    return this.notifications.tell(digestNow({ tasks: this.#tasks as Pick<Tasks, 'list'>, node, clock }, hours));
  }

  /** Does what a command on the machine has asked for. */
  #follow(): void {
    const { log } = this.#parts;
    const failed = (error: unknown): void => {
      if (!this.#stop.signal.aborted) log.warn({ err: error }, 'alarms could not be checked');
    };
    try {
      const number = this.#requests.asked();
      if (number <= this.#heard) return;
      this.#heard = number;
      this.#requests.begin(number);
      this.checkAlarms()
        .then(
          ({ unknown }) => this.#requests.end(number, { unknown }),
          (error: Error) => {
            failed(error);
            if (!this.#stop.signal.aborted) this.#requests.end(number, { unknown: [], problem: error.message });
          },
        )
        .catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** Of all groups, as they were some minutes ago at most, unless a disk is slow. */
  async figures(): Promise<readonly GroupFigures[]> {
    return (await this.#facts?.recent())?.groups ?? [];
  }

  /** Of all jobs that run by a schedule, or ran once. */
  jobFigures(): readonly JobFigures[] {
    const { jobHours } = this.settings.rules();
    const raised = new Set(this.alarms.raised().map(({ key }) => key));
    const now = Math.floor(this.#parts.clock() / 1000);
    return this.#jobFacts().map((fact) => {
      const { kind, id, lastGood, missed } = fact;
      const isLate = isBehind(fact, jobHours, now, raised.has(behindKey(fact)));
      return { kind, id, lastGood, isBehind: missed === undefined ? undefined : isLate };
    });
  }

  #jobFacts(): readonly JobFact[] {
    return (this.#jobs?.punctuality() ?? []).map(jobFact);
  }

  /** Nothing that fails here keeps what is told of from its end. */
  #tell(find: () => NotifyEvent | undefined): void {
    try {
      const event = find();
      if (event !== undefined) this.notifications.tell(event);
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'the end of a task could not be told');
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#stop.abort(new Error('the server is stopping'));
    await this.notifications.close();
  }
}
