// When this process began, as the kernel counts it: part of every UPID, so that a process number that comes again names other tasks.
import { readFileSync } from 'node:fs';

/** Clock ticks between the start of the machine and that of this process (proc(5), field 22 of `stat`). */
export function processStart(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  // The program's name stands in parentheses, and may hold blanks and parentheses itself.
  const start = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  if (!Number.isSafeInteger(start)) throw new Error(`/proc/self/stat has no start time: ${JSON.stringify(stat)}`);
  return start;
}
