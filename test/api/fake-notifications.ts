// Notifications as the API asks for them, over real tables in memory; a test of a target is only noted.
import Database from 'better-sqlite3';
import type { NotificationCalls } from '../../src/api/services.ts';
import { NotifyConfig } from '../../src/notify/notify-config.ts';
import type { Delivery } from '../../src/notify/queue-store.ts';
import { MIGRATIONS } from '../../src/state/migrations/all.ts';
import { NotifyQueueTable } from '../../src/state/notify-queue-table.ts';
import { NotifyTables } from '../../src/state/notify-tables.ts';
import { HoldfastError } from '../../src/util/errors.ts';

export class FakeNotifications implements NotificationCalls {
  readonly tested: string[] = [];
  readonly audit: unknown[] = [];
  readonly store: NotifyTables;
  readonly queue: NotifyQueueTable;
  readonly config: NotifyConfig;

  constructor() {
    const db = new Database(':memory:');
    db.pragma('foreign_keys = ON');
    for (const { up } of MIGRATIONS) db.exec(up);
    this.store = new NotifyTables(db);
    this.queue = new NotifyQueueTable(db);
    this.config = new NotifyConfig({
      store: this.store,
      queue: this.queue,
      audit: { append: (each) => this.audit.push(each) },
      transactions: { atomically: (work) => (db.inTransaction ? work() : db.transaction(work).immediate()) },
    });
  }

  async test(name: string): Promise<void> {
    this.config.target(name);
    this.tested.push(name);
    if (name === 'broken') throw new HoldfastError('server-unreachable', 'the mail server cannot be reached');
  }

  waiting(): readonly Delivery[] {
    return this.queue.list(1000);
  }
}
