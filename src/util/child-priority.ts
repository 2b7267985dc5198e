// The priority of programs that are started here. Linux gives a new process that of the thread which starts it: a server's main thread goes before all
// others, which is meant for no program, and a backup's goes after them, which is meant for its tools and for no guest.
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** What this process began with. */
const USUAL = getPriority(process.pid);

/** Takes from a program what the main thread has been raised by. To be called at once, for what the program starts meanwhile keeps it. */
export function asUsual<Child extends ChildProcess>(child: Child): Child {
  change(child, (priority) => Math.max(priority, USUAL));
  return child;
}

/** For a guest and whatever a guest waits for: the same priority whoever starts it, as far as the system allows. To be called at once as well. */
export function asAnyProgram<Child extends ChildProcess>(child: Child): Child {
  change(child, () => 0);
  return child;
}

/** Of all threads, for on a busy host the program may have started some before it is this process's turn again. */
function change({ pid }: ChildProcess, wanted: (priority: number) => number): void {
  if (pid === undefined) return;
  try {
    // A thread takes over the priority of the one that starts it: once a whole round finds nothing to change, none will be otherwise.
    while (changeThreads(pid, wanted) > 0);
  } catch {
    // Without the right to it, or with a program that has ended already, which is told later.
  }
}

/** How many of the threads there are now had another priority. */
function changeThreads(pid: number, wanted: (priority: number) => number): number {
  let changed = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`).map(Number)) {
    const priority = getPriority(thread);
    if (wanted(priority) === priority) continue;
    setPriority(thread, wanted(priority));
    changed += 1;
  }
  return changed;
}
