// The queue of notifications (migration 6): an event once, and a row for each target that has not got it. Bounded: when it is full, what was
// given up goes first, then the oldest.
import type { Database } from 'better-sqlite3';
import type { NotifyEvent } from '../notify/event.ts';
import type { Delivery, DeliveryChange, QueueStore } from '../notify/queue-store.ts';

const MAX_DELIVERIES = 5000;

interface Stored {
  readonly id: number;
  readonly target: string;
  readonly state: 'waiting' | 'failed';
  readonly attempts: number;
  readonly added_ms: number;
  readonly next_ms: number;
  readonly remaining: string | null;
  readonly error: string | null;
  readonly message_id: string;
  readonly event: string;
}

const SELECT = 'SELECT d.*, e.message_id, e.event FROM notify_deliveries d JOIN notify_events e ON e.id = d.event_id';
const DUE = `state = 'waiting' AND (next_ms <= :nowMs OR next_ms > :latestMs)`;

export class NotifyQueueTable implements QueueStore {
  readonly #db: Database;
  readonly #max: number;

  /** `db` has migration 6. */
  constructor(db: Database, maxDeliveries: number = MAX_DELIVERIES) {
    this.#db = db;
    this.#max = maxDeliveries;
  }

  add(event: NotifyEvent, messageId: string, targets: readonly string[], nowMs: number): number {
    if (targets.length === 0) return 0;
    return this.#atomically(() => {
      const made = this.#db
        .prepare('INSERT INTO notify_events (message_id, event) VALUES (?, ?)')
        .run(messageId, JSON.stringify(event));
      const add = this.#db.prepare(
        `INSERT INTO notify_deliveries (event_id, target, state, attempts, added_ms, next_ms)
         VALUES (?, ?, 'waiting', 0, ?, ?)`,
      );
      for (const target of targets) add.run(made.lastInsertRowid, target, nowMs, nowMs);
      return this.#makeRoom();
    });
  }

  dueTargets(nowMs: number, latestMs: number): string[] {
    return this.#db
      .prepare(`SELECT DISTINCT target FROM notify_deliveries WHERE ${DUE} ORDER BY target`)
      .pluck()
      .all({ nowMs, latestMs }) as string[];
  }

  firstDue(target: string, nowMs: number, latestMs: number): Delivery | undefined {
    const row = this.#db.prepare(`${SELECT} WHERE ${DUE} AND target = :target ORDER BY d.id LIMIT 1`);
    const found = row.get({ target, nowMs, latestMs }) as Stored | undefined;
    return found === undefined ? undefined : deliveryOf(found);
  }

  change(id: number, { state, attempts, nextMs, remaining, error }: DeliveryChange): void {
    this.#db
      .prepare(
        `UPDATE notify_deliveries SET state = :state, attempts = :attempts, next_ms = :nextMs, remaining = :remaining, error = :error
         WHERE id = :id`,
      )
      .run({
        id,
        state,
        attempts,
        nextMs,
        remaining: remaining === undefined ? null : JSON.stringify(remaining),
        error: error ?? null,
      });
  }

  remove(id: number): void {
    this.#removeWhere('id = ?', id);
  }

  removeTarget(target: string): void {
    this.#removeWhere('target = ?', target);
  }

  /** Of a copy of a state: whatever is in it the server that it was made of sends. */
  clear(): void {
    this.#removeWhere('id > ?', 0);
  }

  list(limit: number): Delivery[] {
    return (this.#db.prepare(`${SELECT} ORDER BY d.id DESC LIMIT ?`).all(limit) as Stored[]).map(deliveryOf);
  }

  forgetFailed(beforeMs: number): void {
    const isSome = this.#db.prepare("SELECT 1 FROM notify_deliveries WHERE state = 'failed' AND next_ms < ? LIMIT 1");
    if (isSome.get(beforeMs) !== undefined) this.#removeWhere("state = 'failed' AND next_ms < ?", beforeMs);
  }

  #makeRoom(): number {
    const count = this.#db.prepare('SELECT count(*) FROM notify_deliveries').pluck().get() as number;
    if (count <= this.#max) return 0;
    const over = `id IN (SELECT id FROM notify_deliveries ORDER BY state = 'waiting', id LIMIT ?)`;
    this.#removeWhere(over, count - this.#max);
    return count - this.#max;
  }

  /** With events that nobody waits for any more. */
  #removeWhere(condition: string, value: string | number): void {
    this.#atomically(() => {
      this.#db.prepare(`DELETE FROM notify_deliveries WHERE ${condition}`).run(value);
      this.#db.exec('DELETE FROM notify_events WHERE id NOT IN (SELECT event_id FROM notify_deliveries)');
    });
  }

  #atomically<Result>(work: () => Result): Result {
    return this.#db.inTransaction ? work() : this.#db.transaction(work).immediate();
  }
}

function deliveryOf({ added_ms, next_ms, remaining, error, message_id, event, ...row }: Stored): Delivery {
  return {
    id: row.id,
    target: row.target,
    state: row.state,
    attempts: row.attempts,
    addedMs: added_ms,
    nextMs: next_ms,
    messageId: message_id,
    event: JSON.parse(event) as NotifyEvent,
    ...(remaining !== null && { remaining: JSON.parse(remaining) as string[] }),
    ...(error !== null && { error }),
  };
}
