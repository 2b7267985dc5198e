// Work on a guest as a task of whoever asked: its UPID of nine fields, good from the moment on that it is returned.
import type { Task, TaskBody } from '../../jobs/tasks/task.ts';
import { startTask } from '../start-task.ts';
import { inKnownWords } from './failure.ts';
import { guestUpidOf } from './guest-upid.ts';
import type { GuestCall } from './method.ts';

/** Starts it, and returns at once. `id` is the VMID, or the storage. */
export function startGuestTask(call: GuestCall, type: string, id: number | string, run: TaskBody): string {
  return guestUpidOf(startGuestWork(call, type, id, run).upid);
}

/** The same for callers that wait for its end. */
export function startGuestWork(call: GuestCall, type: string, id: number | string, run: TaskBody): Task {
  return startTask(call, { type, id: String(id) }, (work) => inKnownWords(() => run(work)));
}
