// Who may do what in the guest dialect, decided here by hand: every method asked by everybody, keys of a configuration, and lists that leave out
// what the caller may not see.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsOf } from '../../../src/api/guest/config-rights.ts';
import { GUEST_METHODS } from '../../../src/api/guest/routes/methods.ts';
import type { RoleName } from '../../../src/auth/privileges.ts';
import { parseAuthId } from '../../../src/schema/auth-id.ts';
import { ROOT as ADMIN } from '../../auth/access-fixture.ts';
import { GuestRig } from './guest-rig.ts';

const CALLERS = [
  'nobody',
  'stranger@pve',
  'user@pve',
  'user@pve!look',
  'auditor@pve',
  'admin@pve',
  'root@pam',
] as const;
type Caller = (typeof CALLERS)[number];
const ALL: readonly Caller[] = CALLERS;
const SIGNED_IN: readonly Caller[] = CALLERS.slice(1);
const SEES_100: readonly Caller[] = ['user@pve', 'user@pve!look', 'auditor@pve', 'admin@pve', 'root@pam'];
const USES_100: readonly Caller[] = ['user@pve', 'admin@pve', 'root@pam'];
const ASKS_AGENT: readonly Caller[] = ['user@pve', 'auditor@pve', 'admin@pve', 'root@pam'];
const AUDITORS: readonly Caller[] = ['auditor@pve', 'admin@pve', 'root@pam'];
const ADMINS: readonly Caller[] = ['admin@pve', 'root@pam'];

/** [what a method and its path match, who is let in]; the first that matches counts. */
const RULES: readonly (readonly [RegExp, readonly Caller[]])[] = [
  [/^(GET|POST) \/access\/ticket$|^GET \/access\/domains$/, ALL],
  [/^(GET) \/nodes\/\{node\}\/(status|time)$/, AUDITORS],
  [/^GET \/cluster\/(status|backup(\/.*)?|backup-info\/.*|config\/.*|ha\/.*)$/, AUDITORS],
  [/^(POST|PUT|DELETE) \/cluster\/backup/, ['root@pam']],
  [/\/qemu\/\{vmid\}\/agent\/(exec|exec-status)$/, ADMINS],
  [/\/qemu\/\{vmid\}\/agent\/fs(trim|freeze.*)$/, USES_100],
  [/\/qemu\/\{vmid\}\/agent\//, ASKS_AGENT],
  [/\/qemu\/\{vmid\}\/(termproxy|vncwebsocket)$/, USES_100],
  [/^GET .*\/qemu\/\{vmid\}\//, SEES_100],
  [/^POST .*\/qemu\/\{vmid\}\/status\//, USES_100],
  // A user of the machine may change its CD and its cloud-init, so it gets past the path.
  [/^(PUT|POST) .*\/qemu\/\{vmid\}\/config$/, USES_100],
  [/^(POST|PUT|DELETE) .*\/qemu/, ADMINS],
  [/^GET \/pools\/\{poolid\}$/, AUDITORS],
  [/^(POST|PUT|DELETE) \/pools/, ADMINS],
  [/^GET \/storage\/\{storage\}$/, ADMINS],
  [/^(POST|PUT|DELETE) .*\/storage\/\{storage\}\/content/, ADMINS],
  [/^GET .*\/storage\/\{storage\}\//, AUDITORS],
  [/./, SIGNED_IN],
];

/** Parameters without which nobody is asked for rights. */
const GIVEN: Readonly<Record<string, Record<string, string | number>>> = {
  'POST /nodes/{node}/qemu': { vmid: 100, pool: 'none' },
  'POST /pools': { poolid: 'made' },
  'PUT /pools': { poolid: 'made' },
  'DELETE /pools': { poolid: 'made' },
};

test('every method lets in who it should, and refuses the others before it does anything', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('stranger@pve', {});
  await rig.grant('user@pve', { '/vms/100': 'PVEVMUser' });
  // Both together may look, and nothing else.
  await rig.grant('user@pve!look', { '/vms/100': 'PVETemplateUser' });
  await rig.grant('auditor@pve', { '/': 'PVEAuditor' });
  await rig.grant('admin@pve', { '/': 'PVEAdmin' });
  const inPath: Readonly<Record<string, string>> = {
    node: 'pve1',
    vmid: '100',
    storage: 'local',
    snapname: 'none',
    userid: 'root@pam',
    tokenid: 'none',
    roleid: 'PVEAdmin',
    sid: 'vm:100',
    volume: 'none',
    id: 'none',
    poolid: 'none',
  };
  for (const { method, path } of GUEST_METHODS) {
    const name = `${method} ${path}`;
    // `/access/users` and the list of rights have rules of their own, behind them.
    if (/^\/access\/(users|acl)/.test(path) && method !== 'GET') continue;
    if (/^\/access\/(users\/|password)|tasks\/\{upid\}/.test(path)) continue;
    const [, allowed = []] = RULES.find(([pattern]) => pattern.test(name)) ?? [];
    const url = path.replace(/\{([^}]+)\}/g, (_, part: string) => inPath[part] as string);
    for (const caller of CALLERS) {
      const as = caller === 'nobody' ? undefined : caller;
      // Nothing but what stands in the path: whoever is let in meets the next check, or a guest that is not there.
      const given = GIVEN[name];
      const { status, reason } = await rig.call(as, method, url, given);
      const isLetIn = status !== 403 && (status !== 401 || (caller === 'nobody' && path === '/access/ticket'));
      assert.equal(isLetIn, allowed.includes(caller), `${name} as ${caller}: ${status} ${reason}`);
      if (!isLetIn && caller === 'nobody') assert.equal(status, 401, name);
    }
  }
  assert.deepEqual(
    rig.guests.asked.filter(({ call }) => call !== 'create'),
    [],
  );
  assert.deepEqual(rig.bugs, []);
});

test('a refusal names the path and the privilege as clients take them apart', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100);
  await rig.grant('user@pve', { '/vms/100': 'PVEVMUser' });
  const refused = await rig.call('user@pve', 'PUT', '/nodes/pve1/qemu/100/config', { cores: 2 });
  assert.deepEqual([refused.status, refused.reason], [403, 'Permission check failed (/vms/100, VM.Config.CPU)']);
  const other = await rig.call('user@pve', 'POST', '/nodes/pve1/qemu/101/status/start');
  assert.deepEqual([other.status, other.reason], [403, 'Permission check failed (/vms/101, VM.PowerMgmt)']);
  const own = await rig.call('user@pve', 'PUT', '/nodes/pve1/qemu/100/config', {
    ciuser: 'anna',
    ide2: 'none,media=cdrom',
  });
  assert.equal(own.status, 200, own.reason);
  const skips = await rig.call('user@pve', 'POST', '/nodes/pve1/qemu/100/status/start', { skiplock: 1 });
  assert.deepEqual(skips.json.errors, { skiplock: 'Only root may use this option.' });
});

