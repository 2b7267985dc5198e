// What goes over the wire in the guest dialect: statuses, reason phrases, bodies, and how callers show who they are.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newTotpUri } from '../../auth/access-fixture.ts';
import { GuestRig } from './guest-rig.ts';

const ROOT = 'root@pam';

test('a failure says what it is in the reason phrase and in the body, with data beside it', async (t) => {
  const rig = await GuestRig.open(t);
  const gone = await rig.call(ROOT, 'GET', '/nodes/pve1/qemu/999/config');
  const text = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist";
  assert.deepEqual(gone, { status: 500, reason: text, json: { data: null, message: `${text}\n` } });

  const wrong = await rig.call(ROOT, 'POST', '/nodes/pve1/qemu', { vmid: 'x', foo: '1' });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.reason, 'Parameter verification failed.');
  assert.deepEqual(wrong.json, {
    data: null,
    message: 'Parameter verification failed.\n',
    errors: {
      vmid: "type check ('integer') failed - got 'x'",
      foo: 'property is not defined in schema and the schema does not allow additional properties',
    },
  });

  const unknown = await rig.call(ROOT, 'GET', '/no/such/thing');
  assert.equal(unknown.status, 501);
  assert.equal(unknown.reason, "Method 'GET /no/such/thing' not implemented");
  const wrongMethod = await rig.call(ROOT, 'PUT', '/version');
  assert.equal(wrongMethod.status, 501);
  const otherNode = await rig.call(ROOT, 'GET', '/nodes/other/qemu');
  assert.equal(otherNode.status, 500);
});

test('under extjs every answer is 200, and says what it would have been', async (t) => {
  const rig = await GuestRig.open(t);
  const gone = await rig.call(ROOT, 'GET', '/nodes/pve1/qemu/999/config', {}, 'extjs');
  assert.equal(gone.status, 200);
  assert.equal(gone.json.success, 0);
  assert.equal(gone.json.status, 500);
  const good = await rig.call(ROOT, 'GET', '/version', {}, 'extjs');
  assert.equal(good.json.success, 1);
  assert.ok(good.json.data);
});

test('whoever is not signed in gets 401 with data null', async (t) => {
  const rig = await GuestRig.open(t);
  const nobody = await rig.call(undefined, 'GET', '/version');
  assert.deepEqual(nobody, { status: 401, reason: 'No ticket', json: { data: null, message: 'No ticket\n' } });
  const wrong = await rig.call(undefined, 'POST', '/access/ticket', { username: 'root@pam', password: 'wrong' });
  assert.equal(wrong.status, 401);
  assert.equal(wrong.reason, 'authentication failure');
  assert.equal(wrong.json.data, null);
  const unwritten = await rig.app.inject({
    method: 'GET',
    url: '/api2/json/version',
    headers: { cookie: 'PVEAuthCookie=a' },
  });
  assert.equal(unwritten.statusMessage, 'authentication failure');
});

test('a sign-in gives a ticket of Proxmox VE and what the user may; a bare name with its realm is taken', async (t) => {
  const rig = await GuestRig.open(t);
  const password = rig.fixture.rootPassword;
  for (const who of [{ username: 'root@pam' }, { username: 'root', realm: 'pam' }, { username: 'root' }]) {
    const { json } = await rig.call(undefined, 'POST', '/access/ticket', { ...who, password });
    const data = json.data as Record<string, never>;
    assert.match(data.ticket, /^PVE:root@pam:[0-9A-F]{8}::/);
    assert.match(data.CSRFPreventionToken, /^[0-9A-F]{8}:/);
    assert.equal(data.username, 'root@pam');
    assert.deepEqual(Object.keys(data.cap), ['access', 'dc', 'mapping', 'nodes', 'sdn', 'storage', 'vms']);
    assert.equal(data.cap['vms' as never]['VM.PowerMgmt' as never], 1);
    assert.equal('NeedTFA' in data, false);
    const again = await rig.call(undefined, 'POST', '/access/ticket', { ...who, password: data.ticket });
    assert.equal(again.status, 200);
  }
});

