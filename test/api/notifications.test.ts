// Targets and matchers of notifications over the API: every route, who may call it, digests, and that no secret comes back.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { METHODS } from '../../src/api/routes/methods.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import { event } from '../notify/fixture.ts';
import { ApiRig, RAISED_ALARM } from './rig.ts';

const PATH = '/config/notifications';
const SMTP = `${PATH}/endpoints/smtp`;
const HOOK = `${PATH}/endpoints/webhook`;
const ROOT = 'root@pam';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

function started(t: TestContext) {
  const rig = new ApiRig();
  t.after(() => rig.close());
  const walked = new Set<string>();
  const call = async (method: string, path: string, parameters: Record<string, unknown> = {}, as = ROOT) => {
    const answer = await rig.call(as, method, path, parameters);
    const matching = METHODS.find(
      (each) => each.method === method && new RegExp(`^${each.path.replace(/\{[^}]+\}/g, '[^/]+')}$`).test(path),
    );
    walked.add(`${method} ${matching?.path}`);
    return answer;
  };
  const well = async (...[method, path, parameters]: Parameters<typeof call>) => {
    const answer = await call(method, path, parameters);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
    return answer.json.data as never;
  };
  return { rig, call, well, walked };
}

const MAIL = {
  name: 'mail',
  server: 'mail.example.com',
  mode: 'starttls',
  username: 'anna',
  password: 's3cret!',
  mailto: ['admin@example.com'],
  'from-address': 'backup@example.com',
};

