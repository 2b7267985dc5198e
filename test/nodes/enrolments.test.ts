import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BACKUP_CREDENTIALS } from '../../src/auth/credentials.ts';
import { parseUserId } from '../../src/schema/auth-id.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import { ADDRESS, openFixture, ROOT, withCode } from '../auth/access-fixture.ts';
import { openEnrolments } from './enrolments-fixture.ts';

const USER = parseUserId('agents@local');
const MACHINE = { machineId: 'ab'.repeat(32), hostName: 'web1.example', address: ADDRESS };

async function rig(t: TestContext) {
  const parts = await openFixture(t);
  await parts.access.createUser(ROOT, { userid: USER });
  const { store: nodes, enrolments } = openEnrolments(parts, ['vault', 'vault.example']);
  return { ...parts, enrolments, nodes };
}

const authorization = (tokenid: string, secret: string) => ({
  style: BACKUP_CREDENTIALS,
  authorization: `PBSAPIToken=${tokenid}:${secret}`,
  cookie: undefined,
  csrfToken: undefined,
  method: 'GET',
  address: ADDRESS,
});

test('a secret gives a token that signs in, once; only its hash is kept', async (t) => {
  const { enrolments, nodes, authenticator, clock, state } = await rig(t);
  const made = enrolments.add(ROOT, { node: 'web1', user: USER });
  assert.equal(made.tokenid, 'agents@local!agent-web1');
  assert.equal(made.expireMs, clock.nowMs + 3600_000);
  assert.ok(made.secret.length >= 32);
  const stored = state.db.prepare('SELECT * FROM node_enrolments').all();
  assert.equal(JSON.stringify(stored).includes(made.secret), false);
  const { tokenid, value } = enrolments.redeem({ node: 'web1', secret: made.secret, ...MACHINE });
  assert.equal((await authenticator.authenticate(authorization(tokenid, value), clock.nowMs)).authId, made.tokenid);
  assert.deepEqual(
    nodes.list().map(({ name, authId, machineId, hostName }) => ({ name, authId, machineId, hostName })),
    [{ name: 'web1', authId: made.tokenid, machineId: MACHINE.machineId, hostName: MACHINE.hostName }],
  );
  assert.throws(
    () => enrolments.redeem({ node: 'web1', secret: made.secret, ...MACHINE }),
    withCode('not-authenticated'),
  );
});

test('a secret that is wrong, used, late, or of no node is refused in the same words', async (t) => {
  const { enrolments, clock, access } = await rig(t);
  const refusal = (node: string, secret: string): string => {
    try {
      enrolments.redeem({ node, secret, ...MACHINE });
    } catch (error) {
      assert.ok(error instanceof HoldfastError && error.code === 'not-authenticated', String(error));
      return error.message.replaceAll(node, 'NODE');
    }
    throw new Error('it was taken');
  };
  const late = enrolments.add(ROOT, { node: 'late1', user: USER, lifetimeMs: 60_000 });
  const used = enrolments.add(ROOT, { node: 'used1', user: USER });
  enrolments.redeem({ node: 'used1', secret: used.secret, ...MACHINE });
  clock.passSeconds(60);
  const words = new Set([refusal('late1', late.secret), refusal('used1', used.secret), refusal('none1', 'x')]);
  assert.equal(words.size, 1);
  const refused = await access.auditLog(ROOT, { limit: 10, action: 'enrolment-refused' });
  assert.deepEqual(new Set(refused.map(({ object }) => object)), new Set(['late1', 'used1', 'none1']));
});

test('guesses are slowed down, for the node and for the address', async (t) => {
  const { enrolments } = await rig(t);
  const made = enrolments.add(ROOT, { node: 'web1', user: USER });
  for (let guess = 0; guess < 4; guess++)
    assert.throws(
      () => enrolments.redeem({ node: 'web1', secret: `guess${guess}`, ...MACHINE }),
      withCode('not-authenticated'),
    );
  assert.throws(
    () => enrolments.redeem({ node: 'web1', secret: made.secret, ...MACHINE }),
    withCode('login-throttled'),
  );
});

