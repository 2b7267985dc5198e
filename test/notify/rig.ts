// Notifications over a real state database, with a clock that stands still until it is moved.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Notifications } from '../../src/notify/notifications.ts';
import { NotifyConfig } from '../../src/notify/notify-config.ts';
import type { QueueRules } from '../../src/notify/sender.ts';
import { NotifyQueueTable } from '../../src/state/notify-queue-table.ts';
import { NotifyTables } from '../../src/state/notify-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { temporaryDirectory } from '../auth/access-fixture.ts';
import { NOW } from './fixture.ts';

export const WHO = { authId: 'root@pam', address: '' };

export class NotifyRig {
  readonly state: StateDatabase;
  readonly queue: NotifyQueueTable;
  readonly store: NotifyTables;
  readonly config: NotifyConfig;
  readonly notifications: Notifications;
  readonly warnings: string[] = [];
  readonly audit: unknown[] = [];
  nowMs = NOW * 1000;

  constructor(t: TestContext, options: { path?: string; rules?: Partial<QueueRules>; most?: number } = {}) {
    this.state = StateDatabase.open(options.path ?? join(temporaryDirectory(t), 'state.db'));
    this.queue = new NotifyQueueTable(this.state.db, options.most);
    this.store = new NotifyTables(this.state.db);
    this.config = new NotifyConfig({
      store: this.store,
      queue: this.queue,
      audit: { append: (each) => this.audit.push(each) },
      transactions: this.state,
    });
    this.notifications = new Notifications({
      config: this.config,
      secretsOf: (name) => this.store.secretsOf(name),
      queue: this.queue,
      node: 'backup1',
      clock: () => this.nowMs,
      warn: (message, detail) => this.warnings.push(`${message} ${JSON.stringify(detail)}`),
      rules: { lookEveryMs: 20, ...options.rules },
    });
    t.after(() => this.close());
  }

  async close(): Promise<void> {
    await this.notifications.close();
    this.state.close();
  }
}

export async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !isSo(); await setTimeout(10))
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
}