test('every route does what it says, and no answer holds a secret', async (t) => {
  const { rig, call, well, walked } = started(t);
  const answers: string[] = [];
  await well('POST', SMTP, { ...MAIL, port: 2525, comment: 'c', author: 'Backups' });
  const row: Record<string, unknown> = await well('GET', `${SMTP}/mail`);
  const { password: _, ...shown } = MAIL;
  assert.deepEqual(row, { ...shown, port: 2525, comment: 'c', author: 'Backups', origin: 'user-created' });
  await well('PUT', `${SMTP}/mail`, { server: 'other.example.com', delete: ['port', 'comment'], disable: true });
  const changed: Record<string, unknown> = await well('GET', `${SMTP}/mail`);
  assert.deepEqual(
    [changed.server, changed.port, changed.comment, changed.disable],
    ['other.example.com', undefined, undefined, true],
  );
  assert.deepEqual(rig.notifications.store.secretsOf('mail'), { password: 's3cret!' }, 'what is not named stays');
  await well('PUT', `${SMTP}/mail`, { delete: ['disable', 'username', 'password'] });
  assert.deepEqual(rig.notifications.store.secretsOf('mail'), {});

  const header = `name=X-Key,value=${base64('{{secrets.key}}')}`;
  await well('POST', HOOK, {
    name: 'hook',
    url: 'https://example.com/{{secrets.key}}',
    header: [header],
    body: base64('{{message}}'),
    secret: [`name=key,value=${base64('s3cret!')}`],
  });
  const hook: Record<string, unknown> = await well('GET', `${HOOK}/hook`);
  assert.deepEqual(
    [hook.header, hook.body, hook.secret, hook.method],
    [[header], base64('{{message}}'), ['name=key'], 'post'],
  );
  await well('PUT', `${HOOK}/hook`, { secret: ['name=key', `name=more,value=${base64('m')}`], method: 'put' });
  assert.deepEqual(rig.notifications.store.secretsOf('hook'), { key: 's3cret!', more: 'm' });
  const refused = await call('PUT', `${HOOK}/hook`, { delete: ['secret'] });
  assert.equal(refused.status, 400, 'the URL needs it');

  await well('POST', `${PATH}/matchers`, {
    name: 'night',
    'match-severity': ['error'],
    'match-field': ['exact:type=gc'],
    target: ['mail'],
  });
  await well('PUT', `${PATH}/matchers/night`, {
    mode: 'any',
    'invert-match': true,
    delete: ['match-field'],
    comment: 'x',
  });
  assert.deepEqual(await well('GET', `${PATH}/matchers/night`), {
    name: 'night',
    mode: 'any',
    'match-severity': ['error'],
    target: ['mail'],
    comment: 'x',
    'invert-match': true,
    origin: 'user-created',
  });
  await well('PUT', `${PATH}/matchers/night`, { delete: ['comment', 'invert-match', 'mode'] });
  const matchers: { name: string; target?: string[] }[] = await well('GET', `${PATH}/matchers`);
  assert.deepEqual(
    matchers.map(({ name }) => name),
    ['default-matcher', 'night'],
  );
  assert.deepEqual(matchers[0]?.target, ['hook', 'mail']);

  rig.notifications.queue.add(event({ subject: 'waits' }), 'id', ['mail'], 1_000_000);
  const queue: { subject: string; state: string; added: number }[] = await well('GET', `${PATH}/queue`);
  assert.deepEqual(
    queue.map(({ subject, state, added }) => [subject, state, added]),
    [['waits', 'waiting', 1000]],
  );
  assert.deepEqual(await well('POST', `${PATH}/check`), { alarms: [RAISED_ALARM], unknown: ['slow'] });
  assert.deepEqual(await well('POST', `${PATH}/digest`), ['mail']);
  await well('POST', `${PATH}/digest`, { hours: 168 });
  assert.deepEqual(rig.digests, [24, 168]);
  assert.equal((await call('POST', `${PATH}/digest`, { hours: 169 })).status, 400);
  await well('POST', `${PATH}/targets/hook/test`);
  assert.deepEqual(rig.notifications.tested, ['hook']);
  assert.deepEqual(await well('GET', `${PATH}/targets/hook`), {
    name: 'hook',
    type: 'webhook',
    origin: 'user-created',
  });
  for (const path of [SMTP, HOOK, `${PATH}/targets`, `${PATH}/matchers`]) answers.push((await call('GET', path)).text);
  assert.doesNotMatch(
    `${answers.join()}${JSON.stringify(rig.notifications.audit)}`,
    new RegExp(`s3cret|${base64('s3cret!')}`),
  );

  assert.equal((await call('DELETE', `${SMTP}/mail`)).status, 400, 'a matcher names it');
  await well('DELETE', `${PATH}/matchers/night`);
  await well('DELETE', `${SMTP}/mail`);
  await well('DELETE', `${HOOK}/hook`);
  assert.deepEqual(await well('GET', `${PATH}/targets`), []);
  assert.equal(rig.notifications.queue.list(1).length, 0);
  const all = METHODS.filter(({ path }) => path.startsWith(PATH)).map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual([...walked].sort(), all.sort(), 'every route was walked');
  assert.equal(rig.notifications.audit.length, 11);
});

test('who may not look or change is refused at every route', async (t) => {
  const { rig } = started(t);
  rig.access.grant('other@pbs', { '/datastore': 'DatastoreAdmin' });
  rig.access.grant('auditor@pbs', { '/system/notifications': 'Audit' });
  for (const { method, path } of METHODS.filter((each) => each.path.startsWith(PATH))) {
    const place = path.replace('{name}', 'mail');
    assert.equal((await rig.call('other@pbs', method, place, {})).status, 403, `${method} ${path}`);
    const { status } = await rig.call('auditor@pbs', method, place, {});
    if (method === 'GET') assert.notEqual(status, 403, `${method} ${path}`);
    else assert.equal(status, 403, `${method} ${path}`);
    assert.equal((await rig.call(undefined, method, place, {})).status, 401, `${method} ${path}`);
  }
});

