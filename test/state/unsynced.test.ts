// What waits for the disk: changes of users and rights do, rows of tasks and contacts of agents do not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { unsynced } from '../../src/state/unsynced.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';
import { runWithFault, skipFaults } from '../support/faults/faults.ts';

test('rows of tasks and contacts of agents are written and not synced; a change of rights after them is', {
  skip: skipFaults(),
}, async (t) => {
  const directory = temporaryDirectory(t);
  const script = fileURLToPath(new URL('unsynced-process.ts', import.meta.url));
  const { status, stderr, calls } = await runWithFault(['--import', 'tsx', script, directory], {
    directory,
    action: 'count',
  });
  assert.equal(status, 0, stderr);
  const place = (name: string): number => calls.findIndex(({ op, path }) => op === 'open' && path === `/${name}`);
  const between = (from: string, to: string, ops: readonly string[]): string[] =>
    calls
      .slice(place(from), place(to))
      .filter(({ op }) => ops.includes(op))
      .map(({ path }) => path);
  const syncs = ['fsync', 'fdatasync'];
  assert.ok(place('tasks') > 0 && place('end') > place('rights'), 'the marks are there');
  for (const [from, to] of [
    ['tasks', 'contact'],
    ['contact', 'rights'],
  ] as const)
    assert.ok(between(from, to, ['write', 'pwrite']).includes('/state.db-wal'), `${from}: they are written`);
  assert.deepEqual(between('tasks', 'rights', syncs), []);
  assert.ok(between('rights', 'end', syncs).includes('/state.db-wal'));
});

test('what follows is synced as before, also after a failure', () => {
  const db = new Database(':memory:');
  db.pragma('synchronous = FULL');
  unsynced(db, () => assert.equal(db.pragma('synchronous', { simple: true }), 1));
  assert.throws(() =>
    unsynced(db, () => {
      throw new Error('full');
    }),
  );
  assert.equal(db.pragma('synchronous', { simple: true }), 2);
  db.close();
});
