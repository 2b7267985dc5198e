// /pools as clients of Proxmox VE use it, and what a pool is to guests that are made, cloned, restored and destroyed, and to their backups.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { RoleName } from '../../../src/auth/privileges.ts';
import { parseAuthId } from '../../../src/schema/auth-id.ts';
import { ROOT as ACTOR } from '../../auth/access-fixture.ts';
import { GuestRig } from './guest-rig.ts';

const ROOT = 'root@pam';
const VOLID = 'tank:backup/vm/100/2026-11-22T01:00:00Z';
type Parameters = Record<string, string | number>;
type Row = Record<string, unknown>;

async function open(t: TestContext): Promise<GuestRig> {
  const rig = await GuestRig.open(t);
  const own = await rig.storages.list();
  const tank = { storage: 'tank', type: 'pbs', content: ['backup'], isEnabled: true, isShared: true };
  rig.storages.list = async () => [...own, { ...tank, options: { path: '/tank' } }];
  rig.storages.volumesOf.push({ volid: VOLID, content: 'backup', format: 'pbs-vm', sizeBytes: 5, vmid: 100 });
  for (const vmid of [100, 101, 102]) rig.guests.add(vmid, { name: `vm${vmid}`, scsi0: 'disks:vm-100-disk-0,size=1G' });
  return rig;
}

async function refusal(rig: GuestRig, as: string, method: string, path: string, parameters: Parameters = {}) {
  const { status, reason, json } = await rig.call(as, method, path, parameters);
  return [status, json.errors === undefined ? reason : json.errors];
}

function membersOf(rig: GuestRig, poolid: string) {
  const { vms, storages } = rig.fixture.pools.require(poolid);
  return [...vms, ...storages];
}

test('a pool is made, gets members, is shown with them, and goes when it is empty', async (t) => {
  const rig = await open(t);
  assert.equal(await rig.data('POST', '/pools', { poolid: 'web', comment: 'the shop' }), null);
  assert.equal(await rig.data('POST', '/pools', { poolid: 'web/test' }), null);
  assert.equal(await rig.data('PUT', '/pools', { poolid: 'web', vms: '101,100', storage: 'disks' }), null);
  assert.equal(await rig.data('PUT', '/pools', { poolid: 'web/test', vms: 102, comment: 'try' }), null);
  assert.deepEqual(await rig.data('GET', '/pools'), [
    { poolid: 'web', comment: 'the shop' },
    { poolid: 'web/test', comment: 'try' },
  ]);
  const [web, ...more] = await rig.data<{ members: Row[] }[]>('GET', '/pools', { poolid: 'web' });
  const { members, ...rest } = web as { members: Row[] };
  assert.deepEqual([more, rest], [[], { poolid: 'web', comment: 'the shop' }]);
  assert.deepEqual(
    members.map(({ id, type, node, name, storage, status }) => ({ id, type, node, name, storage, status })),
    [
      { id: 'qemu/100', type: 'qemu', node: 'pve1', name: 'vm100', storage: undefined, status: 'stopped' },
      { id: 'qemu/101', type: 'qemu', node: 'pve1', name: 'vm101', storage: undefined, status: 'stopped' },
      {
        ...{ id: 'storage/pve1/disks', type: 'storage', node: 'pve1' },
        ...{ name: undefined, storage: 'disks', status: 'unknown' },
      },
    ],
  );
  assert.deepEqual(await rig.data('GET', '/pools/web'), { comment: 'the shop', members });
  for (const [type, count] of [
    ['qemu', 2],
    ['storage', 1],
    ['lxc', 0],
  ] as const) {
    const [row] = await rig.data<{ members: Row[] }[]>('GET', '/pools', { poolid: 'web', type });
    assert.equal(row?.members.length, count, type);
  }
  const nested = await rig.data<{ members: Row[] }>('GET', '/pools/web%2Ftest');
  assert.deepEqual(
    nested.members.map(({ id, pool }) => [id, pool]),
    [['qemu/102', 'web/test']],
  );
  const resources = await rig.data<Row[]>('GET', '/cluster/resources');
  assert.deepEqual(
    resources.filter(({ type }) => type === 'pool'),
    [
      { id: '/pool/web', type: 'pool', pool: 'web' },
      { id: '/pool/web/test', type: 'pool', pool: 'web/test' },
    ],
  );
  assert.deepEqual(
    resources.filter(({ type }) => type === 'qemu').map(({ vmid, pool }) => [vmid, pool]),
    [
      [100, 'web'],
      [101, 'web'],
      [102, 'web/test'],
    ],
  );
  assert.equal(await rig.data('PUT', '/pools/web', { vms: '100', storage: 'disks', delete: 1 }), null);
  assert.deepEqual(membersOf(rig, 'web'), [101]);
  assert.equal(await rig.data('PUT', '/pools/web', { vms: '102', 'allow-move': 1 }), null);
  assert.equal(await rig.data('DELETE', '/pools', { poolid: 'web/test' }), null);
  // What is gone keeps no pool, and is not shown.
  rig.guests.all.delete(101);
  rig.guests.all.delete(102);
  assert.deepEqual((await rig.data<{ members: Row[] }>('GET', '/pools/web')).members, []);
  assert.equal(await rig.data('DELETE', '/pools/web'), null);
  assert.deepEqual(await rig.data('GET', '/pools'), []);
  assert.deepEqual(rig.bugs, []);
});

