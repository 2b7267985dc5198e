// Pools from the command line, beside a server that runs: made, filled, named by a job, removed; and what counts for the server at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf, newPlace } from './holdfast.ts';
import { ask, run } from './running-server.ts';

interface PoolJson {
  readonly poolid: string;
  readonly comment: string;
  readonly vms: readonly number[];
  readonly storage: readonly string[];
}

test('a pool is made and changed beside a running server, which counts it at its next question', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  const pool = async (...words: string[]): Promise<PoolJson> => await place.json<PoolJson>('pool', ...words, ...at);
  assert.deepEqual(await pool('create', 'web', '--comment', 'the shop'), {
    ...{ poolid: 'web', comment: 'the shop', vms: [], storage: [] },
  });
  await pool('create', 'web/test');
  assert.deepEqual(await pool('set', 'web', '--vms', '101,100', '102', '--storage', 'local'), {
    ...{ poolid: 'web', comment: 'the shop', vms: [100, 101, 102], storage: ['local'] },
  });
  const { tokenid, value } = await place.json<Record<string, string>>('token', 'create', 'root@pam', 'ci', ...at);
  await place.run('acl', 'set', '/pool/web', 'PVEAuditor', '--auth-id', tokenid as string, ...at);
  const rightsOn = async (path: string): Promise<string[]> => {
    const { text } = await ask(server.port, `/api2/json/access/permissions?path=${path}`, `${tokenid}:${value}`);
    return Object.keys((JSON.parse(text) as { data: Record<string, object> }).data[path] ?? {});
  };
  assert.ok((await rightsOn('/vms/100')).includes('Sys.Audit'));
  assert.deepEqual((await pool('set', 'web', '--vms', '100', '--delete')).vms, [101, 102]);
  assert.deepEqual(await rightsOn('/vms/100'), []);
  assert.ok((await rightsOn('/vms/101')).includes('Sys.Audit'));
  await pool('set', 'web/test', '--vms', '101', '--allow-move');
  assert.deepEqual(await place.json('pool', 'list', ...at), [
    { poolid: 'web', comment: 'the shop', vms: [102], storage: ['local'] },
    { poolid: 'web/test', comment: '', vms: [101], storage: [] },
  ]);
  assert.match(
    (await place.run('pool', 'list', ...at)).stdout.toString(),
    /^pool +guests +storages +comment\nweb +102 +local +the shop\n/,
  );
  assert.match((await place.run('pool', 'show', 'web/test', ...at)).stdout.toString(), /guests +101/);

  const job = ['--node', 'localhost', '--store', 'main', ...at];
  await place.fails('not-found', 'job', 'create', 'vzdump', 'night', '--pool', 'none', ...job);
  await place.fails('bad-argument', 'job', 'create', 'vzdump', 'night', '--pool', 'web', '--all', ...job);
  await place.fails('bad-argument', 'job', 'create', 'vzdump', 'night', '--pool', 'web', '--vm', '100', ...job);
  const made = await place.json<{ options: object }>(
    ...['job', 'create', 'vzdump', 'night', '--pool', 'web/test', '--exclude', '102', ...job],
  );
  assert.deepEqual(made.options, { node: 'localhost', store: 'main', pool: 'web/test', exclude: [102] });
  await pool('set', 'web/test', '--vms', '101', '--delete');
  assert.match(await place.fails('protected', 'pool', 'remove', 'web/test', ...at), /vzdump\/night/);
  assert.match(await place.fails('protected', 'pool', 'remove', 'web', ...at), /contains pool 'web\/test'/);
  await place.run('job', 'remove', 'vzdump/night', ...at);
  await place.run('pool', 'remove', 'web/test', ...at);
  await pool('set', 'web', '--vms', '102', '--storage', 'local', '--delete');
  await place.run('pool', 'remove', 'web', ...at);
  assert.deepEqual(await place.json('pool', 'list', ...at), []);
  assert.deepEqual(await place.json('acl', 'list', ...at), [], 'with the rights on it');
  const actions = await place.json<{ action: string }[]>('audit', 'list', '--action', 'pool-delete', ...at);
  assert.equal(actions.length, 2);
});

