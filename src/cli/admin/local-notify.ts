// Notifications on the server's machine, as root@pam. A server that runs notices what is changed by itself.
import { setTimeout as sleep } from 'node:timers/promises';
import { hostNames } from '../../daemon/host-names.ts';
import { digestNow } from '../../daemon/notify/daily-digest.ts';
import { alarmView } from '../../notify/alarms/alarm-keeper.ts';
import { CheckRequests } from '../../notify/alarms/check-requests.ts';
import { MAX_LISTED, queueEvent, testTarget } from '../../notify/notifications.ts';
import { NotifyConfig } from '../../notify/notify-config.ts';
import { NotifySettings } from '../../notify/settings.ts';
import { NotifyQueueTable } from '../../state/notify-queue-table.ts';
import { AlarmTable, NotifyTables } from '../../state/notify-tables.ts';
import { TaskTables } from '../../state/task-tables.ts';
import { HoldfastError } from '../../util/errors.ts';
import { warn } from '../repository.ts';
import type { CheckView, NotifyAdministration } from './notify-administration.ts';
import type { OpenState } from './server-state.ts';

/** A server that runs looks every two seconds whether somebody asks. */
const BEGIN_MS = 15_000;
/** A datastore that does not answer is given up after ten minutes; several may hang. */
const END_MS = 3600_000;
const POLL_MS = 100;

export function localNotify(open: OpenState): NotifyAdministration {
  const { state, stores, actor } = open;
  const store = new NotifyTables(state.db);
  const queue = new NotifyQueueTable(state.db);
  const config = new NotifyConfig({ store, queue, audit: stores.audit, transactions: state });
  const node = hostNames()[0];
  return {
    targets: async () => config.targets(),
    secretNames: async (name) => config.secretNames(name),
    addTarget: async (target, secrets) => config.addTarget(actor, target, secrets),
    removeTarget: async (name) => config.removeTarget(actor, name),
    test: (name) => testTarget({ config, secretsOf: (each) => store.secretsOf(each), node, clock: Date.now }, name),
    matchers: async () => config.matchers(),
    addMatcher: async (matcher) => config.addMatcher(actor, matcher),
    useMatcher: async (name, enabled) => config.updateMatcher(actor, name, (before) => ({ ...before, enabled })),
    removeMatcher: async (name) => config.removeMatcher(actor, name),
    queue: async () =>
      queue.list(MAX_LISTED).map(({ id, target, state: at, event, attempts, addedMs, nextMs, error }) => ({
        id,
        target,
        state: at,
        severity: event.severity,
        subject: event.subject,
        attempts,
        added: Math.floor(addedMs / 1000),
        next: Math.floor(nextMs / 1000),
        error,
      })),
    check: () => askServer(open),
    digest: async (hours) => {
      const event = digestNow({ tasks: new TaskTables(state.db), node, clock: Date.now }, hours);
      return queueEvent({ config, queue, clock: Date.now, warn }, event);
    },
  };
}

/** Datastores are held by the server, so it looks. */
async function askServer({ state, directory }: OpenState): Promise<CheckView> {
  const requests = new CheckRequests(new NotifyTables(state.db));
  const number = state.atomically(() => requests.ask());
  if (!(await comes(() => requests.hasBegun(number), BEGIN_MS)))
    throw new HoldfastError(
      'server-unreachable',
      `no server runs with the state directory ${directory}, or it does not answer, and it is the server that looks: start it, or name the right directory with --state-dir`,
    );
  if (!(await comes(() => requests.endOf(number) !== undefined, END_MS)))
    throw new HoldfastError('timed-out', `the server still looks after ${END_MS / 60_000} min; its log says why`);
  const { unknown, problem } = requests.endOf(number) ?? { unknown: [] };
  if (problem !== undefined) throw new HoldfastError('task-failed', `alarms could not be checked: ${problem}`);
  return { alarms: new AlarmTable(state.db).raised().map(alarmView), unknown };
}

async function comes(isThere: () => boolean, withinMs: number): Promise<boolean> {
  for (const until = performance.now() + withinMs; !isThere(); await sleep(POLL_MS))
    if (performance.now() > until) return false;
  return true;
}

/** Of alarms and the digest. */
export function localNotifySettings({ state }: Pick<OpenState, 'state'>): NotifySettings {
  return new NotifySettings(new NotifyTables(state.db));
}
