// Lets the main thread go before all others. It answers everybody and takes a hundredth of the processors' time, but among dozens of busy threads
// it waits for one for longer than for anything else. The threads that V8 has of its own go with it: while it collects garbage, it waits for them.
import { readdirSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import type { StartPool } from './open-store.ts';

/** Steps of niceness: at a conflict ten times the share. */
const AHEAD = 10;

/** Of this process as it begins: the main one and V8's. Those of files and passwords come later, and with the priority that the main one has then. */
const FIRST_THREADS = readdirSync('/proc/self/task').map(Number);

/**
 * Starts pools in which threads have the usual priority, and raises the main thread's beside them. Where the system does not allow that, nothing
 * changes. Linux counts priorities by thread, and a new thread has that of the one that starts it.
 */
export function mainThreadFirst(startPool: StartPool): StartPool {
  const usual = getPriority(process.pid);
  const raised = Math.max(constants.priority.PRIORITY_HIGHEST, usual - AHEAD);
  return (...wish) => {
    become(usual);
    try {
      return startPool(...wish);
    } finally {
      become(raised);
    }
  };
}

function become(priority: number): void {
  for (const thread of FIRST_THREADS) {
    try {
      setPriority(thread, priority);
    } catch {
      // Only root may raise it, and whom LimitNICE allows it; or it has ended.
    }
  }
}