test('what is wrong is refused with a reason: kinds, digests, names, a target that does not answer', async (t) => {
  const { rig, call, well } = started(t);
  await well('POST', SMTP, MAIL);
  for (const [method, path, parameters, reason] of [
    ['POST', SMTP, MAIL, /already/],
    ['POST', SMTP, { ...MAIL, name: 'x y' }, /name/],
    ['POST', SMTP, { ...MAIL, name: 'other', mailto: ['a b'] }, /no mail address/],
    ['GET', `${HOOK}/mail`, {}, /no webhook/],
    ['PUT', `${HOOK}/mail`, { url: 'https://x' }, /no webhook/],
    ['DELETE', `${HOOK}/mail`, {}, /no webhook/],
    ['GET', `${SMTP}/none`, {}, /there is no target/],
    ['PUT', `${SMTP}/mail`, { server: 'x', digest: 'a'.repeat(64) }, /modified/],
    ['POST', HOOK, { name: 'hook', url: 'https://x', header: ['X: y'] }, /name=NAME/],
    ['POST', HOOK, { name: 'hook', url: 'https://x', body: '{{' }, /base64/],
    ['POST', HOOK, { name: 'hook', url: '{{title' }, /no URL of a webhook/],
    ['POST', HOOK, { name: 'hook', url: 'ftp://example.com/' }, /begins with http/],
    ['POST', HOOK, { name: 'hook', url: 'file:///etc/passwd' }, /begins with http/],
    ['POST', `${PATH}/matchers`, { name: 'mm', target: ['none'] }, /there is no target/],
    ['POST', `${PATH}/matchers`, { name: 'mm', 'match-field': ['regex:a=('] }, /regular expression/],
    ['DELETE', `${PATH}/matchers/default-matcher`, {}, /by itself/],
  ] as const) {
    const answer = await call(method, path, parameters);
    assert.ok(answer.status >= 400 && answer.status < 500, `${method} ${path} ${answer.status}`);
    assert.match(answer.text, reason);
  }
  await well('POST', SMTP, { ...MAIL, name: 'broken' });
  const failed = await call('POST', `${PATH}/targets/broken/test`);
  assert.notEqual(failed.status, 200);
  assert.match(failed.text, /cannot be reached/);
  assert.deepEqual(rig.bugs, []);
});

test('what is refused repeats no secret, and a refusal that looks like JSON is told as it is', async (t) => {
  const { rig, call, well } = started(t);
  await well('POST', SMTP, MAIL);
  const secret = (value: string) => [`name=key,value=${base64(value)}`];
  const long = `s3cret!${'x'.repeat(5000)}`;
  for (const [method, path, parameters] of [
    ['POST', SMTP, { ...MAIL, password: 's3cret!\u0007' }],
    ['POST', SMTP, { ...MAIL, name: 'other', username: '', password: 's3cret!' }],
    ['POST', SMTP, { ...MAIL, name: 'other', password: long }],
    ['PUT', `${SMTP}/mail`, { delete: ['username'], password: 's3cret!' }],
    ['PUT', `${SMTP}/mail`, { password: ['s3cret!'] }],
    ['POST', HOOK, { name: 'hook', url: 'https://x', secret: secret('s3cret!\n') }],
    ['POST', HOOK, { name: 'hook', url: 'https://x', secret: secret(long) }],
    ['POST', HOOK, { name: 'hook', url: 'https://x', secret: ['name=key,value=s3cret!'] }],
    ['POST', HOOK, { name: 'hook', url: 'https://x', secret: ['name=key;value=s3cret!'] }],
    ['POST', HOOK, { name: 'hook', url: 'https://x', secret: ['name=key'] }],
  ] as const) {
    const { status, text } = await call(method, path, parameters);
    assert.equal(status, 400, text);
    assert.doesNotMatch(text, new RegExp(`s3cret|${base64('s3cret!').slice(0, 8)}`));
  }
  assert.doesNotMatch(JSON.stringify(rig.notifications.audit), /s3cret/);
  rig.notifications.test = async () => {
    throw new HoldfastError('target-failed', '{"half": of it');
  };
  assert.equal((await call('POST', `${PATH}/targets/mail/test`)).text.trim(), '{"half": of it');
});
