// A consistent copy of the state database as one file, made while everybody goes on working, and what tells whether two copies say the same.
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import type { Database } from 'better-sqlite3';
import { NotifyQueueTable } from './notify-queue-table.ts';
import { sqliteError } from './sqlite-error.ts';
import type { StateDatabase } from './state-database.ts';

const Sqlite = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');

/** Some 4 MiB, in a few milliseconds; then others have their turn. */
const PAGES_A_TURN = 1000;
const ROWS_A_TURN = 2000;

export interface CopyRules {
  /** Names of secrets that do not go into the copy. */
  readonly withoutSecrets: readonly string[];
  /** Tasks of this type do not make a difference; one that has not ended does not go into the copy. */
  readonly quietTasks: string;
  readonly signal: AbortSignal;
}

/**
 * Writes the copy to `path`, over what is there, and returns its digest: the same for the same content, however it came about.
 * @throws `disk-full`, `write-failed`, `timed-out`; the signal's reason.
 */
export async function copyState(state: Pick<StateDatabase, 'path'>, path: string, rules: CopyRules): Promise<string> {
  for (const leftover of [path, `${path}-journal`, `${path}-wal`, `${path}-shm`]) rmSync(leftover, { force: true });
  try {
    await copyPinned(state.path, path, rules.signal);
    const copy = new Sqlite(path, { fileMustExist: true });
    try {
      // One file, without a log beside it; and nothing of what is taken out stays in free pages.
      copy.pragma('journal_mode = DELETE');
      copy.pragma('secure_delete = ON');
      const removeSecret = copy.prepare<[string]>('DELETE FROM secrets WHERE name = ?');
      for (const name of rules.withoutSecrets) removeSecret.run(name);
      // Notifications that wait make no difference, and a server that is restored does not send them a second time.
      new NotifyQueueTable(copy).clear();
      copy.prepare<[string]>('DELETE FROM tasks WHERE type = ? AND status IS NULL').run(rules.quietTasks);
      return await digestOf(copy, rules);
    } finally {
      copy.close();
    }
  } catch (error) {
    rules.signal.throwIfAborted();
    throw sqliteError(error, path);
  }
}

/** From a connection of its own that stays at one moment: otherwise a copy begins anew with each change that another one makes. */
async function copyPinned(from: string, to: string, signal: AbortSignal): Promise<void> {
  const source = new Sqlite(from, { readonly: true, fileMustExist: true });
  try {
    source.exec('BEGIN');
    source.prepare('SELECT count(*) FROM sqlite_schema').get();
    await source.backup(to, {
      progress: () => {
        signal.throwIfAborted();
        return PAGES_A_TURN;
      },
    });
  } finally {
    source.close();
  }
}

async function digestOf(copy: Database, { quietTasks, signal }: CopyRules): Promise<string> {
  const hash = createHash('sha256');
  const tables = copy
    .prepare<[], string>(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )
    .pluck()
    .all();
  for (const table of tables) {
    hash.update(`\n${table}\n`);
    const rows =
      table === 'tasks'
        ? copy.prepare<[string], unknown>('SELECT * FROM tasks WHERE type <> ?').raw().iterate(quietTasks)
        : copy.prepare<[], unknown>(`SELECT * FROM "${table}"`).raw().iterate();
    let count = 0;
    for (const row of rows) {
      hash.update(JSON.stringify(row));
      if (++count % ROWS_A_TURN !== 0) continue;
      await setImmediate();
      signal.throwIfAborted();
    }
  }
  return hash.digest('hex');
}