test('what is wrong is refused in words that say what to do', async (t) => {
  const place = await newPlace(t, { create: false });
  await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  await place.run('pool', 'create', 'web', ...at);
  await place.fails('exists', 'pool', 'create', 'web', ...at);
  await place.fails('bad-name', 'pool', 'create', 'a b', ...at);
  await place.fails('bad-name', 'pool', 'set', 'web', '--vms', '7', ...at);
  assert.match(await place.fails('bad-argument', 'pool', 'set', 'web', ...at), /--comment, --vms or --storage/);
  await place.fails('not-found', 'pool', 'set', 'web', '--vms', '100', '--delete', ...at);
  await place.fails('not-found', 'pool', 'show', 'none', ...at);
});

test('from afar the same, with the rights of who asks', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  await place.run('user', 'create', 'anna@local', '--no-password', ...at);
  const { value } = await place.json<{ value: string }>('token', 'create', 'anna@local', 'cli', ...at);
  const remote = ['--repository', `https://anna@local!cli@127.0.0.1:${server.port}/x`, '--output-format', 'json'];
  const env = { HOLDFAST_TOKEN_SECRET: value, HOLDFAST_FINGERPRINT: server.fingerprint };
  const far = async (...words: string[]) => await place.try(['pool', ...words, ...remote], { env });
  const pool = async <Value = PoolJson>(...words: string[]): Promise<Value> => {
    const ran = await far(...words);
    assert.equal(ran.code, 0, ran.stderr);
    return JSON.parse(ran.stdout.toString()) as Value;
  };
  messageOf(await far('create', 'web'), 'permission-denied');
  messageOf(await far('show', 'web'), 'permission-denied');
  for (const who of ['anna@local', 'anna@local!cli'])
    for (const [path, role] of [
      ['/pool/web', 'PVEPoolAdmin'],
      ['/vms', 'PVEVMAdmin'],
      ['/storage', 'PVEDatastoreAdmin'],
    ] as const)
      await place.run('acl', 'set', path, role, '--auth-id', who, ...at);
  assert.deepEqual(await pool('create', 'web', '--comment', 'the shop'), {
    ...{ poolid: 'web', comment: 'the shop', vms: [], storage: [] },
  });
  await pool('create', 'web/test');
  messageOf(await far('create', 'other'), 'permission-denied');
  messageOf(await far('create', 'web'), 'exists');
  messageOf(await far('create', 'a b'), 'bad-name');
  assert.deepEqual(await pool('set', 'web', '--vms', '101,100', '--storage', 'local'), {
    ...{ poolid: 'web', comment: 'the shop', vms: [100, 101], storage: ['local'] },
  });
  messageOf(await far('set', 'web/test', '--vms', '101'), 'exists');
  assert.deepEqual((await pool('set', 'web/test', '--vms', '101', '--allow-move', '--comment', 'ü')).comment, 'ü');
  await place.run('pool', 'create', 'hidden', ...at);
  assert.deepEqual(
    await pool('list'),
    (await place.json<PoolJson[]>('pool', 'list', ...at)).filter(({ poolid }) => poolid !== 'hidden'),
  );
  assert.deepEqual((await pool('show', 'web/test')).vms, [101]);
  messageOf(await far('remove', 'web/test'), 'protected');
  assert.deepEqual((await pool('set', 'web/test', '--vms', '101', '--delete')).vms, []);
  assert.deepEqual(await pool('remove', 'web/test'), { poolid: 'web/test', removed: true });
  messageOf(await far('show', 'web/test'), 'not-found');
  const audit = await place.json<{ by: string; address: string }[]>('audit', 'list', '--action', 'pool-delete', ...at);
  assert.deepEqual(
    audit.map(({ by, address }) => [by, address]),
    [['anna@local!cli', '127.0.0.1']],
  );
});
