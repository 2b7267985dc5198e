// Composition root of the server: builds every part by hand, in the order in which they need each other, and takes them apart in reverse.

import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { loadFileCalls } from './agent/tree/file-calls.ts';
import { Consoles } from './api/guest/console/consoles.ts';
import type { Choosable } from './api/guest/routes/cluster/covered-guests.ts';
import { createGuestApi } from './api/guest/server.ts';
import type { GuestServices } from './api/guest/services.ts';
import { createApi } from './api/server.ts';
import type { ApiServices, CommonServices } from './api/services.ts';
import { SnapshotViews } from './api/snapshots/snapshot-views.ts';
import { accessServices } from './auth/access-services.ts';
import type { Pools } from './auth/pools.ts';
import { openApiListener } from './daemon/api-listener.ts';
import { Certificates } from './daemon/certificates.ts';
import { Clients } from './daemon/clients.ts';
import { DatastoreList } from './daemon/datastore-list.ts';
import { DatastoreStorages } from './daemon/guests/datastore-storages.ts';
import { GuestBackups } from './daemon/guests/guest-backups.ts';
import type { Phase } from './daemon/health.ts';
import { hostNames } from './daemon/host-names.ts';
import { GUEST_REALMS, GUEST_VERSION_INFO, instanceId, REALMS, VERSION_INFO } from './daemon/installation.ts';
import { removeStoreJobs, serverJobs } from './daemon/jobs/server-jobs.ts';
import type { Log } from './daemon/log.ts';
import { mainThreadFirst } from './daemon/main-priority.ts';
import { Metrics } from './daemon/metrics.ts';
import { ServerNotifications, type ServerNotificationsParts } from './daemon/notify/server-notifications.ts';
import type { StartPool } from './daemon/open-store.ts';
import type { ServerConfig } from './daemon/server-config.ts';
import { sessionTasks } from './daemon/session-tasks.ts';
import { StateBackup } from './daemon/state-backup/state-backup.ts';
import { StateDirectory } from './daemon/state-directory.ts';
import { Datastores } from './daemon/stores.ts';
import type { Operations } from './datastore/control/operation.ts';
import { Tasks } from './jobs/tasks/tasks.ts';
import { Enrolments } from './nodes/enrolments.ts';
import { enrolLocal, hasLocalNode } from './nodes/local-agent.ts';
import { NodeOrders } from './nodes/node-orders.ts';
import { Nodes } from './nodes/nodes.ts';
import type { OrderTask } from './nodes/placed-order.ts';
import { type AuthId, ROOT_USER } from './schema/auth-id.ts';
import { LOCAL_NODE } from './schema/names.ts';
import { authTables } from './state/auth-tables.ts';
import { DatastoreTables } from './state/datastore-tables.ts';
import { nodeTables } from './state/node-tables.ts';
import { StateDatabase } from './state/state-database.ts';
import { TaskTables } from './state/task-tables.ts';
import type { Order } from './transport/control/orders.ts';
import { TransportSessions } from './transport/server/sessions.ts';
import { closeAll } from './util/close-all.ts';
import { HoldfastError } from './util/errors.ts';

const GUEST_INFO = { realms: GUEST_REALMS, version: GUEST_VERSION_INFO };
const DAY_MS = 24 * 3600 * 1000;
const MAX_WORKERS = 64;
/** What the backup of the server's own state may take when the server ends. */
const LAST_STATE_BACKUP_MS = 30_000;
/** How soon the server notices what a command changed in the list of datastores or in their limits, and that a thread has ended. */
const FOLLOW_EVERY_MS = 2000;
/** While the server is ending. */
const ABANDONED_LOOK_MS = 1000;

export interface ServerParts {
  readonly config: ServerConfig;
  readonly log: Log;
  readonly startPool: StartPool;
  /** What commands of the same user may ask of a datastore that the server holds. */
  readonly operations: Operations;
  /** The guests of this machine; without them there is no listener of the guest dialect. */
  readonly guests?: ServedGuests | undefined;
  /** Instead of the usual times at which alarms and the digest are looked at, by the usual clock. */
  readonly rounds?: Partial<Pick<ServerNotificationsParts, 'clock' | 'times'>>;
}

