// Jobs of the kinds that a server has for its datastores and guests, in tables in memory; a run is a task of the rig that does nothing.
import assert from 'node:assert/strict';
import Database from 'better-sqlite3';
import type { TaskCalls } from '../../src/api/services.ts';
import { storeKinds } from '../../src/daemon/jobs/store-kinds.ts';
import { vzdumpKind } from '../../src/daemon/jobs/vzdump-kind.ts';
import { Zone } from '../../src/jobs/calendar/zone.ts';
import { JobBook } from '../../src/jobs/schedule/job-book.ts';
import { JobDesk } from '../../src/jobs/schedule/job-desk.ts';
import { JobKinds } from '../../src/jobs/schedule/job-kinds.ts';
import { JobTables } from '../../src/state/job-tables.ts';
import { MIGRATIONS } from '../../src/state/migrations/all.ts';

export interface AskedOfJobs {
  readonly action: string;
  readonly ref: string;
  readonly by: string;
}

/** `asked` takes what the audit log would, and the runs. */
export function fakeJobs(
  tasks: Pick<TaskCalls, 'start'>,
  asked: AskedOfJobs[],
  requirePool: (pool: string) => void = () => undefined,
): JobDesk {
  const db = new Database(':memory:');
  for (const { up } of MIGRATIONS) db.exec(up);
  const atomically = <T>(work: () => T): T => (db.inTransaction ? work() : db.transaction(work).immediate());
  const store = new JobTables({ db, atomically });
  const nowhere = (): never => assert.fail('nothing runs here');
  const guests = { requirePool, isOnline: nowhere, guestsOf: nowhere, orderWithin: nowhere };
  const kinds = new JobKinds([...storeKinds({ get: nowhere }), vzdumpKind({ get: nowhere, ...guests })]);
  const note = (action: string, { kind, id }: { kind: string; id: string }, { authId: by }: { authId: string }): void =>
    void asked.push({ action, ref: `${kind}/${id}`, by });
  const book = new JobBook({ store, kinds, clock: Date.now, note });
  return new JobDesk({
    book,
    store,
    zone: new Zone('UTC'),
    clock: Date.now,
    run: (key, authId) => {
      const { job } = book.get(key);
      note('run', key, { authId });
      const { taskType, workerId } = kinds.get(key.kind);
      return tasks.start({ type: taskType, id: workerId(job), authId }, async () => undefined).upid;
    },
    changed: () => undefined,
  });
}
