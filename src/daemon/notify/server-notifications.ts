// Notifications of a server put together: tasks that end, alarms each hour, the digest once a day, the queue.

import type { Datastores } from '../../api/services.ts';
import type { AuditLog } from '../../auth/audit-log.ts';
import type { TaskRow } from '../../jobs/tasks/task-store.ts';
import type { Tasks } from '../../jobs/tasks/tasks.ts';
import { AlarmKeeper } from '../../notify/alarms/alarm-keeper.ts';
import { Notifications } from '../../notify/notifications.ts';
import { NotifyConfig } from '../../notify/notify-config.ts';
import { NotifySettings } from '../../notify/settings.ts';
import { NotifyQueueTable } from '../../state/notify-queue-table.ts';
import { AlarmTable, NotifyTables } from '../../state/notify-tables.ts';
import type { StateDatabase } from '../../state/state-database.ts';
import type { Log } from '../log.ts';
import { sendDueDigest } from './daily-digest.ts';
import { type StoreFacts, StoreFactsSource } from './store-facts.ts';
import { taskEvent } from './task-events.ts';

const HOUR_MS = 3600_000;
const MINUTE_MS = 60_000;
/** After the start, when datastores are open and what was missed while the server was off has begun. */
const FIRST_CHECK_MS = 10 * MINUTE_MS;
/** Figures are read anew after so long at the earliest, however often they are asked for. */
const FIGURES_AGE_MS = 5 * MINUTE_MS;

export interface ServerNotificationsParts {
  readonly state: StateDatabase;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly node: string;
  readonly clock: () => number;
  readonly log: Log;
  readonly firstCheckMs?: number;
}

export class ServerNotifications {
  readonly notifications: Notifications;
  readonly settings: NotifySettings;
  readonly alarms: AlarmKeeper;
  readonly #parts: ServerNotificationsParts;
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #facts: StoreFactsSource | undefined;
  #figures: { readonly atMs: number; readonly facts: Promise<StoreFacts> } | undefined;

  constructor(parts: ServerNotificationsParts) {
    this.#parts = parts;
    const { state, audit, node, clock, log } = parts;
    const store = new NotifyTables(state.db);
    const queue = new NotifyQueueTable(state.db);
    this.settings = new NotifySettings(store);
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

  /** Of a task that has ended. Nothing that fails here keeps the task from its end. */
  taskEnded(find: () => TaskRow | undefined): void {
    try {
      const row = find();
      const event = row && taskEvent(row, this.#parts.node);
      if (event !== undefined) this.notifications.tell(event);
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'the end of a task could not be told');
    }
  }

  start(datastores: Pick<Datastores, 'list' | 'get'>, tasks: Pick<Tasks, 'list'>): void {
    this.#facts = new StoreFactsSource(datastores);
    const { node, clock, log } = this.#parts;
    this.notifications.start();
    const check = (): void => {
      this.checkAlarms().catch((error: unknown) => {
        if (!this.#stop.signal.aborted) log.warn({ err: error }, 'alarms could not be checked');
      });
    };
    this.#timers.push(setTimeout(check, this.#parts.firstCheckMs ?? FIRST_CHECK_MS), setInterval(check, HOUR_MS));
    const { settings } = this;
    const digest = (): void => {
      try {
        sendDueDigest({ settings, tasks, tell: (event) => this.notifications.tell(event), node, clock });
      } catch (error) {
        log.warn({ err: error }, 'the digest could not be made; it is tried again');
      }
    };
    this.#timers.push(setInterval(digest, MINUTE_MS));
    digest();
  }

  /** @throws what reading datastores or the state throws. */
  async checkAlarms(): Promise<void> {
    const facts = await this.figures(0);
    this.alarms.check(facts, facts.unknown, this.settings.rules());
  }

  /** Of all groups, not older than `maxAgeMs`. One reading at a time. */
  async figures(maxAgeMs: number = FIGURES_AGE_MS): Promise<StoreFacts> {
    const nowMs = performance.now();
    if (this.#facts === undefined) return { groups: [], datastores: [], unknown: new Set() };
    if (this.#figures === undefined || nowMs - this.#figures.atMs > maxAgeMs) {
      const now = Math.floor(this.#parts.clock() / 1000);
      const facts = this.#facts.read(now, this.settings.rules().verifyDays, this.#stop.signal);
      this.#figures = { atMs: nowMs, facts };
      facts.catch(() => {
        this.#figures = undefined;
      });
    }
    return await this.#figures.facts;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#stop.abort(new Error('the server is stopping'));
    await this.notifications.close();
  }
}
