// The tables of notifications (migration 6) but for the queue. All their queries are here.
import type { Database } from 'better-sqlite3';
import type { AlarmStore, RaisedAlarm } from '../notify/alarms/alarm-store.ts';
import type { ConfigStore } from '../notify/config-store.ts';
import type { Matcher } from '../notify/matcher.ts';
import type { Secrets, TargetConfig } from '../notify/target-config.ts';

interface Named {
  readonly name: string;
  readonly config: string;
}

export class NotifyTables implements ConfigStore {
  readonly #db: Database;

  /** `db` has migration 6. */
  constructor(db: Database) {
    this.#db = db;
  }

  targets(): TargetConfig[] {
    return this.#all('notify_targets') as TargetConfig[];
  }

  secretsOf(target: string): Secrets {
    const rows = this.#db.prepare('SELECT name, value FROM notify_secrets WHERE target = ?').all(target);
    return Object.fromEntries((rows as { name: string; value: string }[]).map(({ name, value }) => [name, value]));
  }

  putTarget({ name, ...config }: TargetConfig, secrets: Secrets): void {
    this.#db.transaction(() => {
      this.#put('notify_targets', name, config);
      this.#db.prepare('DELETE FROM notify_secrets WHERE target = ?').run(name);
      const add = this.#db.prepare('INSERT INTO notify_secrets (target, name, value) VALUES (?, ?, ?)');
      for (const [key, value] of Object.entries(secrets)) add.run(name, key, value);
    })();
  }

  removeTarget(name: string): void {
    this.#db.prepare('DELETE FROM notify_targets WHERE name = ?').run(name);
  }

  matchers(): Matcher[] {
    return this.#all('notify_matchers') as Matcher[];
  }

  putMatcher({ name, ...config }: Matcher): void {
    this.#put('notify_matchers', name, config);
  }

  removeMatcher(name: string): void {
    this.#db.prepare('DELETE FROM notify_matchers WHERE name = ?').run(name);
  }

  setting(name: string): string | undefined {
    const value = this.#db.prepare('SELECT value FROM notify_settings WHERE name = ?').pluck().get(name);
    return value as string | undefined;
  }

  putSetting(name: string, value: string): void {
    this.#db
      .prepare('INSERT INTO notify_settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
      .run(name, value);
  }

  #all(table: 'notify_targets' | 'notify_matchers'): unknown[] {
    const rows = this.#db.prepare(`SELECT name, config FROM ${table} ORDER BY name`).all() as Named[];
    return rows.map(({ name, config }) => ({ name, ...(JSON.parse(config) as object) }));
  }

  #put(table: 'notify_targets' | 'notify_matchers', name: string, config: object): void {
    this.#db
      .prepare(`INSERT INTO ${table} VALUES (?, ?) ON CONFLICT DO UPDATE SET config = excluded.config`)
      .run(name, JSON.stringify(config));
  }
}

export class AlarmTable implements AlarmStore {
  readonly #db: Database;

  /** `db` has migrations 6 and 8. */
  constructor(db: Database) {
    this.#db = db;
  }

  raised(): RaisedAlarm[] {
    const rows = this.#db
      .prepare('SELECT key, raised_ms AS raisedMs, subject, fields FROM notify_alarms ORDER BY key')
      .all() as (Omit<RaisedAlarm, 'fields'> & { readonly fields: string })[];
    return rows.map(({ fields, ...row }) => ({ ...row, fields: JSON.parse(fields) as RaisedAlarm['fields'] }));
  }

  put({ fields, ...alarm }: RaisedAlarm): void {
    this.#db
      .prepare('INSERT OR REPLACE INTO notify_alarms VALUES (:key, :raisedMs, :subject, :fields)')
      .run({ ...alarm, fields: JSON.stringify(fields) });
  }

  remove(key: string): void {
    this.#db.prepare('DELETE FROM notify_alarms WHERE key = ?').run(key);
  }
}