test('refusals have the words that clients of Proxmox VE look for', async (t) => {
  const rig = await open(t);
  for (const poolid of ['web', 'lab']) await rig.data('POST', '/pools', { poolid });
  await rig.data('PUT', '/pools', { poolid: 'web', vms: '100', storage: 'disks' });
  const cases: readonly (readonly [string, string, Parameters, unknown])[] = [
    ['GET', '/pools', { poolid: 'none' }, [500, "pool 'none' does not exist"]],
    ['GET', '/pools/none', {}, [500, "pool 'none' does not exist"]],
    ['PUT', '/pools', { poolid: 'none', comment: 'x' }, [500, "pool 'none' does not exist"]],
    ['DELETE', '/pools', { poolid: 'none' }, [500, "pool 'none' does not exist"]],
    ['POST', '/pools', { poolid: 'web' }, [500, "pool 'web' already exists"]],
    ['POST', '/pools', { poolid: 'x/y' }, [500, "parent 'x' of pool 'x/y' does not exist"]],
    ['POST', '/pools', { poolid: '../x' }, [400, { poolid: 'value does not match the regex pattern' }]],
    ['POST', '/pools', { poolid: 'a/b/c/d' }, [400, { poolid: 'value does not match the regex pattern' }]],
    ['GET', '/pools', { type: 'qemu' }, [400, { type: "goes with 'poolid'" }]],
    ['PUT', '/pools/web', { vms: '101,100' }, [500, 'VM 100 is already a pool member']],
    ['PUT', '/pools/lab', { vms: '100' }, [500, "VM 100 belongs already to pool 'web' and allow-move is not set"]],
    ['PUT', '/pools/lab', { vms: '100', delete: 1 }, [500, 'VM 100 is not a pool member']],
    ['PUT', '/pools/web', { storage: 'disks' }, [500, "Storage 'disks' is already a pool member"]],
    ['PUT', '/pools/web', { storage: 'tank', delete: 1 }, [500, "Storage 'tank' is not a pool member"]],
    ['PUT', '/pools/web', { vms: '999' }, [400, { vms: 'VM 999 does not exist' }]],
    ['PUT', '/pools/web', { storage: 'nowhere' }, [400, { storage: "storage 'nowhere' does not exist" }]],
    ['PUT', '/pools/web', { storage: '../x' }, [400, { storage: "'../x' is no name of a storage" }]],
    ['DELETE', '/pools/web', {}, [500, "pool 'web' is not empty (contains VM 100): take that out first"]],
  ];
  for (const [method, path, parameters, expected] of cases)
    assert.deepEqual(await refusal(rig, ROOT, method, path, parameters), expected, `${method} ${path}`);
  assert.deepEqual([membersOf(rig, 'web'), membersOf(rig, 'lab')], [[100, 'disks'], []]);
  assert.deepEqual(rig.bugs, []);
});

