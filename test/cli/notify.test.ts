// Notifications from the command line, beside a server that runs: set up locally and through the API, and mail that arrives at a real mail server.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { mailServer } from '../notify/targets/mail-server.ts';
import { newPlace } from './holdfast.ts';
import { ask, run } from './running-server.ts';

interface TargetJson {
  readonly name: string;
  readonly type: string;
}

test('a task of a server is told by mail; what is not taken waits and is shown; no command shows a secret', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0', '--first-datastore', 'main');
  const at = ['--state-dir', place.path('server')];
  const { port, mails } = await mailServer(t);
  writeFileSync(place.path('pw'), 'secret pass\n');
  writeFileSync(place.path('token'), 'tk_hidden\n');
  const smtp = [
    '--server',
    '127.0.0.1',
    '--tls',
    'none',
    '--from',
    'b@example.com',
    '--mailto',
    'a@example.com',
    ...at,
  ];
  const login = ['--username', 'anna', '--password-file', place.path('pw')];
  await place.run('notify', 'target', 'add-smtp', 'mail', '--port', String(port), ...login, ...smtp);
  await place.run('notify', 'target', 'test', 'mail', ...at);
  assert.match(mails[0]?.text ?? '', /Test notification/);

  // Through the API: a token of a user who may look and change notifications.
  await place.run('user', 'create', 'anna@local', '--no-password', ...at);
  const { tokenid, value } = await place.json<Record<string, string>>('token', 'create', 'anna@local', 'notify', ...at);
  for (const who of ['anna@local', tokenid as string])
    for (const [path, role] of [
      ['/system/notifications', 'Admin'],
      ['/datastore', 'Admin'],
    ] as const)
      await place.run('acl', 'set', path, role, '--auth-id', who, ...at);
  const store = (await ask(server.port, '/api2/json/admin/datastore', `${tokenid}:${value}`)).text;
  const [first] = (JSON.parse(store) as { data: { store: string }[] }).data;
  assert.ok(first !== undefined, 'the server has a datastore');
  const remote = [
    '--repository',
    `https://${tokenid}@127.0.0.1:${server.port}/${first.store}`,
    '--fingerprint',
    server.fingerprint,
  ];
  const env = { HOLDFAST_TOKEN_SECRET: value as string, HOLDFAST_PASSWORD: value as string };
  const there = async (...args: string[]): Promise<string> => {
    const ran = await place.try(['notify', ...args, ...remote, '--output-format', 'json'], { env });
    assert.equal(ran.code, 0, ran.stderr);
    return ran.stdout.toString();
  };
  const hook = [
    '--preset',
    'ntfy',
    '--url',
    'http://127.0.0.1:1/topic',
    '--secret-file',
    `token=${place.path('token')}`,
  ];
  await there('target', 'add-webhook', 'hook', ...hook);
  const targets = JSON.parse(await there('target', 'list')) as TargetJson[];
  assert.deepEqual(
    targets.map(({ name, type }) => [name, type]),
    [
      ['hook', 'webhook'],
      ['mail', 'smtp'],
    ],
  );
  assert.deepEqual(targets, await place.json('notify', 'target', 'list', ...at), 'here and there the same');
  await there(
    'matcher',
    'add',
    'gc-only',
    '--target',
    'hook',
    '--match-field',
    'exact:type=gc',
    '--match-severity',
    'info',
  );
  const shown = [
    await there('target', 'show', 'hook'),
    await there('target', 'show', 'mail'),
    await there('matcher', 'list'),
    (await place.run('notify', 'target', 'show', 'hook', ...at)).stdout.toString(),
    (await place.run('audit', 'list', ...at)).stdout.toString(),
    server.lines.join('\n'),
  ].join('\n');
  assert.doesNotMatch(shown, /tk_hidden|secret pass/);
  assert.match(shown, /"secrets":\["token"\]/);
  assert.match(shown, /notification-add/);

  const gc = await fetchGc(server.port, first.store, `${tokenid}:${value}`);
  assert.equal(gc, 200);
  for (const end = Date.now() + 20_000; mails.length < 2; await setTimeout(100))
    assert.ok(Date.now() < end, 'in vain: a mail');
  assert.match(mails[1]?.text ?? '', /Subject: garbage_collection of .* successful/);
  const queue = await place.json<{ target: string; state: string; error?: string }[]>('notify', 'queue', ...at);
  assert.deepEqual(
    queue.map(({ target, state }) => [target, state]),
    [['hook', 'waiting']],
  );
  assert.match(JSON.parse(await there('queue'))[0].subject, /garbage_collection/);

  await place.fails('not-found', 'notify', 'target', 'test', 'none', ...at);
  await place.fails('server-unreachable', 'notify', 'target', 'test', 'hook', ...at);
  await place.fails('bad-argument', 'notify', 'target', 'remove', 'hook', ...at);
  const defaults = async () => {
    type Row = { name: string; enabled: boolean };
    const rows = await place.json<Row[]>('notify', 'matcher', 'list', ...at);
    return rows.find(({ name }) => name === 'default-matcher')?.enabled;
  };
  await there('matcher', 'disable', 'default-matcher');
  assert.equal(await defaults(), false);
  await place.run('notify', 'matcher', 'enable', 'default-matcher', ...at);
  assert.equal(await defaults(), true);
  await place.run('notify', 'matcher', 'disable', 'default-matcher', ...at);
  await place.run('notify', 'matcher', 'remove', 'default-matcher', ...at);
  assert.equal(await defaults(), true, 'as it was');
  await place.fails('not-found', 'notify', 'matcher', 'disable', 'none', ...at);
  await there('matcher', 'remove', 'gc-only');
  await there('target', 'remove', 'hook');
  assert.deepEqual(await place.json('notify', 'queue', ...at), []);
  const before = mails.length;
  assert.deepEqual(await place.json('notify', 'digest', ...at), { targets: ['mail'], hours: 24 });
  assert.deepEqual(JSON.parse(await there('digest', '--hours', '48')), { targets: ['mail'], hours: 48 });
  for (const end = Date.now() + 20_000; mails.length < before + 2; await setTimeout(100))
    assert.ok(Date.now() < end, 'in vain: two digests');
  for (const { text } of mails.slice(before)) {
    assert.match(text, /Subject: Backups of .*: 1 well/);
    assert.match(text, /garbage_collection /);
  }
  await place.fails('bad-argument', 'notify', 'digest', '--hours', '0', ...at);
  await place.fails('bad-argument', 'notify', 'digest', '--hours', '169', ...at);
  const well = { alarms: [], unknown: [] };
  assert.deepEqual([await place.json('notify', 'check', ...at), JSON.parse(await there('check'))], [well, well]);
  assert.match((await place.run('notify', 'check', ...at)).stdout.toString(), /^no alarm is raised$/m);
  await place.run('notify', 'target', 'remove', 'mail', ...at);
  const nobody = await place.fails('not-found', 'notify', 'digest', ...at);
  assert.match(JSON.stringify(nobody), /no target gets the digest/);
  const settings = await place.json(
    'notify',
    'alarms',
    '--backup-hours',
    '26',
    '--job-hours',
    '8',
    '--digest-at',
    '07:00',
    ...at,
  );
  assert.deepEqual(settings, { backupHours: 26, fullDays: 14, verifyDays: 60, jobHours: 8, digestAt: '07:00' });
  await place.fails('bad-argument', 'notify', 'alarms', '--digest-at', 'noon', ...at);
  server.child.kill('SIGTERM');
  await server.ended;
  const gone = await place.fails('server-unreachable', 'notify', 'check', ...at);
  assert.match(JSON.stringify(gone), /no server runs with the state directory/);
});

async function fetchGc(port: number, store: string, token: string): Promise<number> {
  const { request, Agent } = await import('node:https');
  const agent = new Agent({ rejectUnauthorized: false });
  return await new Promise((resolve, reject) => {
    const path = `/api2/json/admin/datastore/${store}/gc`;
    const asking = request(
      { host: '127.0.0.1', port, path, method: 'POST', agent, headers: { authorization: `PBSAPIToken=${token}` } },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      },
    );
    asking.on('error', reject).end();
  });
}
