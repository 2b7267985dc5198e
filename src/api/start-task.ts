// Work that takes long as a task of whoever asked for it. What it came to and what it warned of are kept with its end.
import type { Task, TaskWork } from '../jobs/tasks/task.ts';
import { type BaseCall, callerOf } from './method.ts';

/** Warnings that are told with the result; the log has all of them. */
const MAX_WARNINGS = 1000;

/** What a task keeps with its end. */
export interface KeptResult<Result = unknown> {
  readonly result: Result;
  readonly warnings: readonly string[];
}

/** Starts it, and returns at once. */
export function startTask<Result>(
  call: BaseCall,
  { type, id }: { readonly type: string; readonly id: string },
  run: (task: TaskWork) => Promise<Result>,
): Task {
  return call.services.tasks.start({ type, id, authId: callerOf(call) }, async (task) => {
    const warnings: string[] = [];
    const warn = (text: string): void => {
      task.warn(text);
      if (warnings.length < MAX_WARNINGS) warnings.push(text);
    };
    return { data: { result: await run({ ...task, warn }), warnings } satisfies KeptResult<Result> };
  });
}