test('each kind of key takes its own rights; what reaches into the host is for root', () => {
  const on = (...anyOf: string[]) => ({ path: '/vms/100', anyOf });
  const cases: readonly (readonly [string, string | undefined, readonly unknown[]])[] = [
    ['name', 'x', [on('VM.Config.Options')]],
    ['cores', undefined, [on('VM.Config.CPU')]],
    ['memory', '1', [on('VM.Config.Memory')]],
    ['scsihw', 'lsi', [on('VM.Config.HWType')]],
    ['freeze', '1', [on('VM.PowerMgmt')]],
    ['ipconfig31', 'ip=dhcp', [on('VM.Config.Cloudinit', 'VM.Config.Network')]],
    ['ciuser', 'x', [on('VM.Config.Cloudinit', 'VM.Config.Network')]],
    ['scsi0', 'fast:8', [on('VM.Config.Disk'), { path: '/storage/fast', anyOf: ['Datastore.AllocateSpace'] }]],
    [
      'scsi0',
      'file=fast:8,size=8G',
      [on('VM.Config.Disk'), { path: '/storage/fast', anyOf: ['Datastore.AllocateSpace'] }],
    ],
    ['scsi0', 'fast:vm-100-disk-0,size=8G', [on('VM.Config.Disk')]],
    [
      'scsi0',
      'fast:101/vm-101-disk-0.qcow2',
      [on('VM.Config.Disk'), { path: '/storage/fast', anyOf: ['Datastore.Allocate'] }],
    ],
    ['scsi0', '/dev/sda', [on('VM.Config.Disk'), 'root']],
    ['ide2', 'none,media=cdrom', [on('VM.Config.CDROM')]],
    [
      'ide2',
      'iso:iso/a.iso,media=cdrom',
      [on('VM.Config.CDROM'), { path: '/storage/iso', anyOf: ['Datastore.AllocateSpace', 'Datastore.Audit'] }],
    ],
    ['ide2', 'cdrom', [on('VM.Config.CDROM'), 'root']],
    ['scsi0', undefined, [on('VM.Config.Disk', 'VM.Config.CDROM')]],
    [
      'scsi0',
      'fast:0,import-from=fast:vm-101-disk-0',
      [
        on('VM.Config.Disk'),
        { path: '/storage/fast', anyOf: ['Datastore.AllocateSpace'] },
        { path: '/storage/fast', anyOf: ['Datastore.Allocate'] },
      ],
    ],
    [
      'scsi0',
      'fast:0,import-from=/etc/shadow',
      [on('VM.Config.Disk'), { path: '/storage/fast', anyOf: ['Datastore.AllocateSpace'] }, 'root'],
    ],
    [
      'net0',
      'virtio,bridge=vmbr1',
      [on('VM.Config.Network'), { path: '/sdn/zones/localnetwork/vmbr1', anyOf: ['SDN.Use'] }],
    ],
    ['serial0', 'socket', [on('VM.Config.HWType')]],
    ['serial0', '/dev/ttyS0', [on('VM.Config.HWType'), 'root']],
    ['usb0', 'spice', [on('VM.Config.HWType')]],
    ['usb0', 'host=1234:5678', [on('VM.Config.HWType'), 'root']],
    ['usb0', 'mapping=key', [on('VM.Config.HWType'), { path: '/mapping/usb/key', anyOf: ['Mapping.Use'] }]],
    ['hostpci0', '0000:01:00.0', [on('VM.Config.HWType'), 'root']],
    ['args', '-S', ['root']],
    ['hookscript', 'local:snippets/a', ['root']],
    ['nonsense', 'x', ['root']],
  ];
  for (const [key, value, needs] of cases) assert.deepEqual(needsOf(100, key, value), needs, `${key}=${value}`);
  const [disk, cd] = ['fast:vm-100-disk-0,size=8G', 'none,media=cdrom'];
  assert.deepEqual(needsOf(100, 'scsi0', undefined, disk), [on('VM.Config.Disk')]);
  assert.deepEqual(needsOf(100, 'unused0', undefined, 'fast:vm-100-disk-1'), [on('VM.Config.Disk')]);
  assert.deepEqual(needsOf(100, 'ide2', undefined, cd), [on('VM.Config.CDROM')]);
  assert.deepEqual(needsOf(100, 'scsi0', cd, disk), [on('VM.Config.CDROM'), on('VM.Config.Disk')]);
});

