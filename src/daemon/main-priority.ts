// Lets the main thread go before all others. It answers everybody and takes a hundredth of the processors' time, but among dozens of busy threads
// it waits for one for longer than for anything else. The threads that it waits for go with it: V8's own, which collect its garbage, and those that
// read its files. Even to hand work to the latter it waits until those that it woke up last have woken up (pthread_cond_signal, glibc before 2.41).
import { readdirSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import type { StartPool } from './open-store.ts';

/** Steps of niceness: at a conflict ten times the share. */
const AHEAD = 10;

/**
 * Raises the main thread and those that are there beside it; to be called after the first file was read, and before any pool was started. Pools are
 * then started by what it returns, and their threads have the usual priority. Where the system does not allow that, nothing changes. Linux counts
 * priorities by thread, and a new thread has that of the one that starts it.
 */
export function mainThreadFirst(startPool: StartPool): StartPool {
  const usual = getPriority(process.pid);
  const raised = Math.max(constants.priority.PRIORITY_HIGHEST, usual - AHEAD);
  for (const thread of readdirSync('/proc/self/task')) become(Number(thread), raised);
  return (...wish) => {
    become(process.pid, usual);
    try {
      return startPool(...wish);
    } finally {
      become(process.pid, raised);
    }
  };
}

function become(thread: number, priority: number): void {
  try {
    setPriority(thread, priority);
  } catch {
    // Only root may raise it, and whom LimitNICE allows it; or it has ended.
  }
}