test('whoever may not make tokens of a user makes no enrolment of it, and one who may no longer has made none', async (t) => {
  const { enrolments, access } = await rig(t);
  const clerk = parseUserId('clerk@local');
  await access.createUser(ROOT, { userid: clerk });
  const actor = { authId: clerk, address: ADDRESS };
  assert.throws(() => enrolments.add(actor, { node: 'web1', user: USER }), withCode('permission-denied'));
  const own = enrolments.add(actor, { node: 'own1' });
  assert.equal(own.tokenid, 'clerk@local!agent-own1');
  access.changeAcl(ROOT, { path: '/access/users', role: 'Admin', authId: clerk });
  const made = enrolments.add(actor, { node: 'web1', user: USER });
  access.changeAcl(ROOT, { path: '/access/users', role: 'Admin', authId: clerk, delete: true });
  assert.throws(
    () => enrolments.redeem({ node: 'web1', secret: made.secret, ...MACHINE }),
    withCode('not-authenticated'),
  );
  assert.deepEqual(access.listTokens(ROOT, USER).tokens, []);
});

test('a node that is enrolled anew keeps its token and the rights, and gets another secret and machine', async (t) => {
  const { enrolments, access, authenticator, nodes, clock } = await rig(t);
  const first = enrolments.add(ROOT, { node: 'web1', user: USER });
  const before = enrolments.redeem({ node: 'web1', secret: first.secret, ...MACHINE });
  access.changeAcl(ROOT, { path: '/datastore/tank', role: 'DatastoreBackup', authId: before.tokenid });
  assert.throws(() => enrolments.add(ROOT, { node: 'web1', user: USER }), withCode('exists'));
  assert.throws(() => enrolments.add(ROOT, { node: 'web2', renew: true }), withCode('not-found'));
  const again = enrolments.add(ROOT, { node: 'web1', renew: true });
  const after = enrolments.redeem({ node: 'web1', secret: again.secret, ...MACHINE, machineId: 'cd'.repeat(32) });
  assert.equal(after.tokenid, before.tokenid);
  assert.notEqual(after.value, before.value);
  await assert.rejects(authenticator.authenticate(authorization(before.tokenid, before.value), clock.nowMs));
  assert.equal(nodes.find('web1')?.machineId, 'cd'.repeat(32));
  assert.equal(access.listAcl(ROOT, { path: '/datastore/tank' }).entries.length, 1);
});

test('a node goes with its token, its rights and its enrolment; each change is in the audit log', async (t) => {
  const { enrolments, access, nodes } = await rig(t);
  const made = enrolments.add(ROOT, { node: 'web1', user: USER });
  const { tokenid } = enrolments.redeem({ node: 'web1', secret: made.secret, ...MACHINE });
  access.changeAcl(ROOT, { path: '/datastore/tank', role: 'DatastoreBackup', authId: tokenid });
  enrolments.add(ROOT, { node: 'web1', renew: true });
  enrolments.remove(ROOT, 'web1');
  assert.deepEqual([nodes.list(), nodes.enrolments()], [[], []]);
  assert.deepEqual([access.listTokens(ROOT, USER).tokens, access.listAcl(ROOT).entries], [[], []]);
  assert.throws(() => enrolments.remove(ROOT, 'web1'), withCode('not-found'));
  const actions = (await access.auditLog(ROOT, { limit: 50 })).filter(({ object }) => object === 'web1');
  assert.deepEqual(
    actions.map(({ action }) => action),
    ['node-remove', 'node-add', 'node-enrol', 'node-add'],
  );
});

test('names of the server itself, and what no token can be named after, are refused', async (t) => {
  const { enrolments } = await rig(t);
  for (const node of ['localhost', 'vault', 'vault.example'])
    assert.throws(() => enrolments.add(ROOT, { node, user: USER }), withCode('exists'));
  for (const node of ['', '-x', 'a b', '../x', 'x'.repeat(59), 'ä'])
    assert.throws(() => enrolments.add(ROOT, { node, user: USER }), withCode('bad-name'));
});
