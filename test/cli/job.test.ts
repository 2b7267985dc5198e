// Jobs from the command line, on the state of a machine whose server runs and runs them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { without } from '../agent/nbd/servers.ts';
import { runsOf } from '../support/server/job-runs.ts';
import { shiftProgramClock } from '../support/server/program-clock.ts';
import { newPlace } from './holdfast.ts';
import { run } from './running-server.ts';

interface Run {
  readonly kind: string;
  readonly id: string;
  readonly reason: string;
  readonly state: string;
  readonly upid: string | null;
  readonly message: string;
}

const MINUTE = 60_000;
/** What the server and some commands take. */
const ENOUGH = 15_000;

test('jobs are made, listed, run by the server, changed and removed', async (t) => {
  // The server looks at each full minute: not long from now, where its clock can be another one.
  if (without('faketime') === false) shiftProgramClock((2 * MINUTE - ENOUGH - (Date.now() % MINUTE)) % MINUTE);
  const place = await newPlace(t, { create: false });
  await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  const job = async <T>(...args: string[]): Promise<T> => await place.json<T>('job', ...args, ...at);
  const refused = async (code: number, pattern: RegExp, ...args: string[]): Promise<void> => {
    const ran = await place.try(['job', ...args, ...at]);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, pattern);
  };
  // First, for its minute has to come.
  await job('create', 'verify', 'often', '--store', 'gone', '--schedule', 'minutely', '--timeout', '1h');
  const made = await job<Record<string, unknown>>(
    ...['create', 'prune', 'nightly', '--store', 'main', '--schedule', '02:00', '--keep-daily', '7'],
  );
  assert.deepEqual(made.options, { store: 'main', 'keep-daily': 7 });
  assert.ok((made['next-run'] as number) > Date.now() / 1000);
  await refused(5, /there is a job prune\/nightly already/, 'create', 'prune', 'nightly', '--store', 'main');
  await refused(2, /blue/, 'create', 'prune', 'x', '--store', 'main', '--schedule', 'blue moon');
  await refused(2, /store/, 'create', 'gc', 'x');
  await refused(4, /no job/, 'show', 'nobody');
  await refused(2, /server's machine/, 'list', '--repository', 'https://a@b!c@h:1/x');

  // The server runs what is asked for, and what is due.
  await job('create', 'gc', 'nightly', '--store', 'main');
  await refused(2, /prune\/nightly/, 'run', 'nightly');
  await job('run', 'gc/nightly');
  /** The history of the command line, as soon as there is something in it. */
  const found = async (pattern: (run: Pick<Run, 'id' | 'state'>) => boolean, withinMs: number): Promise<Run> => {
    await runsOf(place.path('server'), (runs) => runs.some(pattern), withinMs);
    const each = (await job<Run[]>('history')).find(pattern);
    assert.ok(each !== undefined);
    return each;
  };
  const gc = await found(({ id, state }) => id === 'nightly' && state !== 'queued' && state !== 'running', 20_000);
  assert.equal(gc.reason, 'hand');
  assert.match(gc.upid ?? '', /:garbage_collection:main:root@pam:$/);
  const verify = await found(({ id, state }) => id === 'often' && state === 'error', 75_000);
  assert.equal(verify.reason, 'schedule');
  assert.equal(verify.state, 'error');
  assert.match(verify.message, /no datastore "gone"/);

  await job('update', 'often', '--enable', 'no', '--comment', 'not now', '--unset', 'ns');
  const jobs = await job<{ id: string; enabled: boolean; comment: string; 'next-run'?: number }[]>('list');
  const often = jobs.find(({ id }) => id === 'often');
  assert.deepEqual([often?.enabled, often?.comment, often?.['next-run']], [false, 'not now', undefined]);
  assert.deepEqual(
    (await job<{ job: string }[]>('next')).map((each) => each.job),
    ['prune/nightly'],
  );
  await job('remove', 'often');
  await refused(4, /no job/, 'show', 'often');
  const { runs } = await place.json<{ runs: { utc: string }[] }>('job', 'analyze', '2027-01-01 12:00');
  assert.equal(runs.length, 1);
});
