// Tasks over real files and a real table, with a clock that stands still until it is moved.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { LogFiles } from '../../../src/jobs/tasks/log-files.ts';
import { Tasks, type TasksOptions } from '../../../src/jobs/tasks/tasks.ts';
import { tasks as migration } from '../../../src/state/migrations/0002-tasks.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';

export const BEGIN_MS = Date.parse('2026-11-21T01:21:51Z');

export class TaskFixture {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'holdfast-tasks-'));
  readonly db: Database.Database;
  readonly store: TaskTables;
  nowMs = BEGIN_MS;

  constructor() {
    this.db = new Database(join(this.directory, 'state.db'));
    this.db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.db.exec(migration.up);
    this.store = new TaskTables(this.db);
  }

  tasks(more: Partial<TasksOptions> = {}): Tasks {
    const { store } = this;
    return new Tasks({ store, directory: join(this.directory, 'log'), node: 'vm', clock: () => this.nowMs, ...more });
  }

  logPath(upid: string): string {
    return new LogFiles(join(this.directory, 'log')).pathOf(upid);
  }

  [Symbol.dispose](): void {
    this.db.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A promise and what settles it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Work that runs until it is aborted. */
export async function untilAborted(task: { signal: AbortSignal }): Promise<void> {
  await new Promise((_, reject) => task.signal.addEventListener('abort', () => reject(task.signal.reason)));
}
