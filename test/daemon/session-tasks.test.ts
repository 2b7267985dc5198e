// Sessions as tasks: what they come to, and that whoever aborts the task ends the session.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sessionTasks } from '../../src/daemon/session-tasks.ts';
import type { TaskBody, TaskRequest, TaskWork } from '../../src/jobs/tasks/task.ts';
import type { SessionWatcher } from '../../src/transport/server/sessions.ts';

type Watched = Parameters<SessionWatcher>[0];

function setUp(isBackup: boolean) {
  const started: { request: TaskRequest; body: TaskBody }[] = [];
  const watch = sessionTasks({
    start: (request, body) => {
      started.push({ request, body });
      return { upid: 'UPID', done: new Promise(() => {}) };
    },
  });
  let settle: (committed: Awaited<Watched['over']>) => void = () => {};
  const over = new Promise<Awaited<Watched['over']>>((resolve) => {
    settle = resolve;
  });
  let ends = 0;
  const place = {
    served: { name: 'main' },
    authId: 'anna@local!pc',
    owner: 'anna@local',
    ns: 'office',
    group: 'vm/101',
  };
  watch({ id: 'x', place, isBackup, over } as unknown as Watched, async () => {
    ends++;
    settle(undefined);
  });
  const [{ request, body }] = started as [(typeof started)[0]];
  const lines: string[] = [];
  const aborting = new AbortController();
  const work = {
    signal: aborting.signal,
    log: (line: string) => lines.push(line),
    warn: (line: string) => lines.push(`WARN ${line}`),
  };
  const run = Promise.resolve(body(work as unknown as TaskWork));
  return { request, run, settle, lines, aborting, ends: () => ends };
}

test('a backup is a task of who opened it, and ends well with its snapshot', async () => {
  const { request, run, settle, lines } = setUp(true);
  assert.deepEqual(request, { type: 'backup', id: 'main:office/vm/101', authId: 'anna@local!pc' });
  const statistics = { bytesLogical: 4, bytesRead: 3, bytesNew: 2, objectsNew: 9 };
  const manifest = { client: { statistics }, server: { time: 1_790_000_000, bytesStored: 1 } };
  settle({ manifest, warnings: ['the clock'] } as never);
  const result = await run;
  const { snapshot, ...figures } = (result as { data: Record<string, unknown> }).data;
  assert.deepEqual(figures, { bytesLogical: 4, bytesRead: 3, bytesNew: 2, bytesStored: 1 });
  assert.match(lines.join('\n'), new RegExp(`made snapshot ${String(snapshot)}$`));
  assert.match(lines.join('\n'), /WARN the clock\nmade snapshot vm\/101\/2026-09-21T\d\d:\d\d:\d\dZ$/);
});

test('a backup that ends without a snapshot has failed, a restore has not', async () => {
  const backup = setUp(true);
  backup.settle(undefined);
  await assert.rejects(backup.run, { code: 'aborted', message: /without a snapshot/ });
  const restore = setUp(false);
  assert.equal(restore.request.type, 'reader');
  restore.settle(undefined);
  await restore.run;
});

test('aborting the task ends the session', async () => {
  const { run, aborting, ends } = setUp(true);
  aborting.abort(new Error('enough'));
  await assert.rejects(run, /enough/);
  assert.equal(ends(), 1);
});
