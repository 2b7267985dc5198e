// The audit log from the command line: on the state of a server's machine, and through its API.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf, newPlace, type Place } from './holdfast.ts';
import { ask, run } from './running-server.ts';

interface Row {
  readonly id: number;
  readonly time: number;
  readonly action: string;
  readonly by: string;
  readonly address: string;
  readonly object: string;
  readonly detail: Record<string, unknown>;
}

const what = (rows: readonly Row[]): string[] => rows.map(({ action, object }) => `${action} ${object}`);

/** A user with a token that may look at the log, made on the state of the machine. */
async function auditor(place: Place, at: readonly string[]): Promise<string> {
  await place.run('user', 'create', 'anna@local', '--no-password', ...at);
  const { value } = await place.json<{ value: string }>('token', 'create', 'anna@local', 'look', ...at);
  for (const who of ['anna@local', 'anna@local!look'])
    await place.run('acl', 'set', '/access', 'Audit', '--auth-id', who, ...at);
  return value;
}

test('entries are listed newest first, by page, action and who did it, on the state and through the API alike', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  const began = Math.floor(Date.now() / 1000);
  const value = await auditor(place, at);
  assert.equal((await ask(server.port, '/api2/json/version', 'anna@local!look:wrong')).status, 401);
  const here = async (...args: string[]) => await place.json<Row[]>('audit', 'list', ...args, ...at);
  const repository = `https://anna@local!look@127.0.0.1:${server.port}/x`;
  const env = { HOLDFAST_TOKEN_SECRET: value, HOLDFAST_FINGERPRINT: server.fingerprint };
  const far = async (...args: string[]) =>
    await place.try(['audit', 'list', '--repository', repository, '--output-format', 'json', ...args], { env });
  const both = async (...args: string[]): Promise<Row[]> => {
    const ran = await far(...args);
    assert.equal(ran.code, 0, ran.stderr);
    const rows = JSON.parse(ran.stdout.toString()) as Row[];
    assert.deepEqual(rows, await here(...args));
    return rows;
  };

  const all = await both();
  assert.deepEqual(what(all), [
    'token-refused anna@local!look',
    'acl-set /access',
    'acl-set /access',
    'token-create anna@local!look',
    'user-create anna@local',
    'user-create root@pam',
  ]);
  const [refused, granted] = all as [Row, Row];
  assert.deepEqual([refused.by, refused.address, refused.detail], ['anna@local!look', '127.0.0.1', {}]);
  assert.deepEqual([granted.by, granted.address], ['root@pam', '']);
  assert.deepEqual(granted.detail, { role: 'Audit', authId: 'anna@local!look', propagate: true });
  assert.ok(all.every(({ time }) => time >= began - 60 && time <= Date.now() / 1000 + 60));
  assert.ok(!JSON.stringify(all).includes(value));

  const page = await both('--limit', '2');
  assert.deepEqual([...page, ...(await both('--limit', '10', '--before', `${page[1]?.id}`))], all);
  assert.deepEqual(await both('--action', 'acl-set'), all.slice(1, 3));
  assert.deepEqual(await both('--by', 'anna@local!look'), [refused]);
  assert.deepEqual(await both('--by', 'root@pam', '--action', 'user-create', '--limit', '1'), [all[4]]);
  assert.deepEqual(await both('--by', 'nobody@local'), []);

  await place.run('acl', 'delete', '/access', 'Audit', '--auth-id', 'anna@local!look', ...at);
  messageOf(await far(), 'permission-denied');
});

test('a table has a line for each entry; what cannot be meant is refused', async (t) => {
  const place = await newPlace(t, { create: false });
  await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  await auditor(place, at);
  await place.run('user', 'update', 'anna@local', '--comment', 'x', '--enable', 'no', ...at);
  const lines = (await place.run('audit', 'list', '--limit', '3', ...at)).stdout.toString().split('\n');
  assert.match(lines[0] ?? '', /^ *id {2}time +action +by +address +object +detail$/);
  assert.match(lines[1] ?? '', /^ *\d+ {2}20\S+Z {2}user-update {2}root@pam +anna@local +fields=comment,enable$/);
  assert.match(lines[2] ?? '', / acl-set .* \/access +role=Audit authId=anna@local!look propagate=yes$/);
  assert.equal(lines.length, 5);
  for (const limit of ['0', '1001', '1.5', 'all', '-1', ''])
    assert.match(await place.fails('bad-argument', 'audit', 'list', `--limit=${limit}`, ...at), /from 1 to 1000/);
  await place.fails('bad-argument', 'audit', 'list', '--before', '0', ...at);
  const unknown = await place.try(['audit', 'list', '--action', 'reboot', ...at]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /user-create, .*enrolment-refused/);
  await place.fails('not-found', 'audit', 'list', '--state-dir', place.path('nothing'));
});
