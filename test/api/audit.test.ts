// The audit log as administrators read it: what a row looks like, which entries are asked for, and who may.
import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import type { AuditEntry } from '../../src/auth/audit-log.ts';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const ENTRY: AuditEntry = {
  id: 7,
  timeMs: 1_763_640_000_999,
  action: 'acl-set',
  by: ROOT,
  address: '192.0.2.7',
  object: '/datastore/store1',
  detail: { role: 'Audit', authId: 'anna@pbs', propagate: true, notWrittenBefore: 3 },
};

const rig = new ApiRig();
after(() => rig.close());
beforeEach(() => {
  rig.access.auditEntries = [];
  rig.access.auditAsked.length = 0;
});

const ask = async (parameters: object = {}, who = ROOT) =>
  await rig.call(who, 'GET', '/access/audit', { ...parameters });

test('a row has Unix seconds and names with dashes; what an entry says nothing of is empty', async () => {
  const { detail: _, ...login } = { ...ENTRY, id: 6, action: 'login', address: '' } as const;
  rig.access.auditEntries = [ENTRY, login];
  const { status, json } = await ask();
  assert.equal(status, 200);
  const common = { time: 1_763_640_000, by: ROOT, object: '/datastore/store1' };
  const detail = { role: 'Audit', 'auth-id': 'anna@pbs', propagate: true, 'not-written-before': 3 };
  assert.deepEqual(json.data, [
    { ...common, id: 7, action: 'acl-set', address: '192.0.2.7', detail },
    { ...common, id: 6, action: 'login', address: '', detail: {} },
  ]);
});

test('50 entries are asked for, or as many, as old, of whom and of which kind the caller says', async () => {
  const wish = { limit: 1000, before: 7, action: 'login-failed', by: 'anna@pbs!ci' };
  for (const parameters of [{}, wish, { by: '(no user id)' }]) assert.equal((await ask(parameters)).status, 200);
  assert.deepEqual(rig.access.auditAsked, [{ limit: 50 }, wish, { limit: 50, by: '(no user id)' }]);
});

test('what is out of bounds is refused, and nothing is read', async () => {
  for (const [name, values] of Object.entries({
    limit: [0, -1, 1001, 1.5, 'all'],
    before: [0, -1, 'x', 2 ** 60],
    action: ['', 'reboot', 'login%'],
    by: ['x'.repeat(130)],
  }))
    for (const value of values) {
      const { status, text } = await ask({ [name]: value });
      assert.equal(status, 400, `${name} ${value}`);
      assert.match(text, new RegExp(`'${name}'`));
    }
  assert.deepEqual(rig.access.auditAsked, []);
});

test('Sys.Audit on /access lets in, for a token too; on another path, or another right, does not', async () => {
  const roles = { '/access': 'Audit', '/access/users': 'Audit', '/datastore': 'Admin', '/system': 'Admin' } as const;
  for (const [path, role] of Object.entries(roles))
    rig.access.grant(`at${path.replaceAll('/', '-')}@pbs`, { [path]: role });
  rig.access.grant('at-access@pbs!look', { '/access': 'Audit' });
  rig.access.grant('at-access@pbs!blind', {});
  const answered: Record<string, number> = {};
  for (const who of [...rig.access.users.keys(), ...rig.access.tokens.keys()])
    answered[who] = (await ask({}, who)).status;
  assert.deepEqual(answered, {
    [ROOT]: 200,
    'at-access@pbs': 200,
    'at-access-users@pbs': 403,
    'at-datastore@pbs': 403,
    'at-system@pbs': 403,
    'at-access@pbs!look': 200,
    'at-access@pbs!blind': 403,
  });
});
