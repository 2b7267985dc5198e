// Waits for an agent that is not connected. After a start of the server, when missed backups are made up for, agents take up to a minute to
// come back; without a wait those nights would be lost.
import { setTimeout as sleep } from 'node:timers/promises';
import type { TaskWork } from '../../jobs/tasks/task.ts';

/** An agent dials again after a minute at most. */
const LONGEST_MS = 90_000;
const LOOK_EVERY_MS = 250;

/** Whether the agent of a node is connected. @throws `not-found` for no node of this server. */
export type IsOnline = (node: string) => boolean;

/** Returns when the agent is there, or has not come for long enough. @throws `not-found`, and the reason when the work is aborted. */
export async function awaitNode(
  node: string,
  isOnline: IsOnline,
  work: Pick<TaskWork, 'signal' | 'log'>,
  longestMs = LONGEST_MS,
): Promise<void> {
  if (isOnline(node)) return;
  work.log(`the agent of node ${node} is not connected: it is waited for, ${longestMs / 1000} s at most`);
  for (const until = performance.now() + longestMs; !isOnline(node) && performance.now() < until; ) {
    await sleep(LOOK_EVERY_MS, undefined, { signal: work.signal }).catch(() => undefined);
    work.signal.throwIfAborted();
  }
}