test('lists show the pools that the caller may look at; changes take rights on the pool and on each member', async (t) => {
  const rig = await open(t);
  for (const poolid of ['web', 'lab']) await rig.data('POST', '/pools', { poolid });
  await rig.data('PUT', '/pools', { poolid: 'lab', vms: '102' });
  const roles = { '/pool/web': 'PVEPoolAdmin', '/vms/100': 'PVEVMUser', '/vms/102': 'PVEVMAdmin' } as const;
  await rig.grant('user@pve', roles);
  await rig.grant('seer@pve', { '/pool/lab': 'PVEPoolUser' });
  const seen = async (as: string) =>
    ((await rig.call(as, 'GET', '/pools')).json.data as Row[]).map(({ poolid }) => poolid);
  assert.deepEqual([await seen('user@pve'), await seen('seer@pve')], [['web'], ['lab']]);
  const resources = (await rig.call('seer@pve', 'GET', '/cluster/resources')).json.data as Row[];
  assert.deepEqual(
    resources.map(({ id }) => id),
    ['node/pve1', '/pool/lab'],
  );
  const cases: readonly (readonly [string, string, string, Parameters, string])[] = [
    ['user@pve', 'GET', '/pools/lab', {}, '/pool/lab, Pool.Audit'],
    ['user@pve', 'GET', '/pools', { poolid: 'lab' }, '/pool/lab, Pool.Audit'],
    ['user@pve', 'GET', '/pools', { poolid: 'none' }, '/pool/none, Pool.Audit'],
    ['user@pve', 'POST', '/pools', { poolid: 'mine' }, '/pool/mine, Pool.Allocate'],
    ['seer@pve', 'PUT', '/pools', { poolid: 'lab', comment: 'x' }, '/pool/lab, Pool.Allocate'],
    ['seer@pve', 'PUT', '/pools/lab', { comment: 'x' }, '/pool/lab, Pool.Allocate'],
    ['seer@pve', 'DELETE', '/pools/lab', {}, '/pool/lab, Pool.Allocate'],
    ['seer@pve', 'DELETE', '/pools', { poolid: 'lab' }, '/pool/lab, Pool.Allocate'],
    ['user@pve', 'PUT', '/pools/web', { vms: 100 }, '/vms/100, Permissions.Modify|VM.Allocate'],
    ['user@pve', 'PUT', '/pools/web', { vms: 999 }, '/vms/999, Permissions.Modify|VM.Allocate'],
    ['user@pve', 'PUT', '/pools/web', { storage: 'x1' }, '/storage/x1, Permissions.Modify|Datastore.Allocate'],
    ['user@pve', 'PUT', '/pools/web', { vms: 102, 'allow-move': 1 }, '/pool/lab, Pool.Allocate'],
  ];
  for (const [as, method, path, parameters, missing] of cases) {
    const expected = [403, `Permission check failed (${missing})`];
    assert.deepEqual(await refusal(rig, as, method, path, parameters), expected, `${method} ${path}`);
  }
  assert.deepEqual([membersOf(rig, 'web'), membersOf(rig, 'lab')], [[], [102]]);
});

test('a role on a pool lets its guests be seen and used, until they leave it', async (t) => {
  const rig = await open(t);
  await rig.data('POST', '/pools', { poolid: 'web' });
  await rig.data('PUT', '/pools', { poolid: 'web', vms: '100,101', storage: 'disks' });
  await rig.grant('user@pve', { '/pool/web': 'PVEVMUser', '/vms/101': 'NoAccess' });
  await rig.grant('user@pve!ci', { '/pool/web': 'PVEAuditor' });
  const seen = async (as: string) =>
    ((await rig.call(as, 'GET', '/nodes/pve1/qemu')).json.data as Row[]).map(({ vmid }) => vmid);
  assert.deepEqual([await seen('user@pve'), await seen('user@pve!ci')], [[100], [100]]);
  const start = '/nodes/pve1/qemu/100/status/start';
  assert.equal((await rig.call('user@pve', 'POST', start)).status, 200);
  assert.equal((await rig.call('user@pve!ci', 'POST', start)).status, 403);
  assert.equal((await rig.call('user@pve', 'POST', '/nodes/pve1/qemu/101/status/start')).status, 403);
  const rights = (await rig.call('user@pve', 'GET', '/access/permissions')).json.data as Record<string, Row>;
  assert.equal(rights['/vms/100']?.['VM.PowerMgmt'], 0);
  assert.equal(rights['/pool/web']?.['VM.PowerMgmt'], 1);
  await rig.data('PUT', '/pools', { poolid: 'web', vms: '100', delete: 1 });
  assert.deepEqual(await seen('user@pve'), []);
  assert.equal((await rig.call('user@pve', 'POST', start)).status, 403);
});

