// Figures for Prometheus: the process, its event loop, requests, tasks, datastores. Labels are few by construction: routes are patterns,
// not paths.
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** How often the event loop is asked whether it is in time. At 10 ms that alone was half of what a server at rest took: 1.0 % of a core, 0.5 % at 50. */
const EVENT_LOOP_RESOLUTION_MS = 40;
const REQUEST_BUCKETS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600];
/** Each is six figures: more make a page that nobody's Prometheus wants. */
const MAX_GROUPS = 1000;
const MAX_JOBS = 1000;
const SHARES = [0.5, 0.99, 1] as const;

export interface DatastoreFigures {
  readonly name: string;
  readonly isOpen: boolean;
  readonly totalBytes: number | undefined;
  readonly availableBytes: number | undefined;
}

/** Of a group of snapshots; times in Unix seconds. */
export interface GroupMetrics {
  readonly datastore: string;
  readonly ns: string;
  readonly group: string;
  readonly lastGood: number | undefined;
  readonly sizeBytes: number | undefined;
  readonly newBytes: number | undefined;
  readonly durationSeconds: number | undefined;
  /** Undefined when nothing about it is unusual. */
  readonly anomaly: string | undefined;
}

/** Of a job; times in Unix seconds. */
export interface JobMetrics {
  readonly kind: string;
  readonly id: string;
  readonly lastGood: number | undefined;
  /** Undefined of one that the clock does not start. */
  readonly isBehind: boolean | undefined;
}