test('another spelling of a guest or of the node has no other rights', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100);
  await rig.grant('user@pve', { '/vms': 'PVEVMAdmin', '/vms/100': 'NoAccess' });
  await rig.grant('auditor@pve', { '/': 'PVEAuditor', '/nodes/pve1': 'NoAccess' });
  for (const vmid of ['0100', '+100', '%2B100', '00000000000000000100']) {
    const { status } = await rig.call('user@pve', 'POST', `/nodes/pve1/qemu/${vmid}/status/start`);
    assert.equal(status, 400, vmid);
  }
  assert.equal((await rig.call('user@pve', 'GET', '/nodes/pve1/qemu/1e2/config')).status, 400);
  assert.deepEqual(rig.guests.asked, []);
  for (const node of ['pve1', 'localhost'])
    for (const path of ['status', 'time']) {
      const { status, reason } = await rig.call('auditor@pve', 'GET', `/nodes/${node}/${path}`);
      assert.deepEqual([status, reason], [403, 'Permission check failed (/nodes/pve1, Sys.Audit)'], `${node} ${path}`);
    }
});

test('what a call names beside its path takes rights of its own', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('user@pve', {
    '/vms/100': 'PVEVMAdmin',
    '/vms/101': 'PVEVMAdmin',
    '/storage/own': 'PVEDatastoreUser',
  });
  rig.guests.add(100, { scsi0: 'own:vm-100-disk-0,size=1G' });
  const onStorage = '/storage/local, Datastore.AllocateSpace';
  const cases: readonly (readonly ['POST' | 'PUT', string, Record<string, string | number>, string])[] = [
    ['POST', '', { vmid: 102 }, '/vms/102, VM.Allocate'],
    ['POST', '', { vmid: 101, storage: 'local' }, onStorage],
    ['POST', '', { vmid: 101, scsi0: 'local:1' }, onStorage],
    ['PUT', '/100/config', { scsi1: 'local:1' }, onStorage],
    ['POST', '/100/config', { scsi1: 'local:1' }, onStorage],
    ['POST', '/100/move_disk', { disk: 'scsi0', storage: 'local' }, onStorage],
    ['POST', '/100/clone', { newid: 102 }, '/vms/102, VM.Allocate'],
    ['POST', '/100/clone', { newid: 101, storage: 'local' }, onStorage],
  ];
  for (const [method, path, parameters, missing] of cases) {
    const name = `${method} ${path} ${JSON.stringify(parameters)}`;
    const { status, reason } = await rig.call('user@pve', method, `/nodes/pve1/qemu${path}`, parameters);
    assert.deepEqual([status, reason], [403, `Permission check failed (${missing})`], name);
  }
  assert.deepEqual(rig.guests.asked, []);
  for (const [path, more] of [
    ['/100/status/start', {}],
    ['/100/config', { cores: 1 }],
    ['/100/resize', { disk: 'scsi0', size: '+1G' }],
  ] as const) {
    const method = path.includes('status') ? 'POST' : 'PUT';
    const refused = await rig.call('user@pve', method, `/nodes/pve1/qemu${path}`, { ...more, skiplock: 1 });
    assert.deepEqual(refused.json.errors, { skiplock: 'Only root may use this option.' }, path);
  }
});