test('who may make guests in a pool makes one there, which is a member when it was made', async (t) => {
  const rig = await open(t);
  for (const poolid of ['web', 'lab']) await rig.data('POST', '/pools', { poolid });
  const roles: Record<string, RoleName> = { '/pool/web': 'PVEVMAdmin', '/storage/disks': 'PVEDatastoreUser' };
  await rig.grant('user@pve', roles);
  const make = async (parameters: Parameters) => await rig.call('user@pve', 'POST', '/nodes/pve1/qemu', parameters);
  const made = async (parameters: Parameters) => await rig.ended((await make(parameters)).json.data as string);
  assert.equal((await make({ vmid: 200 })).reason, 'Permission check failed (/vms/200, VM.Allocate)');
  assert.equal((await make({ vmid: 200, pool: 'lab' })).reason, 'Permission check failed (/vms/200, VM.Allocate)');
  assert.equal((await make({ vmid: 200, pool: 'none' })).status, 403);
  assert.deepEqual(rig.guests.asked, []);
  assert.equal(await made({ vmid: 200, pool: 'web', cores: 2, scsi0: 'disks:1', start: 1 }), 'OK');
  assert.deepEqual(membersOf(rig, 'web'), [200]);
  assert.equal((await rig.call('user@pve', 'PUT', '/nodes/pve1/qemu/200/config', { cores: 1 })).status, 200);
  assert.equal(
    (await make({ vmid: 201, pool: 'web', scsi0: 'local:1' })).reason,
    'Permission check failed (/storage/local, Datastore.AllocateSpace)',
  );
  // Room is not the pool's to give.
  rig.fixture.access.changeAcl(ACTOR, { path: '/pool/web', role: 'PVEDatastoreUser', authId: parseAuthId('user@pve') });
  assert.equal((await make({ vmid: 201, pool: 'web', scsi0: 'local:1' })).status, 403);
  assert.equal((await make({ vmid: 201, pool: 'web', args: '-S' })).status, 403);
  const left = { vmid: 201, scsi0: 'disks:vm-201-disk-0,size=1G' };
  assert.equal(
    (await make({ ...left, pool: 'web' })).reason,
    'Permission check failed (/storage/disks, Datastore.Allocate)',
    'what another guest of that number left',
  );
  await rig.grant('config@pve', { '/vms/201': 'PVEVMAdmin' });
  const create = async (as: string, parameters: Parameters) =>
    await rig.call(as, 'POST', '/nodes/pve1/qemu', { vmid: 201, ...parameters });
  assert.deepEqual((await create('config@pve', { pool: 'none' })).json.errors, { pool: "pool 'none' does not exist" });
  // One that is not made is no member.
  const { create: creating } = rig.guests;
  rig.guests.create = async () => {
    throw new Error('no room');
  };
  assert.notEqual(await made({ vmid: 201, pool: 'web' }), 'OK');
  rig.guests.create = creating;
  assert.deepEqual(membersOf(rig, 'web'), [200]);
  // A pool that goes meanwhile is said, and the guest is there.
  let letGo = (): void => undefined;
  rig.guests.gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const upid = (await create('config@pve', { pool: 'lab' })).json.data as string;
  rig.fixture.pools.delete(ACTOR, 'lab');
  letGo();
  assert.equal(await rig.ended(upid), 'WARNINGS: 1');
  assert.ok(rig.guests.all.has(201));
});

