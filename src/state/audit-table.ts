// The audit log in the state database. Changes and sign-ins have room of their own, so that guesses at passwords cannot push out the record
// of who changed what.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import type { AuditAction, AuditEntry, AuditLog } from '../auth/audit-log.ts';

/** What is kept of each kind. */
export interface AuditRetention {
  readonly maxRows: number;
  readonly maxAgeMs: number;
}

/** Some 30 MB of rows, and more than a year. */
export const AUDIT_RETENTION: AuditRetention = { maxRows: 100_000, maxAgeMs: 400 * 24 * 3600 * 1000 };
const PRUNE_EVERY = 256;
/** Rows that one turn of the main thread looks at: for who did something there is no index, and a full log took 35 ms in one turn. */
const ROWS_A_TURN = 5000;
const SIGN_INS: ReadonlySet<AuditAction> = new Set(['login', 'login-failed', 'token-refused', 'enrolment-refused']);

interface Range {
  readonly from: number;
  readonly before: number;
}

interface AuditRow {
  readonly id: number;
  readonly time_ms: number;
  readonly action: string;
  readonly by: string;
  readonly address: string;
  readonly object: string;
  readonly detail: string;
}

/** `clock` gives Unix milliseconds. */
export function auditTable(db: Database, clock: () => number, retention: AuditRetention = AUDIT_RETENTION): AuditLog {
  const insert = db.prepare<Omit<AuditRow, 'id'> & { kind: string }>(
    `INSERT INTO audit (time_ms, kind, action, by, address, object, detail)
     VALUES (@time_ms, @kind, @action, @by, @address, @object, @detail)`,
  );
  const select = db.prepare<Range & { action: string | null; by: string | null; limit: number }, AuditRow>(
    `SELECT id, time_ms, action, by, address, object, detail FROM audit
     WHERE id < @before AND id >= @from AND (@action IS NULL OR action = @action) AND (@by IS NULL OR by = @by)
     ORDER BY id DESC LIMIT @limit`,
  );
  const lowest = db
    .prepare<[number], number>(`SELECT id FROM audit WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ${ROWS_A_TURN - 1}`)
    .pluck();
  const pruneRows = db.prepare<{ kind: string; keep: number }>(
    `DELETE FROM audit WHERE kind = @kind AND id <=
       (SELECT id FROM audit WHERE kind = @kind ORDER BY id DESC LIMIT 1 OFFSET @keep)`,
  );
  const pruneAge = db.prepare<[number]>('DELETE FROM audit WHERE time_ms < ?');
  let appended = 0;
  const prune = (): void => {
    pruneAge.run(clock() - retention.maxAgeMs);
    for (const kind of ['change', 'sign-in']) pruneRows.run({ kind, keep: retention.maxRows });
  };
  return {
    append({ action, by, address, object, detail = {} }) {
      const kind = SIGN_INS.has(action) ? 'sign-in' : 'change';
      insert.run({ time_ms: clock(), kind, action, by, address, object, detail: JSON.stringify(detail) });
      if (appended++ % PRUNE_EVERY === 0) prune();
    },
    async list({ limit, before: end = Number.MAX_SAFE_INTEGER, action = null, by = null }) {
      const found: AuditRow[] = [];
      for (let before = end; ; await nextTurn()) {
        const from = lowest.get(before) ?? 0;
        found.push(...select.all({ from, before, action, by, limit: limit - found.length }));
        if (from === 0 || found.length >= limit) return found.map(entryOf);
        before = from;
      }
    },
  };
}

function entryOf({ id, time_ms, action, by, address, object, detail }: AuditRow): AuditEntry {
  return { id, timeMs: time_ms, action: action as AuditAction, by, address, object, detail: JSON.parse(detail) };
}