test('a second factor is asked for, and answered with the challenge', async (t) => {
  const rig = await GuestRig.open(t);
  const { clock, access, rootPassword: password } = rig.fixture;
  const uri = newTotpUri(ROOT);
  const { TOTP, URI } = await import('otpauth');
  const totp = URI.parse(uri) as InstanceType<typeof TOTP>;
  const code = (): string => totp.generate({ timestamp: clock.nowMs });
  const root = { authId: ROOT as never, address: '' };
  await access.addTotp(root, ROOT as never, { uri, code: code(), description: '', confirmation: password });
  clock.passSeconds(60);
  const first = await rig.call(undefined, 'POST', '/access/ticket', { username: ROOT, password });
  const challenge = first.json.data as { NeedTFA: number; ticket: string };
  assert.equal(challenge.NeedTFA, 1);
  assert.match(challenge.ticket, /^PVE:!tfa!/);
  const second = await rig.call(undefined, 'POST', '/access/ticket', {
    username: ROOT,
    password: `totp:${code()}`,
    'tfa-challenge': challenge.ticket,
  });
  assert.equal(second.status, 200);
  assert.ok((second.json.data as { cap: unknown }).cap);
  clock.passSeconds(60);
  const atOnce = await rig.call(undefined, 'POST', '/access/ticket', { username: ROOT, password, otp: code() });
  assert.equal((atOnce.json.data as { NeedTFA?: number }).NeedTFA, undefined);
});

test('tickets are taken from the cookie as it stands and from Authorization, tokens with = and with a space', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('anna@pve', { '/': 'PVEAuditor' });
  await rig.grant('anna@pve!ci', { '/': 'PVEAuditor' });
  const { cookie = '', csrfpreventiontoken: csrf = '' } = rig.headers(ROOT);
  const { authorization = '' } = rig.headers('anna@pve!ci');
  const status = async (headers: Record<string, string>, method = 'GET', url = '/api2/json/version') =>
    (await rig.app.inject({ method: method as 'GET', url, headers })).statusCode;
  assert.equal(await status({ cookie }), 200);
  assert.equal(await status({ cookie: cookie.replaceAll(':', '%3A').replaceAll('+', '%2B') }), 200);
  assert.equal(await status({ authorization: cookie }), 200);
  assert.equal(await status({ authorization }), 200);
  assert.equal(await status({ authorization: authorization.replace('PVEAPIToken=', 'PVEAPIToken ') }), 200);
  assert.equal(await status({ authorization: authorization.replace('PVEAPIToken', 'PBSAPIToken') }), 401);
  const password = '/api2/json/access/users?userid=made@pve';
  assert.equal(await status({ cookie }, 'POST', password), 401);
  assert.equal(await status({ cookie, csrfpreventiontoken: csrf }, 'POST', password), 200);
  // A token needs none, and has no right to that.
  assert.equal(await status({ authorization }, 'POST', password), 403);
});

test('parameters come from query, form and JSON with numbers, booleans and lists of their own', async (t) => {
  const rig = await GuestRig.open(t);
  const json = await rig.app.inject({
    method: 'POST',
    url: '/api2/json//nodes/pve1/qemu/?name=web',
    headers: { ...rig.headers(ROOT), 'content-type': 'application/json;charset=utf-8' },
    payload: JSON.stringify({ vmid: 100, node: 'pve1', memory: 2048, agent: 1, onboot: true, tags: ['a', 'b'] }),
  });
  assert.equal(json.statusCode, 200, json.body);
  assert.equal(await rig.ended((json.json() as { data: string }).data), 'OK');
  const { digest, ...config } = await rig.data<Record<string, unknown>>('GET', '/nodes/pve1/qemu/100/config');
  assert.deepEqual(config, { name: 'web', memory: '2048', agent: '1', onboot: 1, tags: 'a,b' });
  assert.match(digest as string, /^[0-9a-f]{40}$/);
  const inQuery = await rig.app.inject({
    method: 'POST',
    url: '/api2/json/nodes/pve1/qemu/100/status/start?timeout=30',
    headers: rig.headers(ROOT),
  });
  assert.equal(inQuery.statusCode, 200, inQuery.body);
  const upid = (inQuery.json() as { data: string }).data;
  assert.equal(await rig.ended(upid), 'OK');
  assert.deepEqual(rig.guests.asked.at(-1)?.options, { skipLock: false, timeoutMs: 30_000 });
  assert.deepEqual(rig.bugs, []);
});