test('a clone may be made for a pool, and a destroyed guest leaves its own', async (t) => {
  const rig = await open(t);
  await rig.data('POST', '/pools', { poolid: 'web' });
  await rig.data('POST', '/pools', { poolid: 'lab' });
  await rig.data('PUT', '/pools', { poolid: 'lab', vms: '102' });
  const roles = { '/pool/web': 'PVEVMAdmin', '/vms/100': 'PVETemplateUser', '/storage/disks': 'PVEDatastoreUser' };
  await rig.grant('user@pve', roles as Record<string, RoleName>);
  const clone = async (parameters: Parameters, as = 'user@pve') =>
    await rig.call(as, 'POST', '/nodes/pve1/qemu/100/clone', { full: 1, ...parameters });
  assert.equal((await clone({ newid: 300 })).reason, 'Permission check failed (/vms/300, VM.Allocate)');
  assert.equal((await clone({ newid: 300, pool: 'lab' })).reason, 'Permission check failed (/vms/300, VM.Allocate)');
  assert.deepEqual((await clone({ newid: 300, pool: 'none' }, ROOT)).json.errors, {
    pool: "pool 'none' does not exist",
  });
  assert.equal(await rig.ended((await clone({ newid: 300, pool: 'web' })).json.data as string), 'OK');
  assert.deepEqual(membersOf(rig, 'web'), [300]);
  await rig.grant('next@pve', { '/vms/300': 'PVEVMUser' } as Record<string, RoleName>);
  const destroyed = await rig.call('user@pve', 'DELETE', '/nodes/pve1/qemu/300');
  assert.equal(await rig.ended(destroyed.json.data as string), 'OK');
  assert.deepEqual(membersOf(rig, 'web'), []);
  const rights = await rig.data<{ path: string }[]>('GET', '/access/acl');
  assert.ok(!rights.some(({ path }) => path === '/vms/300'), 'nor is there a right to the next guest of its number');
  // One that somebody destroyed elsewhere leaves nothing to another guest of its number.
  rig.guests.all.delete(102);
  assert.equal(await rig.ended((await clone({ newid: 102 }, ROOT)).json.data as string), 'OK');
  assert.deepEqual(membersOf(rig, 'lab'), []);
});

test('a restore may make a guest for a pool; a right on a pool replaces no guest of others and moves none', async (t) => {
  const rig = await open(t);
  for (const poolid of ['web', 'lab']) await rig.data('POST', '/pools', { poolid });
  await rig.data('PUT', '/pools', { poolid: 'lab', vms: '102' });
  const roles = {
    '/pool/web': 'PVEVMAdmin',
    '/storage/disks': 'PVEDatastoreUser',
    '/storage/tank': 'PVEDatastoreUser',
  };
  await rig.grant('user@pve', {
    ...(roles as Record<string, RoleName>),
    '/vms/102': 'PVEVMAdmin',
    '/vms/100': 'PVEVMUser',
  });
  const restore = async (parameters: Parameters) =>
    await rig.call('user@pve', 'POST', '/nodes/pve1/qemu', { archive: VOLID, pool: 'web', ...parameters });
  assert.equal(await rig.ended((await restore({ vmid: 400, force: 1 })).json.data as string), 'OK');
  assert.deepEqual(membersOf(rig, 'web'), [400]);
  assert.deepEqual(
    rig.backups.restored.map(({ vmid, force }) => [vmid, force]),
    [[400, false]],
    'what comes meanwhile is not replaced',
  );
  const taken = 'Permission check failed (/vms/101, VM.Allocate)';
  assert.equal((await restore({ vmid: 101, force: 1 })).reason, taken);
  assert.deepEqual((await restore({ vmid: 102, force: 1 })).json.errors, {
    pool: "VM 102 belongs already to pool 'lab'",
  });
  assert.match((await restore({ vmid: 101 })).reason, /already exists/);
  rig.fixture.access.changeAcl(ACTOR, { path: '/vms/101', role: 'PVEVMAdmin', authId: parseAuthId('user@pve') });
  assert.equal(await rig.ended((await restore({ vmid: 101, force: 1 })).json.data as string), 'OK');
  assert.deepEqual(membersOf(rig, 'web'), [101, 400]);
  const kept = { vmid: 102, archive: VOLID, force: 1 };
  assert.equal(await rig.ended(await rig.data<string>('POST', '/nodes/pve1/qemu', kept)), 'OK');
  assert.deepEqual(membersOf(rig, 'lab'), [102], 'one that is replaced stays where it is');
});