export type ServedGuests = Pick<GuestServices, 'guests' | 'storages'>;

export interface RunningServer {
  readonly address: AddressInfo;
  /** Of the guest dialect. */
  readonly guestAddress: AddressInfo | undefined;
  /** Of root@pam, at the very first start: nothing can show it again. */
  readonly rootPassword: string | undefined;
  fingerprint(): string;
  /** For an agent in this process, node `localhost`: its token, or undefined when it has one already and brings it (`isEnrolled`). */
  enrolLocalAgent(
    machine: { readonly machineId: string; readonly hostName: string },
    isEnrolled: boolean,
  ): { readonly tokenid: AuthId; readonly value: string } | undefined;
  /** Reads the certificate anew; connections stay. A bad one is refused, and the old one stays. */
  reload(): Promise<void>;
  /** Ends tasks (`hurry`: without waiting for them), connections and datastores. */
  stop(hurry?: AbortSignal): Promise<void>;
}

/** @throws what a part throws that is needed: state directory, state, certificate, address. What was opened is closed then. */
export async function startServer(parts: ServerParts): Promise<RunningServer> {
  const closing: (() => unknown)[] = [];
  try {
    return await start(parts, closing);
  } catch (error) {
    // The first error is the one to show.
    await closeAll(closing).catch(() => undefined);
    throw error;
  }
}

