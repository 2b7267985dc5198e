// The table of tasks against the same filters in plain words.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { outcomeOf } from '../../src/jobs/tasks/task.ts';
import type { TaskFilter, TaskRow } from '../../src/jobs/tasks/task-store.ts';
import { tasks as migration } from '../../src/state/migrations/0002-tasks.ts';
import { TaskTables } from '../../src/state/task-tables.ts';

function table(): { store: TaskTables; db: Database.Database } {
  const db = new Database(':memory:');
  db.exec(migration.up);
  return { store: new TaskTables(db), db };
}

const IDS = [null, 'store', 'store1', 'store1:', 'store1:vm/100', 'store%:x', 'store10:vm/1'];
const USERS = ['root@pam', 'root@pam!ci', 'root@pam2', 'ann@pbs', 'ann@pbs!a%'];
const TYPES = ['backup', 'verify', 'verify_group', 'gc%'];
const STATUSES = [null, 'OK', 'WARNINGS: 2', 'it broke', 'unknown'];

const rows = fc.array(
  fc.record({
    id: fc.constantFrom(...IDS),
    user: fc.constantFrom(...USERS),
    type: fc.constantFrom(...TYPES),
    status: fc.constantFrom(...STATUSES),
    starttime: fc.integer({ min: 1, max: 20 }),
  }),
  { maxLength: 25 },
);
const filters = fc.record(
  {
    running: fc.boolean(),
    errors: fc.boolean(),
    store: fc.constantFrom('store1', 'store', 'store%', 'x'),
    since: fc.integer({ min: 1, max: 20 }),
    until: fc.integer({ min: 1, max: 20 }),
    typefilter: fc.constantFrom('verify', 'gc%', 'b_ckup', ''),
    userfilter: fc.constantFrom('root', '!', 'pam2', '%'),
    statusfilter: fc.uniqueArray(
      fc.constantFrom('ok' as const, 'warning' as const, 'error' as const, 'unknown' as const),
    ),
    ownedBy: fc.constantFrom(...USERS),
    start: fc.nat(10),
    limit: fc.nat(10),
  },
  { requiredKeys: [] },
);

function passes(row: TaskRow, filter: TaskFilter): boolean {
  const { running, errors, store, since, until, typefilter, userfilter, statusfilter, ownedBy } = filter;
  const outcome = row.status === null ? undefined : outcomeOf(row.status);
  return [
    !running || row.status === null,
    !errors || outcome !== 'ok',
    store === undefined || row.id === store || row.id?.startsWith(`${store}:`),
    since === undefined || row.starttime >= since,
    until === undefined || row.starttime <= until,
    row.type.includes(typefilter ?? ''),
    row.user.includes(userfilter ?? ''),
    statusfilter === undefined || (outcome !== undefined && statusfilter.includes(outcome)),
    ownedBy === undefined || row.user === ownedBy || row.user.startsWith(`${ownedBy}!`),
  ].every(Boolean);
}

test('every filter finds what it says, in pages, running first and then newest', () => {
  fc.assert(
    fc.property(rows, filters, (made, filter) => {
      const { store, db } = table();
      const all = made.map(({ id, user, type, status, starttime }, place): TaskRow => {
        const ended = status === null ? { endtime: null, status } : { endtime: starttime + 1, status };
        const fields = { node: 'vm', pid: 1, pstart: 2, starttime, type, id, user, logNote: null, data: null };
        const row = { upid: `UPID ${place}`, ...fields, ...ended };
        store.add(row);
        if (row.status !== null && row.endtime !== null)
          store.end(row.upid, { ...row, outcome: outcomeOf(row.status), endtime: row.endtime, status: row.status });
        return row;
      });
      const expected = all
        .filter((row) => passes(row, filter))
        .reverse()
        .sort((a, b) => Number(b.status === null) - Number(a.status === null) || b.starttime - a.starttime);
      const start = filter.start ?? 0;
      const answer = store.list(filter);
      assert.deepEqual(answer, {
        rows: expected.slice(start, filter.limit ? start + filter.limit : undefined),
        total: expected.length,
      });
      db.close();
    }),
    { numRuns: 300 },
  );
});

test('an end is noted once, with what it leaves behind; another end changes nothing', () => {
  const { store, db } = table();
  const row: TaskRow = {
    ...{ upid: 'a', node: 'vm', pid: 1, pstart: 2, starttime: 5, type: 'gc', id: null, user: 'root@pam' },
    ...{ endtime: null, status: null, logNote: null, data: null },
  };
  store.add(row);
  assert.deepEqual(store.get('a'), row);
  assert.deepEqual(store.unended(), ['a']);
  const ending = { endtime: 9, status: 'OK', logNote: 'n', data: { removed: 5 } };
  store.end('a', { ...ending, outcome: 'ok' });
  store.end('a', { ...ending, status: 'late', outcome: 'error' });
  assert.deepEqual(store.get('a'), { ...row, ...ending });
  assert.deepEqual(store.unended(), []);
  assert.throws(() => store.add(row), /UNIQUE/);
  assert.equal(store.get('b'), undefined);
  assert.throws(() => db.exec("UPDATE tasks SET status = NULL WHERE upid = 'a'"), /CHECK/);
  db.close();
});