test('a backup of a pool is one of its guests that are there; it takes VM.Backup on each', async (t) => {
  const rig = await open(t);
  await rig.data('POST', '/pools', { poolid: 'web' });
  await rig.data('PUT', '/pools', { poolid: 'web', vms: '100,102' });
  rig.fixture.pools.change(ACTOR, 'web', { vms: [555] });
  await rig.grant('user@pve', { '/pool/web': 'PVEVMUser', '/storage/tank': 'PVEDatastoreUser' });
  const dump = async (parameters: Parameters, as = 'user@pve') =>
    await rig.call(as, 'POST', '/nodes/pve1/vzdump', { storage: 'tank', ...parameters });
  assert.equal((await dump({ pool: 'web' })).reason, 'Permission check failed (/pool/web, Pool.Audit)');
  rig.fixture.access.changeAcl(ACTOR, { path: '/pool/web', role: 'PVEPoolUser', authId: parseAuthId('user@pve') });
  const done = async (parameters: Parameters): Promise<unknown[]> => {
    rig.backups.made.length = 0;
    const answer = await dump(parameters);
    assert.equal(answer.status, 200, answer.reason);
    assert.equal(await rig.ended(answer.json.data as string), 'OK');
    return rig.backups.made.map(({ vmid }) => vmid);
  };
  assert.deepEqual(await done({ pool: 'web' }), [100, 102]);
  assert.deepEqual(await done({ pool: 'web', exclude: '100' }), [102]);
  assert.equal((await dump({ pool: 'web', exclude: '100,102' })).json.data, 'OK');
  rig.fixture.access.changeAcl(ACTOR, { path: '/vms/102', role: 'NoAccess', authId: parseAuthId('user@pve') });
  assert.equal((await dump({ pool: 'web' })).reason, 'Permission check failed (/vms/102, VM.Backup)');
  for (const [parameters, key] of [
    [{ pool: 'web', vmid: 100 }, 'pool'],
    [{ pool: 'web', all: 1 }, 'all'],
    [{ pool: 'none' }, 'pool'],
    [{ pool: '../x' }, 'pool'],
  ] as const)
    assert.deepEqual(Object.keys((await dump(parameters, ROOT)).json.errors ?? {}), [key], JSON.stringify(parameters));
});

test('a job of a pool reads back, covers the guests that are in it, and keeps the pool', async (t) => {
  const rig = await open(t);
  const path = '/cluster/backup';
  for (const poolid of ['web', 'lab']) await rig.data('POST', '/pools', { poolid });
  await rig.data('PUT', '/pools', { poolid: 'web', vms: '100,101' });
  const job = { id: 'night', storage: 'tank', schedule: 'daily' };
  await rig.data('POST', path, { ...job, pool: 'web', exclude: '101' });
  const options = () => rig.jobs.get({ kind: 'vzdump', id: 'night' }).options;
  const base = { node: 'localhost', store: 'tank' };
  assert.deepEqual(options(), { ...base, pool: 'web', exclude: [101] });
  const row = async () => {
    const { vmid, all, pool, exclude } = await rig.data<Row>('GET', `${path}/night`);
    return { vmid, all, pool, exclude };
  };
  assert.deepEqual(await row(), { vmid: undefined, all: undefined, pool: 'web', exclude: '101' });
  const left = async () => (await rig.data<Row[]>('GET', '/cluster/backup-info/not-backed-up')).map(({ vmid }) => vmid);
  assert.deepEqual(await left(), [101, 102]);
  const included = async () =>
    (await rig.data<{ children: Row[] }>('GET', `${path}/night/included_volumes`)).children.map(({ id }) => id);
  assert.deepEqual(await included(), [100]);
  await rig.data('PUT', '/pools', { poolid: 'web', vms: '102' });
  assert.deepEqual([await left(), await included()], [[101], [100, 102]], 'whoever comes is in it');
  await rig.data('PUT', `${path}/night`, { vmid: '100' });
  assert.deepEqual(options(), { ...base, vmid: [100] });
  await rig.data('PUT', `${path}/night`, { pool: 'lab' });
  assert.deepEqual(options(), { ...base, pool: 'lab' });
  await rig.data('PUT', `${path}/night`, { all: 1, exclude: '100' });
  assert.deepEqual(options(), { ...base, all: true, exclude: [100] });
  await rig.data('PUT', `${path}/night`, { pool: 'web', comment: 'ours' });
  assert.deepEqual(options(), { ...base, pool: 'web', exclude: [100] });
  for (const [parameters, key] of [
    [{ pool: 'web', vmid: '100' }, 'pool'],
    [{ pool: 'web', all: 1 }, 'all'],
    [{ pool: 'none' }, 'pool'],
    [{ pool: 'a b' }, 'pool'],
  ] as const)
    for (const [method, at] of [
      ['POST', path],
      ['PUT', `${path}/night`],
    ] as const)
      assert.deepEqual(
        await refusal(rig, ROOT, method, at, { ...parameters, ...(method === 'POST' && { ...job, id: 'other' }) }).then(
          ([status, errors]) => [status, Object.keys(errors as object)],
        ),
        [400, [key]],
        `${method} ${JSON.stringify(parameters)}`,
      );
  await rig.grant('keeper@pve', { '/': 'Admin', '/pool/web': 'NoAccess' });
  const denied = 'Permission check failed (/pool/web, Pool.Audit)';
  assert.equal((await rig.call('keeper@pve', 'POST', path, { ...job, id: 'own', pool: 'web' })).reason, denied);
  assert.equal((await rig.call('keeper@pve', 'PUT', `${path}/night`, { comment: 'x' })).status, 200, 'what stays');
  assert.deepEqual(rig.bugs, []);
});

