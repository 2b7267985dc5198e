// What verification said of a snapshot, and which task it was.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { Verdicts } from '../../../src/api/snapshots/verdicts.ts';
import type { TaskRow } from '../../../src/jobs/tasks/task-store.ts';
import { createTemporaryStore, OpenStore } from '../../support/store.ts';

const [GOOD, BAD, OTHER] = ['a', 'b', 'c'].map((letter) => letter.repeat(32)) as [string, string, string];
let open: OpenStore;
let remove: () => Promise<void>;

before(async () => {
  const temporary = await createTemporaryStore();
  remove = temporary.remove;
  open = await OpenStore.open(temporary.root, 1);
});
after(async () => {
  await open.close();
  await remove();
});

function verified(snapshots: Record<string, { verifiedMs: number; damaged: boolean }>): void {
  const { layout, config } = open.store;
  writeFileSync(layout.verifyState, JSON.stringify({ store: config.store, packs: {}, snapshots }));
}

const task = (upid: string, starttime: number, endtime: number | null): TaskRow => ({
  ...{ upid, starttime, endtime, node: 'n', pid: 1, pstart: 1, type: 'verify', id: 'store1', user: 'root@pam' },
  ...{ status: endtime === null ? null : 'OK', logNote: null, data: null },
});

class Tasks {
  asked: unknown[] = [];
  rows: TaskRow[] = [];
  list(filter: unknown): { rows: TaskRow[]; total: number } {
    this.asked.push(filter);
    return { rows: this.rows, total: this.rows.length };
  }
}

test('a verdict has its state and the task that ran when it was found', async (t) => {
  // Readings take no time, so that none is waited for.
  t.mock.method(performance, 'now', () => 0);
  const tasks = new Tasks();
  const verdicts = new Verdicts();
  const unknown = await verdicts.of('store1', open.store, tasks);
  assert.equal(unknown(GOOD), undefined);
  assert.deepEqual(tasks.asked, [], 'nothing to look for');
  verified({
    [GOOD]: { verifiedMs: 100_500, damaged: false },
    [BAD]: { verifiedMs: 205_000, damaged: true },
    [OTHER]: { verifiedMs: 150_000, damaged: false },
  });
  tasks.rows = [task('late', 200, null), task('early', 100, 104)];
  const verdictOf = await verdicts.of('store1', open.store, tasks);
  assert.deepEqual(verdictOf(GOOD), { state: 'ok', upid: 'early' });
  assert.deepEqual(verdictOf(BAD), { state: 'failed', upid: 'late' });
  // By a command in the directory: no task ran then.
  assert.deepEqual(verdictOf(OTHER), { state: 'ok' });
  assert.deepEqual(tasks.asked, [{ store: 'store1', typefilter: 'verify', limit: 200 }]);
});

test('a file that changes all the time is read for a small part of it', async (t) => {
  let [nowMs, stepMs] = [0, 10];
  t.mock.method(performance, 'now', () => {
    nowMs += stepMs;
    return nowMs;
  });
  const verdicts = new Verdicts();
  const tasks = new Tasks();
  tasks.rows = [task('verifying', 0, null)];
  const state = async (): Promise<string | undefined> => (await verdicts.of('store1', open.store, tasks))(GOOD)?.state;
  verified({ [GOOD]: { verifiedMs: 1, damaged: false } });
  assert.equal(await state(), 'ok');
  const readMs = nowMs;
  verified({ [GOOD]: { verifiedMs: 1, damaged: true }, [BAD]: { verifiedMs: 1, damaged: true } });
  stepMs = 0;
  nowMs = readMs + 20 * 10 - 1;
  assert.equal(await state(), 'ok');
  nowMs++;
  assert.equal(await state(), 'failed');
});

test('what a verification said is shown as soon as it has ended, however long the last reading took', async (t) => {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => {
    nowMs += 1000;
    return nowMs;
  });
  const verdicts = new Verdicts();
  const state = async (): Promise<string | undefined> =>
    (await verdicts.of('store1', open.store, new Tasks()))(GOOD)?.state;
  verified({});
  assert.equal(await state(), undefined);
  verified({ [GOOD]: { verifiedMs: 1, damaged: false } });
  assert.equal(await state(), 'ok');
});