/** What is asked each time that figures are read. */
export interface MetricSources {
  datastores(): Promise<readonly DatastoreFigures[]>;
  runningTasks(): number;
  connectedAgents(): number;
  /** Of clients. */
  openSessions(): number;
  groups(): Promise<readonly GroupMetrics[]>;
  jobs(): readonly JobMetrics[];
  stateBackup(): { readonly lastSeconds: number; readonly hasFailed: boolean };
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #requestSeconds: Histogram<'method' | 'route'>;
  readonly #tasks: Counter<'type' | 'result'>;

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    this.#delay.enable();
    this.#requests = new Counter({
      name: 'holdfast_http_requests_total',
      help: 'Answered requests',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#requestSeconds = new Histogram({
      name: 'holdfast_http_request_seconds',
      help: 'Time from a request to the end of its answer',
      labelNames: ['method', 'route'],
      buckets: REQUEST_BUCKETS,
      registers,
    });
    this.#tasks = new Counter({
      name: 'holdfast_tasks_total',
      help: 'Ended tasks',
      labelNames: ['type', 'result'],
      registers,
    });
    this.#gauge('holdfast_tasks_running', 'Running tasks', () => sources.runningTasks());
    this.#gauge('holdfast_agents_connected', 'Hosts whose agent is connected', () => sources.connectedAgents());
    this.#gauge('holdfast_sessions_open', 'Sessions of clients that are open: backups and restores', () =>
      sources.openSessions(),
    );
    this.#gauge(
      'holdfast_state_backup_timestamp_seconds',
      "When the server's own state was last backed up; 0 for never",
      () => sources.stateBackup().lastSeconds,
    );
    this.#gauge('holdfast_state_backup_failed', 'Whether the last backup of the state failed (1) or not (0)', () =>
      Number(sources.stateBackup().hasFailed),
    );
    this.#datastoreGauges(sources);
    this.#groupGauges(sources);
    this.#jobGauges(sources);
    this.#processGauges();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** `route` is the pattern that matched, never the path of a request. */
  request(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status: String(status) });
    this.#requestSeconds.observe({ method, route }, seconds);
  }

  taskEnded(type: string, result: string): void {
    this.#tasks.inc({ type, result });
  }

  /** All figures, as Prometheus reads them. The event loop's start anew with each reading. */
  async text(): Promise<string> {
    const text = await this.#registry.metrics();
    this.#delay.reset();
    return text;
  }

  close(): void {
    this.#delay.disable();
    this.#registry.clear();
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(value());
      },
    });
  }

  #datastoreGauges(sources: MetricSources): void {
    const figures: readonly [string, string, (each: DatastoreFigures) => number | undefined][] = [
      ['open', 'Whether the datastore is open (1) or not (0)', ({ isOpen }) => Number(isOpen)],
      ['total_bytes', 'Size of the file system', ({ totalBytes }) => totalBytes],
      ['available_bytes', 'What can still be written to the file system', ({ availableBytes }) => availableBytes],
      [
        'used_bytes',
        'What is used of the file system',
        ({ totalBytes, availableBytes }) =>
          totalBytes === undefined || availableBytes === undefined ? undefined : totalBytes - availableBytes,
      ],
    ];
    for (const [name, help, figure] of figures)
      new Gauge({
        name: `holdfast_datastore_${name}`,
        help,
        labelNames: ['datastore'],
        registers: [this.#registry],
        async collect() {
          const datastores = await sources.datastores();
          // A datastore that was removed has no figures any more.
          this.reset();
          for (const each of datastores) {
            const value = figure(each);
            if (value !== undefined) this.set({ datastore: each.name }, value);
          }
        },
      });
  }

  #groupGauges(sources: MetricSources): void {
    const figures: readonly [string, string, (each: GroupMetrics) => number | undefined][] = [
      [
        'last_good_snapshot_timestamp_seconds',
        'Time of the newest snapshot that can be read and has no known damage; 0 without one',
        ({ lastGood }) => lastGood ?? 0,
      ],
      [
        'last_good_snapshot_age_seconds',
        'Age of that snapshot; nothing without one',
        ({ lastGood }) => (lastGood === undefined ? undefined : Math.max(0, Math.floor(Date.now() / 1000) - lastGood)),
      ],
      ['size_bytes', 'Size of what that snapshot holds', ({ sizeBytes }) => sizeBytes],
      ['new_bytes', 'What the last snapshot that was counted added, before compression', ({ newBytes }) => newBytes],
      ['duration_seconds', 'How long making that snapshot took', ({ durationSeconds }) => durationSeconds],
      [
        'anomaly',
        'Whether a snapshot is unusual, as after an attack, and nobody has looked yet (1), or not (0)',
        ({ anomaly }) => Number(anomaly !== undefined),
      ],
    ];
    let groups: Promise<readonly GroupMetrics[]> = Promise.resolve([]);
    new Gauge({
      name: 'holdfast_groups',
      help: 'Groups of snapshots; of the first 1000 there are figures',
      registers: [this.#registry],
      async collect() {
        // Without them the other figures are there still.
        groups = sources.groups().catch(() => []);
        this.set((await groups).length);
      },
    });
    for (const [name, help, figure] of figures)
      new Gauge({
        name: `holdfast_group_${name}`,
        help,
        labelNames: ['datastore', 'namespace', 'group'],
        registers: [this.#registry],
        async collect() {
          const rows = await groups;
          this.reset();
          for (const { datastore, ns, group, ...row } of rows.slice(0, MAX_GROUPS)) {
            const value = figure({ datastore, ns, group, ...row });
            if (value !== undefined) this.set({ datastore, namespace: ns, group }, value);
          }
        },
      });
  }

  #jobGauges(sources: MetricSources): void {
    const figures: readonly [string, string, (each: JobMetrics) => number | undefined][] = [
      [
        'last_success_timestamp_seconds',
        'When the last run of the job began that ended well; nothing without one',
        ({ lastGood }) => lastGood,
      ],
      [
        'behind',
        'Whether two times of the job in a row passed without a good run, longer ago than its alarm allows (1), or not (0)',
        ({ isBehind }) => (isBehind === undefined ? undefined : Number(isBehind)),
      ],
    ];
    let jobs: readonly JobMetrics[] = [];
    new Gauge({
      name: 'holdfast_jobs',
      help: 'Jobs; of the first 1000 there are figures',
      registers: [this.#registry],
      collect() {
        try {
          jobs = sources.jobs();
        } catch {
          // The other figures are there still.
          jobs = [];
        }
        this.set(jobs.length);
      },
    });
    for (const [name, help, figure] of figures)
      new Gauge({
        name: `holdfast_job_${name}`,
        help,
        // Not "job": Prometheus has a label of that name on everything.
        labelNames: ['kind', 'id'],
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const each of jobs.slice(0, MAX_JOBS)) {
            const value = figure(each);
            if (value !== undefined) this.set({ kind: each.kind, id: each.id }, value);
          }
        },
      });
  }

  #processGauges(): void {
    const startedAt = Date.now() / 1000 - process.uptime();
    this.#gauge('process_start_time_seconds', 'When the process started', () => startedAt);
    this.#gauge('process_resident_memory_bytes', 'Memory of the process', () => process.memoryUsage.rss());
    this.#gauge('process_cpu_seconds_total', 'Processor time of the process', () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    const delay = this.#delay;
    new Gauge({
      name: 'holdfast_event_loop_delay_seconds',
      help: 'Delay of the event loop since the last reading; quantile 1 is the longest',
      labelNames: ['quantile'],
      registers: [this.#registry],
      collect() {
        // Node counts from one question to the next, the time between them with it.
        for (const share of SHARES) {
          const seconds = delay.percentile(share * 100) / 1e9 - EVENT_LOOP_RESOLUTION_MS / 1000;
          this.set({ quantile: String(share) }, Math.max(0, seconds));
        }
      },
    });
  }
}
