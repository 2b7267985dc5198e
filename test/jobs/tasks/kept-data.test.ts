// What a task leaves behind however long it is: beside its log, after a restart too, cut where it is too long, and gone with its task.
import assert from 'node:assert/strict';
import { existsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { keepData, readData } from '../../../src/jobs/tasks/kept-data.ts';
import { withCode } from '../../auth/access-fixture.ts';
import { gate, TaskFixture } from './fixture.ts';

const VERIFY = { type: 'verify', id: 'store1', authId: 'root@pam' };
const many = (count: number) => ({
  result: { damaged: Array.from({ length: count }, (_, at) => `/srv/file-${at}`), packs: ['a', 'b'] },
  warnings: [],
});

test('a long result is there in full, after a restart too, and its row stays short', async () => {
  using fixture = new TaskFixture();
  const data = many(10_000);
  const { opened, open } = gate();
  const tasks = fixture.tasks();
  const { upid, done } = tasks.start(VERIFY, async () => {
    await opened;
    return { data };
  });
  assert.deepEqual(await tasks.data(upid), {});
  open();
  // Whoever waits in the same process has it anyway.
  assert.deepEqual((await done).data, data);
  const again = fixture.tasks();
  assert.deepEqual(await again.data(upid), data);
  assert.deepEqual(again.get(upid)?.data, { inFile: true });
  const file = fixture.logPath(upid).replace(/log$/, 'json');
  assert.equal(statSync(file).mode & 0o777, 0o600);

  truncateSync(file, 1000);
  await assert.rejects(again.data(upid), withCode('too-large', /look at its log/));
  fixture.nowMs += 10 * 86_400_000;
  assert.equal(await again.prune({ maxAgeDays: 1, maxCount: 100 }), 1);
  assert.equal(existsSync(file), false);
});

test('a short result is in the row alone', async () => {
  using fixture = new TaskFixture();
  const tasks = fixture.tasks();
  const { upid, done } = tasks.start(VERIFY, async () => ({ data: many(3) }));
  await done;
  assert.deepEqual([await tasks.data(upid), tasks.get(upid)?.data], [many(3), many(3)]);
  assert.equal(existsSync(fixture.logPath(upid).replace(/log$/, 'json')), false);
});

test('the longest list is halved until all fits, and how much went is said', async () => {
  using fixture = new TaskFixture();
  const path = join(fixture.directory, 'cut', 'result.json');
  assert.deepEqual(await keepData(path, many(10_000), 100_000), { inFile: true });
  const { leftOut, result, warnings } = (await readData(path, { inFile: true })) as ReturnType<typeof many> & {
    leftOut: number;
  };
  assert.ok(statSync(path).size <= 100_000);
  assert.ok(result.damaged.length >= 2500);
  assert.deepEqual(result.damaged, many(10_000).result.damaged.slice(0, result.damaged.length));
  assert.deepEqual([result.damaged.length + leftOut, result.packs, warnings], [10_000, ['a', 'b'], []]);
});

test('what no list makes long, and what cannot be written, ends as too large', async () => {
  using fixture = new TaskFixture();
  const file = join(fixture.directory, 'file');
  writeFileSync(file, '');
  for (const kept of [
    await keepData(join(fixture.directory, 'x.json'), { text: 'x'.repeat(200_000) }, 100_000),
    await keepData(join(file, 'x.json'), many(10_000)),
  ]) {
    assert.deepEqual(kept, { tooLarge: true });
    await assert.rejects(readData('/nowhere', kept), withCode('too-large'));
  }
});
