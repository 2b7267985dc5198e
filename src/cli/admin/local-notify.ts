// Notifications on the server's machine, as root@pam. A server that runs notices what is changed by itself.
import { hostNames } from '../../daemon/host-names.ts';
import { MAX_LISTED, testTarget } from '../../notify/notifications.ts';
import { NotifyConfig } from '../../notify/notify-config.ts';
import { NotifySettings } from '../../notify/settings.ts';
import { NotifyQueueTable } from '../../state/notify-queue-table.ts';
import { NotifyTables } from '../../state/notify-tables.ts';
import type { NotifyAdministration } from './notify-administration.ts';
import type { OpenState } from './server-state.ts';

export function localNotify({ state, stores, actor }: OpenState): NotifyAdministration {
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
  };
}

/** Of alarms and the digest. */
export function localNotifySettings({ state }: Pick<OpenState, 'state'>): NotifySettings {
  return new NotifySettings(new NotifyTables(state.db));
}