test('a right to CDs takes no disk out of a machine', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('user@pve', { '/vms/100': 'PVEVMUser' });
  const [scsi0, ide2] = ['disks:vm-100-disk-0,size=1G', 'local:iso/tiny.iso,media=cdrom'];
  rig.guests.add(100, { scsi0, ide2, unused0: 'disks:vm-100-disk-1' });
  const change = async (parameters: Record<string, string | number>) =>
    (await rig.call('user@pve', 'PUT', '/nodes/pve1/qemu/100/config', parameters)).reason;
  const refused = 'Permission check failed (/vms/100, VM.Config.Disk)';
  assert.equal(await change({ delete: 'scsi0', force: 1 }), refused);
  assert.equal(await change({ scsi0: '' }), refused);
  assert.equal(await change({ scsi0: 'none,media=cdrom' }), refused);
  assert.equal(await change({ delete: 'ide2,unused0', force: 1 }), refused);
  assert.equal(await change({ revert: 'scsi0', delete: 'ide2' }), 'OK');
  assert.equal(await change({ ide2: 'none,media=cdrom' }), 'OK');
  assert.equal(rig.guests.all.get(100)?.values.scsi0, scsi0);
});

test('a clone takes room on the storages of its disks, and a place on its bridges', async (t) => {
  const rig = await GuestRig.open(t);
  await rig.grant('user@pve', { '/vms/100': 'PVETemplateUser', '/vms/200': 'PVEVMAdmin' });
  const [scsi0, net0] = ['disks:vm-100-disk-0,size=1G', 'virtio=BC:24:11:00:00:01,bridge=vmbr0'];
  rig.guests.add(100, { scsi0, net0, ide2: 'local:iso/tiny.iso,media=cdrom', unused0: 'other:vm-100-disk-1' });
  const clone = async (parameters: Record<string, string | number> = {}) =>
    (await rig.call('user@pve', 'POST', '/nodes/pve1/qemu/100/clone', { newid: 200, ...parameters })).reason;
  const allow = (path: string, role: RoleName): void =>
    rig.fixture.access.changeAcl(ADMIN, { path, role, authId: parseAuthId('user@pve') });
  assert.equal(await clone(), 'Permission check failed (/storage/disks, Datastore.AllocateSpace)');
  assert.equal(await clone({ storage: 'local' }), 'Permission check failed (/storage/local, Datastore.AllocateSpace)');
  allow('/storage/disks', 'PVEDatastoreUser');
  assert.equal(await clone(), 'Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)');
  allow('/sdn', 'PVESDNUser');
  assert.equal(await clone(), 'OK');
});

test('lists leave out what the caller may not see', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100);
  rig.guests.add(101);
  await rig.grant('user@pve', { '/vms/101': 'PVEVMUser', '/storage/local': 'PVEDatastoreUser' });
  const rows = async (path: string): Promise<Record<string, unknown>[]> =>
    (await rig.call('user@pve', 'GET', path)).json.data as Record<string, unknown>[];
  assert.deepEqual(
    (await rows('/nodes/pve1/qemu')).map(({ vmid }) => vmid),
    [101],
  );
  assert.deepEqual(
    (await rows('/cluster/resources')).map(({ id }) => id),
    ['qemu/101', 'node/pve1', 'storage/pve1/local'],
  );
  assert.deepEqual(
    (await rows('/nodes/pve1/storage')).map(({ storage }) => storage),
    ['local'],
  );
  assert.deepEqual(
    (await rows('/storage')).map(({ storage }) => storage),
    ['local'],
  );
  rig.storages.volumesOf.push(
    { volid: 'local:backup/a', content: 'backup', format: 'vma', sizeBytes: 1, vmid: 100 },
    { volid: 'local:backup/b', content: 'backup', format: 'vma', sizeBytes: 1, vmid: 101 },
  );
  const volumes = await rows('/nodes/pve1/storage/local/content');
  assert.deepEqual(
    volumes.map(({ volid }) => volid),
    ['local:iso/tiny.iso', 'local:backup/b'],
  );
  const [node] = await rows('/nodes');
  assert.equal(node?.maxmem, 0);
  const hidden = await rig.call('user@pve', 'GET', '/nodes/pve1/storage/local/content/local:backup/a');
  assert.equal(hidden.status, 403);
});
