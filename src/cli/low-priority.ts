// A backup goes after the guest that it is of: its threads get a lower priority. A process that does nothing else lowers itself, and its threads
// inherit that; one that has more to do, as an agent or a server has, lowers the threads of the backup alone.
import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';
import { useIoPriority } from './idle-io.ts';
import { startPool } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

const NICENESS = 10;

/** `ioLevel` as vzdump's `ionice`. Returns the surroundings to go on with; to be called before there are threads. */
export async function lowerPriority(around: Surroundings, ioLevel: number): Promise<Surroundings> {
  if (around.isOrder !== true) {
    setPriority(NICENESS);
    await useIoPriority(ioLevel, around.signal);
    return around;
  }
  return {
    ...around,
    startPool: (...wish) => {
      const before = new Set(threads());
      const pool = startPool(...wish);
      const own = threads().filter((thread) => !before.has(thread));
      for (const thread of own) lower(thread);
      // Nobody waits for it, and the work is the same without.
      useIoPriority(ioLevel, around.signal, own).catch(() => undefined);
      return pool;
    },
  };
}

/** Linux counts priorities by thread, and a thread's number is taken where a process's is. */
function threads(): number[] {
  return readdirSync('/proc/self/task').map(Number);
}

function lower(thread: number): void {
  try {
    setPriority(thread, NICENESS);
  } catch {
    // It has ended.
  }
}
