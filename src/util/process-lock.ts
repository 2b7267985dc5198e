// A lock between processes that ends with the process that holds it, kill -9 included: a SQLite file that holds nothing, locked by BEGIN EXCLUSIVE.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database as Connection } from 'better-sqlite3';

const Database = createRequire(import.meta.url)('better-sqlite3') as typeof import('better-sqlite3');

const POLL_MS = 50;

export interface HeldLock {
  /** May be called twice. */
  release(): void;
}

/** Makes the file when it is not there; its directory must be. Returns undefined while somebody else, also in this process, holds it. */
export function tryLock(path: string): HeldLock | undefined {
  const connection: Connection = new Database(path, { timeout: 0 });
  try {
    connection.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    connection.close();
    if (String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY')) return undefined;
    throw error;
  }
  return {
    release: () => {
      if (connection.open) connection.close();
    },
  };
}

/** Tries again until it has the lock; undefined when `timeoutMs` have passed. Aborting ends the wait with the signal's reason. */
export async function waitForLock(
  path: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<HeldLock | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const lock = tryLock(path);
    if (lock !== undefined || performance.now() >= deadline) return lock;
    await sleep(POLL_MS, undefined, signal && { signal });
  }
}
