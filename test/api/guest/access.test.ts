// Users, tokens and rights over the guest dialect: the same ones as those of the backup dialect, in the shapes of Proxmox VE.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestRig } from './guest-rig.ts';

const ROOT = 'root@pam';

test('a user is made, changed, shown in both shapes and removed', async (t) => {
  const rig = await GuestRig.open(t);
  const made = { userid: 'anna@pve', password: 'long-password', comment: 'x', email: 'a@b.example', expire: 0 };
  assert.equal(await rig.data('POST', '/access/users', made), null);
  const twice = await rig.call(ROOT, 'POST', '/access/users', made);
  assert.deepEqual([twice.status, twice.reason], [500, "user 'anna@pve' already exists."]);
  assert.equal(await rig.data('PUT', '/access/users/anna@pve', { firstname: 'Anna', enable: 1 }), null);
  const anna = { enable: 1, expire: 0, comment: 'x', email: 'a@b.example', firstname: 'Anna' };
  assert.deepEqual(await rig.data('GET', '/access/users/anna@pve'), { ...anna, groups: [], tokens: {} });
  const list = await rig.data<{ userid: string; tokens: object[]; groups: string }[]>('GET', '/access/users', {
    full: 1,
  });
  assert.deepEqual(list[0], { ...anna, userid: 'anna@pve', 'realm-type': 'pve', groups: '', tokens: [] });
  const noGroup = await rig.call(ROOT, 'PUT', '/access/users/anna@pve', { groups: 'admins' });
  assert.equal(noGroup.reason, "group 'admins' does not exist");
  assert.equal(await rig.data('DELETE', '/access/users/anna@pve'), null);
  const gone = await rig.call(ROOT, 'GET', '/access/users/anna@pve');
  assert.deepEqual([gone.status, gone.reason], [500, "no such user 'anna@pve'"]);
});

test('a token without privilege separation has all rights of its user, and one with it none', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('anna@pve', { '/vms/100': 'PVEVMUser' });
  rig.guests.add(100);
  const path = '/access/users/anna@pve/token';
  const make = async (name: string, parameters: Record<string, number>) =>
    await rig.data<{ value: string; 'full-tokenid': string; info: object }>('POST', `${path}/${name}`, parameters);
  const full = await make('full', { privsep: 0 });
  const apart = await make('apart', {});
  assert.equal(full['full-tokenid'], 'anna@pve!full');
  assert.deepEqual(
    [full.info, apart.info],
    [
      { expire: 0, privsep: 0 },
      { expire: 0, privsep: 1 },
    ],
  );
  const sees = async (name: string, value: string): Promise<number> => {
    const headers = { authorization: `PVEAPIToken=anna@pve!${name}=${value}` };
    return (await rig.app.inject({ method: 'GET', url: '/api2/json/nodes/pve1/qemu/100/config', headers })).statusCode;
  };
  assert.deepEqual([await sees('full', full.value), await sees('apart', apart.value)], [200, 403]);
  await rig.data('PUT', `${path}/full`, { privsep: 1, comment: 'less' });
  await rig.data('PUT', '/access/acl', { path: '/vms', roles: 'PVEAuditor', tokens: 'anna@pve!apart' });
  assert.deepEqual([await sees('full', full.value), await sees('apart', apart.value)], [403, 200]);
  const acl = await rig.data<object[]>('GET', '/access/acl');
  assert.deepEqual(acl, [
    { path: '/vms', roleid: 'PVEAuditor', type: 'token', ugid: 'anna@pve!apart', propagate: 1 },
    { path: '/vms/100', roleid: 'PVEVMUser', type: 'user', ugid: 'anna@pve', propagate: 1 },
  ]);
  const rows = await rig.data<{ tokenid: string }[]>('GET', path);
  assert.deepEqual(rows, [
    { tokenid: 'apart', expire: 0, privsep: 1 },
    { tokenid: 'full', expire: 0, privsep: 1, comment: 'less' },
  ]);
  assert.equal(await rig.data('DELETE', `${path}/full`), null);
  assert.equal(await sees('full', full.value), 401);
});

test('whoever may manage users makes tokens of others, but none with all rights', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('manager@pve', { '/access': 'Administrator' });
  await rig.grant('anna@pve', { '/': 'PVEAdmin' });
  const path = '/access/users/anna@pve/token/made';
  const refused = await rig.call('manager@pve', 'POST', path, { privsep: 0 });
  assert.deepEqual([refused.status, refused.reason], [403, 'Permission check failed (/, Permissions.Modify)']);
  assert.deepEqual(await rig.data('GET', '/access/users/anna@pve/token'), []);
  assert.equal((await rig.call('manager@pve', 'POST', path)).status, 200);
  assert.equal((await rig.call('anna@pve', 'PUT', path, { privsep: 0 })).status, 200);
  assert.equal((await rig.call('manager@pve', 'PUT', path, { comment: 'x', privsep: 0 })).status, 200);
  assert.equal((await rig.call('manager@pve', 'PUT', path, { privsep: 1 })).status, 403);
});

test('roles and permissions are numbers and texts as clients read them', async (t) => {
  const rig = await GuestRig.open(t);
  const roles = await rig.data<{ roleid: string; privs: string; special: number }[]>('GET', '/access/roles');
  const user = roles.find(({ roleid }) => roleid === 'PVETemplateUser');
  assert.deepEqual(user, { roleid: 'PVETemplateUser', privs: 'VM.Audit,VM.Clone', special: 1 });
  assert.deepEqual(await rig.data('GET', '/access/roles/PVETemplateUser'), { 'VM.Audit': 1, 'VM.Clone': 1 });
  const unknown = await rig.call(ROOT, 'GET', '/access/roles/Nothing');
  assert.equal(unknown.reason, "role 'Nothing' does not exist");
  await rig.grant('anna@pve', { '/vms/100': 'PVETemplateUser' });
  const own = await rig.call('anna@pve', 'GET', '/access/permissions');
  assert.deepEqual(own.json.data, { '/vms/100': { 'VM.Audit': 1, 'VM.Clone': 1 } });
  const badPath = await rig.call(ROOT, 'PUT', '/access/acl', {
    path: '/nowhere',
    roles: 'PVEAdmin',
    users: 'anna@pve',
  });
  assert.equal(badPath.status, 400);
  const badRole = await rig.call(ROOT, 'PUT', '/access/acl', { path: '/vms', roles: 'Nobody', users: 'anna@pve' });
  assert.equal(badRole.status, 400);
  const domains = await rig.data<{ realm: string; type: string }[]>('GET', '/access/domains');
  assert.deepEqual(
    domains.slice(0, 2).map(({ realm, type }) => [realm, type]),
    [
      ['pam', 'pam'],
      ['pve', 'pve'],
    ],
  );
});
