// The priority of programs that are started here. Linux gives a new process that of the thread which starts it: a server's main thread goes before all
// others, which is meant for no program, and a backup's goes after them, which is meant for its tools and for no guest.
import type { ChildProcess } from 'node:child_process';
import { getPriority, setPriority } from 'node:os';

/** What this process began with. */
const USUAL = getPriority(process.pid);

/** Takes from a program what the main thread has been raised by. To be called at once: threads that the program starts take its priority over. */
export function asUsual<Child extends ChildProcess>(child: Child): Child {
  change(child, (priority) => Math.max(priority, USUAL));
  return child;
}

/** For a guest and whatever a guest waits for: the same priority whoever starts it, as far as the system allows. To be called at once. */
export function asAnyProgram<Child extends ChildProcess>(child: Child): Child {
  change(child, () => 0);
  return child;
}

function change({ pid }: ChildProcess, wanted: (priority: number) => number): void {
  if (pid === undefined) return;
  try {
    const priority = getPriority(pid);
    if (wanted(priority) !== priority) setPriority(pid, wanted(priority));
  } catch {
    // Without the right to it, or with a program that has ended already, which is told later.
  }
}
