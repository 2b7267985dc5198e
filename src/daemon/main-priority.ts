// Lets the main thread go before all others. It answers everybody and takes a hundredth of the processors' time, but among dozens of busy threads
// it waits for one for longer than for anything else.
import { constants, getPriority, setPriority } from 'node:os';
import type { StartPool } from './open-store.ts';

/** Steps of niceness: at a conflict ten times the share. */
const AHEAD = 10;

/**
 * Starts pools in which threads have the usual priority, and raises the main thread's beside them. Where the system does not allow that, nothing
 * changes. Linux counts priorities by thread, and a new thread has that of the one that starts it; those of Node itself were there before.
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

/** Of the main thread: its number is the process's. */
function become(priority: number): void {
  try {
    setPriority(process.pid, priority);
  } catch {
    // Only root may raise it, and whom LimitNICE allows it.
  }
}