async function start(
  { config, log, startPool, operations, guests, rounds }: ServerParts,
  closing: (() => unknown)[],
): Promise<RunningServer> {
  let phase: Phase = 'starting';
  const clock = Date.now;
  const names = hostNames();
  const directory = StateDirectory.open(config.stateDirectory);
  closing.push(() => directory.close());
  const state = StateDatabase.open(directory.database);
  closing.push(() => state.close());
  const stores = authTables(state);
  const access = accessServices(stores, clock);

  const notify = new ServerNotifications({ state, audit: stores.audit, node: names[0], clock, log, ...rounds });
  closing.push(() => notify.close());
  const metrics = new Metrics({
    groups: () => notify.figures(),
    jobs: () => notify.jobFigures(),
    datastores: () => datastores.figures(),
    runningTasks: () => tasks.runningCount,
    connectedAgents: () => nodes.onlineCount,
    openSessions: () => sessions.count,
    stateBackup: () => stateBackup.figures,
  });
  closing.push(() => metrics.close());
  const tasks = new Tasks({
    store: new TaskTables(state.db),
    directory: directory.taskLogs,
    node: names[0],
    clock,
    onEnd: (type, { upid, outcome }) => {
      metrics.taskEnded(type, outcome);
      notify.taskEnded(() => tasks.get(upid));
    },
  });
  const interrupted = await tasks.markInterrupted();
  if (interrupted > 0) log.warn({ tasks: interrupted }, 'tasks were cut off when the server stopped the last time');

  const certificates = new Certificates(config.certificate, directory, names, log);
  let certificate = await certificates.load();

  const onBug = (error: unknown): void => log.error({ err: error }, 'this is a bug in Holdfast');
  const sessions = new TransportSessions({
    watch: sessionTasks(tasks),
    report: (error) => log.warn({ err: error }, 'a session ended badly'),
  });
  const list = new DatastoreList({
    table: new DatastoreTables(state.db),
    audit: stores.audit,
    transactions: state,
    stateDirectory: directory.path,
    removeJobs: (actor, name) => removeStoreJobs(jobs.desk, actor, name),
  });
  const clients = new Clients({
    sessions,
    host: config.host,
    firstPort: config.bulkPort,
    names: () => list.all().map(({ name }) => name),
    certificate: () => certificate,
    duplicate: (fd) => loadFileCalls().duplicate(fd),
    report: (error) => log.warn({ err: error }, 'a connection failed'),
  });
  const datastores = new Datastores({
    list,
    startPool: mainThreadFirst(startPool),
    operations,
    serve: (open) => clients.serve(open),
    endWork: (name, reason) => tasks.abortAll(name, reason),
    workers: Math.min(MAX_WORKERS, availableParallelism()),
    warn: (message, datastore) => log.warn({ datastore }, message),
  });
  closing.push(() => datastores.close());
  closing.push(() => sessions.close());
  clients.reserve();
  await datastores.openAll();
  if (config.firstDatastore !== undefined && datastores.list().length === 0)
    await makeFirst(datastores, config.firstDatastore, directory.path);

  const stateBackup = new StateBackup({
    state,
    directory: directory.stateBackup,
    datastore: config.stateDatastore,
    datastores,
    tasks,
    node: names[0],
    certificate: () => certificate,
    describe: () => ({ stateDirectory: directory.path, configFile: config.file ?? null }),
    log,
    clock,
  });
  closing.push(() => stateBackup.close());

  const nodeStore = nodeTables(state.db);
  const onNode = (message: string, detail: Readonly<Record<string, unknown>>): void => log.info(detail, message);
  const orders = new NodeOrders({ tasks, report: onNode });
  const nodes = new Nodes({
    store: nodeStore,
    enrolments: new Enrolments({
      store: nodeStore,
      access: access.access,
      tokens: stores.tokens,
      throttle: access.throttle,
      audit: stores.audit,
      failures: access.failures,
      transactions: state,
      clock,
      ownNames: names,
    }),
    orders,
    clock,
    version: VERSION_INFO.version,
    report: onNode,
  });

  const jobs = serverJobs({
    state,
    audit: stores.audit,
    clock,
    tasks,
    get: (name) => datastores.get(name),
    isOnline: (node) => nodes.get(node).status === 'online',
    order: (node, order, authId) => nodes.order(node, order, authId as AuthId),
    orderWithin: async (node, order, work) => await nodes.orderWithin(node, order, work),
    guestsOf: async (node) => await guestsOf(node, guests, access.pools),
    endOf: (upid) => tasks.ended(upid),
    abort: (upid, reason) => tasks.abort(upid, reason),
    limits: config.jobLimits,
    report: (message, detail) => log.warn(detail, message),
    onRunEnd: (run, job) => notify.runEnded(run, job),
    onBug,
  });
  closing.push(() => jobs.stop());

  const health = {
    phase: () => phase,
    checkState: () => void state.db.prepare('SELECT 1').get(),
    datastores: () => datastores.list().map(({ name }) => datastores.state(name)),
  };
  const common: CommonServices = {
    ...access,
    tasks,
    realms: REALMS,
    version: VERSION_INFO,
    node: {
      name: names[0],
      instanceId: instanceId(stores.secrets),
      fingerprint: () => certificate.fingerprint,
    },
    clock,
  };
  const { notifications } = notify;
  const services: ApiServices = {
    ...common,
    datastores,
    sessions,
    nodes,
    notifications,
    rounds: notify,
    jobs: jobs.desk,
    pools: access.pools,
  };
  const views = new SnapshotViews();
  const onCut = (error: Error): void => log.warn({ err: error }, 'a download was cut off');
  const api = createApi(services, { onBug, onCut, views });
  const behind = { certificate, metrics, health, onBug };
  const { host, port, guestHost, guestPort } = config;
  const listener = await openApiListener({ ...behind, api, host, port, option: '--listen' }, closing);
  const { address } = listener;
  const consoles = new Consoles();
  const guestListener =
    guests === undefined
      ? undefined
      : await openApiListener(
          {
            ...behind,
            api: createGuestApi(
              {
                ...common,
                ...withBackups(guests, { datastores, tasks, nodes }),
                consoles,
                jobs: jobs.desk,
                pools: access.pools,
                ...GUEST_INFO,
              },
              { onBug },
            ),
            host: guestHost,
            port: guestPort,
            option: '--guest-listen',
          },
          closing,
        );
  closing.push(() => nodes.close());
  closing.push(() => consoles.close());

  const follow = setInterval(() => {
    datastores.follow().catch(onBug);
  }, FOLLOW_EVERY_MS);
  closing.push(() => clearInterval(follow));
  const daily = setInterval(() => {
    keepHouse().catch(onBug);
  }, DAY_MS);
  closing.push(() => clearInterval(daily));
  const keepHouse = async (): Promise<void> => {
    certificates.warnOfExpiry(certificate);
    const removed = await tasks.prune(config.taskHistory);
    if (removed > 0) log.info({ tasks: removed }, 'old tasks were forgotten');
  };
  await keepHouse();

  await stateBackup.start();
  notify.start(datastores, tasks, jobs.desk, views);

  // Last, because its password is told once: nothing may fail after it.
  const rootPassword = await access.createRoot();
  jobs.start();
  phase = 'running';
  log.info({ address: address.address, port: address.port, fingerprint: certificate.fingerprint }, 'the server runs');
  if (guestListener !== undefined) {
    const { address: at, port: on } = guestListener.address;
    log.info({ address: at, port: on }, 'guests of this machine are served');
  }

  const stop = async (hurry?: AbortSignal): Promise<void> => {
    phase = 'stopping';
    log.info({ tasks: tasks.runningCount }, 'the server is stopping');
    // As a task, so before no more are started. What tasks that still run change is in the next one.
    const limits = [AbortSignal.timeout(LAST_STATE_BACKUP_MS), ...(hurry === undefined ? [] : [hurry])];
    await stateBackup.run(AbortSignal.any(limits));
    jobs.stop();
    orders.stop();
    // Their tasks end with them: nothing waits for somebody at a terminal.
    consoles.close();
    // Backups of clients that are gone are not waited for.
    const looking = setInterval(() => sessions.endAbandoned(), ABANDONED_LOOK_MS);
    const { aborted } = await tasks.drain(config.drainMs, hurry);
    clearInterval(looking);
    if (aborted > 0) log.warn({ tasks: aborted }, 'tasks were aborted');
    await closeAll(closing);
    log.info('the server has stopped');
  };
  let stopped: Promise<void> | undefined;
  return {
    address,
    guestAddress: guestListener?.address,
    rootPassword,
    fingerprint: () => certificate.fingerprint,
    enrolLocalAgent: (machine, isEnrolled) => {
      const allow = (authId: AuthId): void =>
        access.access.changeAcl(
          { authId: ROOT_USER, address: '' },
          { path: '/datastore', role: 'DatastoreAdmin', authId },
        );
      const local = { enrolments: nodes.enrolments, store: nodeStore, allow };
      return isEnrolled && hasLocalNode(local) ? undefined : enrolLocal(local, machine);
    },
    reload: async () => {
      certificate = await certificates.load();
      listener.secure(certificate);
      guestListener?.secure(certificate);
      await clients.secure();
      log.info({ fingerprint: certificate.fingerprint }, 'the certificate was read anew');
    },
    stop: (hurry) => {
      stopped ??= stop(hurry);
      return stopped;
    },
  };
}