const HOSTILE = ['', ' ', '-1', '1e999', '0100', '__proto__', 'constructor', '..', 'a/../b', "'; DROP TABLE pools; --"];
HOSTILE.push('a\nb', ',', ',,,', '100,,101', '100;101 102', 'é', '%2e%2e', '\0', 'x'.repeat(5000), '9'.repeat(400));

test('whatever stands in a field, a pool is changed as it reads afterwards, or refused in words', async (t) => {
  const rig = await open(t);
  await rig.data('POST', '/pools', { poolid: 'web' });
  await rig.grant('user@pve', { '/pool/web': 'PVEPoolAdmin' });
  const authId = parseAuthId('user@pve');
  const seen = new Map<number, number>();
  const methods = ['GET', 'POST', 'PUT', 'DELETE'] as const;
  for (const as of [ROOT, 'user@pve'])
    for (const name of ['poolid', 'comment', 'vms', 'storage', 'delete', 'allow-move', 'type', 'nonsense'])
      for (const value of HOSTILE)
        for (const method of methods) {
          const { status, json } = await rig.call(as, method, '/pools', { poolid: 'web', [name]: value });
          const place = `${as} ${method} ${name}=${JSON.stringify(value.slice(0, 40))}: ${status} ${JSON.stringify(json)}`;
          assert.deepEqual(rig.bugs, [], place);
          seen.set(status, (seen.get(status) ?? 0) + 1);
          if (status !== 200) assert.ok((json.message ?? '').length > 3, place);
          if (as !== ROOT) assert.deepEqual(membersOf(rig, 'web'), [], place);
          const found = rig.fixture.pools.list(ACTOR);
          const members = found.flatMap(({ vms, storages }) => [...vms, ...storages]);
          assert.ok(
            members.every((each) => [100, 101, 102, 'local', 'disks', 'tank'].includes(each)),
            place,
          );
          assert.ok(
            found.every(({ poolid }) => /^[A-Za-z0-9._/-]+$/.test(poolid)),
            place,
          );
          if (found.length === 1 && found[0]?.poolid === 'web' && members.length === 0) continue;
          for (const { poolid } of found) rig.fixture.pools.delete(ACTOR, poolid, () => false);
          rig.fixture.pools.create(ACTOR, 'web');
          rig.fixture.access.changeAcl(ACTOR, { path: '/pool/web', role: 'PVEPoolAdmin', authId });
        }
  assert.ok((seen.get(400) ?? 0) > 200 && (seen.get(200) ?? 0) > 20, JSON.stringify([...seen]));
});
