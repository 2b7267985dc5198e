// Jobs from the command line, on the state of a machine whose server runs and runs them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { without } from '../agent/nbd/servers.ts';
import { runsOf } from '../support/server/job-runs.ts';
import { shiftProgramClock } from '../support/server/program-clock.ts';
import { messageOf, newPlace } from './holdfast.ts';
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
  await refused(2, /give --state-dir DIR/, 'list', '--repository', 'https://a@b!c@h:1/x');

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

test('from afar jobs are those of the server, with the rights of the token', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0', '--first-datastore', 'main');
  const at = ['--state-dir', place.path('server')];
  const here = async <T>(...args: string[]): Promise<T> => await place.json<T>('job', ...args, ...at);
  /** A user and a token of it that have a role on jobs, and the command with them. */
  const as = async (name: string, role: string) => {
    const user = `${name}@local`;
    await place.run('user', 'create', user, '--no-password', ...at);
    const { value } = await place.json<{ value: string }>('token', 'create', user, 'cli', ...at);
    for (const who of [user, `${user}!cli`])
      await place.run('acl', 'set', '/system/jobs', role, '--auth-id', who, ...at);
    const repository = `https://${user}!cli@127.0.0.1:${server.port}/main`;
    const env = { HOLDFAST_TOKEN_SECRET: value, HOLDFAST_FINGERPRINT: server.fingerprint };
    return async (...args: string[]) =>
      await place.try(['job', ...args, '--repository', repository, '--output-format', 'json'], { env });
  };
  const keeper = await as('keeper', 'Admin');
  const looker = await as('looker', 'Audit');
  const far = async <T>(...args: string[]): Promise<T> => {
    const ran = await keeper(...args);
    assert.equal(ran.code, 0, ran.stderr);
    return JSON.parse(ran.stdout.toString()) as T;
  };
  const wish = [
    '--store',
    'main',
    '--schedule',
    '02:00',
    '--keep-daily',
    '7',
    '--retries',
    '1',
    '--retry-delay',
    '1min',
  ];
  const made = await far<object>('create', 'prune', 'nightly', ...wish, '--comment', 'of afar');
  assert.deepEqual(await here('show', 'nightly'), made);
  const change = ['--unset', 'keep-daily', '--keep-last', '3', '--enable', 'no', '--timeout', '2h'];
  const changed = await far<{ options: object }>('update', 'nightly', ...change);
  assert.deepEqual(changed.options, { store: 'main', 'keep-last': 3 });
  await far('create', 'gc', 'main', '--store', 'main', '--schedule', 'daily');
  const { upid } = await far<{ upid: string }>('run', 'gc/main');
  assert.match(upid, /:garbage_collection:main:keeper@local!cli:$/);
  await runsOf(place.path('server'), ([newest]) => newest?.endMs != null, 20_000);
  for (const args of [
    ['list'],
    ['list', '--kind', 'gc'],
    ['show', 'main'],
    ['history'],
    ['history', 'gc/main'],
    ['history', '--failed'],
    ['next'],
  ])
    assert.deepEqual(await far(...args), await here(...args), args.join(' '));
  const [ended] = await far<Run[]>('history', '--limit', '1');
  assert.deepEqual([ended?.upid, ended?.state, ended?.reason], [upid, 'ok', 'hand']);
  assert.deepEqual(await far('history', '--failed'), []);

  assert.equal((await looker('list')).code, 0);
  for (const args of [
    ['remove', 'nightly'],
    ['run', 'gc/main'],
  ])
    messageOf(await looker(...args), 'permission-denied');
  assert.match(messageOf(await keeper('show', 'nobody'), 'not-found'), /no job "nobody"/);
  assert.match(messageOf(await keeper('remove', 'gc/nobody'), 'not-found'), /no job gc\/nobody/);
  assert.match(messageOf(await keeper('create', 'gc', 'main', '--store', 'main'), 'exists'), /gc\/main already/);
  const blue = ['--store', 'main', '--schedule', 'blue moon'];
  assert.match(messageOf(await keeper('create', 'prune', 'x', ...blue), 'bad-argument'), /blue/);
  await far('remove', 'nightly');
  assert.deepEqual(
    (await here<{ id: string }[]>('list')).map(({ id }) => id),
    ['main'],
  );
});