/** Of the one node whose guests are known here. */
async function guestsOf(
  node: string,
  own: ServedGuests | undefined,
  pools: Pick<Pools, 'poolsOfGuests'>,
): Promise<readonly Choosable[]> {
  if (node === LOCAL_NODE && own !== undefined) {
    const there = await own.guests.list();
    const poolOf = pools.poolsOfGuests();
    return there.map(({ vmid, tags }) => ({ vmid, tags, pool: poolOf.get(vmid) }));
  }
  throw new HoldfastError(
    'not-found',
    `which guests node ${node} has is not known here: name them; only those of node ${LOCAL_NODE} are, with --node-dir`,
  );
}

/** Datastores as storages of the guests' machine, and its agent for what is done with them. */
function withBackups(
  { guests, storages }: ServedGuests,
  { datastores, tasks, nodes }: { readonly datastores: Datastores; readonly tasks: Tasks; readonly nodes: Nodes },
): Pick<GuestServices, 'guests' | 'storages' | 'backups'> {
  const all = new DatastoreStorages(storages, datastores, tasks);
  const agent = {
    isOnline: () => nodes.list().some(({ name, status }) => name === LOCAL_NODE && status === 'online'),
    run: async (...[order, work]: [Order, OrderTask]) => await nodes.orderWithin(LOCAL_NODE, order, work),
  };
  return { guests, storages: all, backups: new GuestBackups(agent, all, (name) => datastores.get(name)) };
}

/** `/var/lib/holdfast-main` beside `/var/lib/holdfast`; one that is there already is taken. */
async function makeFirst(datastores: Datastores, name: string, stateDirectory: string): Promise<void> {
  const path = `${stateDirectory}-${name}`;
  await datastores.create({ authId: ROOT_USER, address: '' }, { name, path, reuse: existsSync(path) });
}
