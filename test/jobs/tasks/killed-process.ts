// A process that runs tasks until it is killed: says the UPIDs of one that runs and one that has ended.
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';

const [directory] = process.argv.slice(2);
const store = new TaskTables(new Database(join(directory, 'state.db')));
const tasks = new Tasks({ store, directory: join(directory, 'log'), node: 'vm', clock: Date.now });
const request = { type: 'backup', id: 'store1:vm/100', authId: 'root@pam' };
const ended = tasks.start(request, async () => {});
await ended.done;
const running = tasks.start(request, async ({ log }) => {
  for (let at = 0; ; at++) {
    log(`still at work ${at}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});
await tasks.log(running.upid, 0, 0);
process.stdout.write(`${running.upid} ${ended.upid}\n`);
