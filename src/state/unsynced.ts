// Writes that a power cut may take. An fsync of a busy disk takes tens of milliseconds, in which the server answers nobody.
import type { Database } from 'better-sqlite3';

/**
 * Runs synchronous writes that no disk is waited for. A crash of the process takes nothing of them, and a power cut what was written since the last
 * change that is synced; the file stays whole, for the log is synced before anything of it goes there. Not within a transaction.
 */
export function unsynced(db: Database, write: () => void): void {
  const before = db.pragma('synchronous', { simple: true }) as number;
  db.pragma('synchronous = NORMAL');
  try {
    write();
  } finally {
    db.pragma(`synchronous = ${before}`);
  }
}
