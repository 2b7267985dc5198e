// The life of a virtual machine over the guest dialect: what clients send, what the service is asked for, and what they read back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestRig } from './guest-rig.ts';

const ROOT = 'root@pam';
const VM = '/nodes/pve1/qemu/100';

test('a machine is made, changed, started, snapshot, cloned and removed, each by a task', async (t) => {
  const rig = await GuestRig.open(t);
  assert.equal(await rig.data('GET', '/cluster/nextid'), '100');
  const settings = { vmid: 100, name: 'web', scsi0: 'disks:1', net0: 'virtio,bridge=vmbr0', cdrom: 'none', start: 1 };
  const upid = await rig.data<string>('POST', '/nodes/pve1/qemu', settings);
  assert.match(upid, /^UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:qmcreate:100:root@pam:$/);
  assert.equal(await rig.ended(upid), 'OK');
  assert.deepEqual(rig.guests.asked[0]?.options, {
    settings: { name: 'web', scsi0: 'disks:1', net0: 'virtio,bridge=vmbr0', ide2: 'none,media=cdrom' },
  });
  assert.equal(await rig.data('GET', '/cluster/nextid'), '101');
  const taken = await rig.call(ROOT, 'GET', '/cluster/nextid', { vmid: 100 });
  assert.deepEqual([taken.status, taken.json.errors], [400, { vmid: 'VM 100 already exists' }]);
  const again = await rig.call(ROOT, 'POST', '/nodes/pve1/qemu', settings);
  assert.equal(again.reason, "unable to create VM 100 - VM 100 already exists on node 'pve1'");

  assert.equal(await rig.data('PUT', `${VM}/config`, { cores: 2, description: 'a\nb', onboot: 1 }), null);
  const config = await rig.data<Record<string, unknown>>('GET', `${VM}/config`);
  assert.deepEqual([config.cores, config.description, config.onboot], [2, 'a\nb', 1]);
  const later = await rig.data<string>('POST', `${VM}/config`, {
    delete: 'cores; onboot',
    digest: config.digest as string,
  });
  assert.match(later, /:qmconfig:100:/);
  assert.equal(await rig.ended(later), 'OK');
  assert.equal(await rig.data('POST', `${VM}/config`, { tags: 'a;b', background_delay: 5 }), null);
  const pending = await rig.data<{ key: string }[]>('GET', `${VM}/pending`);
  assert.deepEqual(
    pending.map(({ key }) => key),
    ['description', 'ide2', 'memory', 'name', 'net0', 'scsi0', 'tags'],
  );
  const stale = await rig.call(ROOT, 'PUT', `${VM}/config`, { cores: 4, digest: config.digest as string });
  assert.equal(stale.status, 500);
  assert.match(stale.reason, /^detected modified configuration - file changed by other user\? Try again\./);

  const { mem, maxmem, pid, uptime, qmpstatus, ha, ...current } = await rig.data<Record<string, unknown>>(
    'GET',
    `${VM}/status/current`,
  );
  assert.deepEqual(
    { mem, maxmem, pid, uptime, qmpstatus, ha },
    {
      mem: 0,
      maxmem: 512 * 1024 ** 2,
      pid: 4711,
      uptime: 13,
      qmpstatus: 'running',
      ha: { managed: 0 },
    },
  );
  assert.equal('template' in current, false);
  const running = await rig.call(ROOT, 'DELETE', VM);
  assert.equal(running.reason, 'VM 100 is running - destroy failed');
  const second = await rig.data<string>('POST', `${VM}/status/start`);
  assert.match(await rig.ended(second), /^VM 100 already running/);
  const shutdown = await rig.data<string>('POST', `${VM}/status/shutdown`, { timeout: 60, forceStop: 1 });
  assert.equal(await rig.ended(shutdown), 'OK');
  assert.deepEqual(rig.guests.asked.at(-1)?.options, { skipLock: false, timeoutMs: 60_000, forceStop: true });
  assert.match(await rig.ended(await rig.data('POST', `${VM}/status/reset`)), /^VM 100 not running/);

  const snapshot = await rig.data<string>('POST', `${VM}/snapshot`, { snapname: 'before', description: 'x' });
  assert.equal(await rig.ended(snapshot), 'OK');
  const rows = await rig.data<Record<string, unknown>[]>('GET', `${VM}/snapshot`);
  assert.deepEqual(rows[0], { name: 'before', description: 'x', snaptime: 1_700_000_000, vmstate: 0 });
  assert.equal(rows.length, 2);
  const { name, parent, running: isRunning, snaptime } = rows[1] as Record<string, unknown>;
  assert.deepEqual([name, parent, isRunning, snaptime], ['current', 'before', 0, undefined]);
  assert.equal(await rig.data('PUT', `${VM}/snapshot/before/config`, { description: 'y' }), null);
  assert.equal(await rig.ended(await rig.data('POST', `${VM}/snapshot/before/rollback`)), 'OK');
  const reserved = await rig.call(ROOT, 'POST', `${VM}/snapshot`, { snapname: 'current' });
  assert.equal(reserved.status, 400);
  assert.equal(await rig.ended(await rig.data('DELETE', `${VM}/snapshot/before`)), 'OK');
  assert.equal(await rig.ended(await rig.data('DELETE', `${VM}/snapshot/before`)), "snapshot 'before' does not exist");

  assert.match(await rig.ended(await rig.data('PUT', `${VM}/resize`, { disk: 'scsi0', size: '+1G' })), /OK/);
  const linked = await rig.call(ROOT, 'POST', `${VM}/clone`, { newid: 200, full: 0 });
  assert.match(linked.reason, /no template/);
  assert.equal(await rig.ended(await rig.data('POST', `${VM}/clone`, { newid: 200, name: 'copy' })), 'OK');
  assert.equal(await rig.ended(await rig.data('POST', `${VM}/template`)), 'OK');
  assert.equal(await rig.ended(await rig.data('POST', `${VM}/clone`, { newid: 201 })), 'OK');
  assert.deepEqual(
    rig.guests.asked.filter(({ call }) => call === 'clone').map(({ options }) => options),
    [
      { newid: 200, name: 'copy', isFull: true },
      { newid: 201, isFull: false },
    ],
  );
  const list = await rig.data<Record<string, unknown>[]>('GET', '/nodes/pve1/qemu');
  assert.deepEqual(
    list.map(({ vmid, template }) => [vmid, template]),
    [
      [100, 1],
      [200, undefined],
      [201, 1],
    ],
  );
  const resources = await rig.data<Record<string, unknown>[]>('GET', '/cluster/resources', { type: 'vm' });
  assert.deepEqual(
    resources.map(({ id, template }) => [id, template]),
    [
      ['qemu/100', 1],
      ['qemu/200', 0],
      ['qemu/201', 1],
    ],
  );
  assert.equal(await rig.ended(await rig.data('DELETE', `${VM}/?purge=1`.replace('/?', '?'))), 'OK');
  assert.equal((await rig.call(ROOT, 'GET', `${VM}/status/current`)).status, 500);
  assert.deepEqual(rig.bugs, []);
});

test('settings that cannot be are refused with the key; a lock and a deleted unknown key too', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100, { memory: '512', cipassword: 'secret' });
  rig.guests.add(101, { lock: 'backup' });
  const wrong = await rig.call(ROOT, 'PUT', `${VM}/config`, { cores: 4096 });
  assert.deepEqual([wrong.status, wrong.json.errors], [400, { cores: 'too many cores' }]);
  const unknown = await rig.call(ROOT, 'PUT', `${VM}/config`, { delete: 'nonsense' });
  assert.deepEqual(unknown.json.errors, { delete: "unknown option 'nonsense'" });
  const both = await rig.call(ROOT, 'PUT', `${VM}/config`, { delete: 'memory', memory: 5 });
  assert.equal(both.status, 400);
  const locked = await rig.call(ROOT, 'PUT', '/nodes/pve1/qemu/101/config', { cores: 1 });
  assert.match(locked.reason, /^VM is locked \(backup\)/);
  assert.equal((await rig.call(ROOT, 'PUT', '/nodes/pve1/qemu/101/config', { cores: 1, skiplock: 1 })).status, 200);
  const emptied = await rig.call(ROOT, 'PUT', `${VM}/config`, { memory: '' });
  assert.equal(emptied.status, 200);
  const { cipassword, memory } = await rig.data<Record<string, unknown>>('GET', `${VM}/config`);
  assert.deepEqual([cipassword, memory], ['**********', undefined]);
});

test('what waits for the next start is shown beside what runs, a password without being told, and can be taken back', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100, { memory: '1024', cipassword: '$6$new', name: 'web', ciuser: 'anna' });
  const guest = rig.guests.all.get(100) ?? assert.fail();
  guest.running = { memory: '512', cipassword: '$6$old', name: 'web', balloon: '0' };
  const masked = '**********';
  assert.deepEqual(await rig.data('GET', `${VM}/pending`), [
    { key: 'balloon', value: 0, delete: 1 },
    { key: 'cipassword', value: masked, pending: masked },
    { key: 'ciuser', pending: 'anna' },
    { key: 'memory', value: '512', pending: '1024' },
    { key: 'name', value: 'web' },
  ]);
  const { digest: _, ...current } = await rig.data<Record<string, unknown>>('GET', `${VM}/config`, { current: 1 });
  assert.deepEqual(current, { memory: '512', cipassword: masked, name: 'web', balloon: 0 });
  assert.equal(await rig.data('PUT', `${VM}/config`, { revert: 'memory,balloon,ciuser,name', cores: 2 }), null);
  assert.deepEqual(rig.guests.asked.at(-1)?.options, {
    set: { cores: '2', memory: '512', balloon: '0' },
    remove: ['ciuser'],
    force: false,
    skipLock: false,
  });
  for (const [parameters, named] of [
    [{ revert: 'nonsense' }, 'revert'],
    [{ revert: 'memory', memory: 1 }, 'revert'],
    [{ revert: 'memory', delete: 'memory' }, 'delete'],
  ] as const)
    assert.deepEqual(Object.keys((await rig.call(ROOT, 'PUT', `${VM}/config`, parameters)).json.errors ?? {}), [named]);
});

test('the agent in a guest is asked in its own words, and a silent one is said as clients know it', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100);
  const silent = await rig.call(ROOT, 'POST', `${VM}/agent/ping`);
  assert.equal(silent.status, 500);
  assert.match(silent.reason, /^QEMU guest agent is not running/);
  await rig.ended(await rig.data('POST', `${VM}/status/start`));
  assert.deepEqual(await rig.data('POST', `${VM}/agent/ping`), { result: {} });
  const interfaces = await rig.data<{ result: { name: string }[] }>('GET', `${VM}/agent/network-get-interfaces`);
  assert.equal(interfaces.result[0]?.name, 'lo');
  const command = ['sh', '-c', 'echo hello'];
  assert.deepEqual(await rig.data('POST', `${VM}/agent/exec`, { command, 'input-data': 'abc' }), { pid: 42 });
  assert.deepEqual(rig.guests.asked.at(-1)?.options, {
    path: 'sh',
    arg: ['-c', 'echo hello'],
    'capture-output': true,
    'input-data': 'YWJj',
  });
  const status = await rig.data('GET', `${VM}/agent/exec-status`, { pid: 42 });
  assert.deepEqual(status, { exited: 1, exitcode: 0, 'out-data': 'hello\n' });
  assert.deepEqual(await rig.data('GET', `${VM}/feature`, { feature: 'snapshot' }), { hasFeature: 1, nodes: ['pve1'] });
});

test('storages and their volumes are listed, also one that does not answer; a volume may be named with slashes', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100, { scsi0: 'disks:vm-100-disk-0,size=1G' });
  const rows = await rig.data<Record<string, unknown>[]>('GET', '/nodes/pve1/storage');
  assert.deepEqual(
    rows.map(({ storage, active, total, used_fraction }) => [storage, active, total, used_fraction]),
    [
      ['local', 1, 1000, 0.25],
      ['disks', 0, 0, 0],
    ],
  );
  const images = await rig.data<Record<string, unknown>[]>('GET', '/nodes/pve1/storage', { content: 'images,rootdir' });
  assert.deepEqual(
    images.map(({ storage }) => storage),
    ['disks'],
  );
  const [entry] = await rig.data<Record<string, unknown>[]>('GET', '/storage');
  assert.deepEqual(
    [entry?.storage, entry?.type, entry?.path, entry?.content],
    ['local', 'dir', '/var/lib/vz', 'iso,backup'],
  );
  const missing = await rig.call(ROOT, 'GET', '/storage/nowhere');
  assert.equal(missing.reason, "storage 'nowhere' does not exist");
  const content = '/nodes/pve1/storage/local/content';
  for (const name of ['local:iso/tiny.iso', 'local:iso%2Ftiny.iso', 'iso/tiny.iso']) {
    const volume = await rig.data<Record<string, unknown>>('GET', `${content}/${name}`);
    assert.deepEqual([volume.volid, volume.size], ['local:iso/tiny.iso', 1024]);
  }
  const used = await rig.call(ROOT, 'DELETE', '/nodes/pve1/storage/disks/content/disks:vm-100-disk-0');
  assert.equal(used.reason, "cannot remove image, a guest with VMID '100' uses it as scsi0");
  (rig.guests.all.get(100) ?? assert.fail()).values = { scsi0: 'disks:vm-100-disk-00,size=1G' };
  (rig.guests.all.get(100) ?? assert.fail()).snapshots.push({
    ...{ name: 'before', description: '', time: 1, withMemory: false },
    values: { scsi1: 'file=disks:vm-100-disk-0,size=1G' },
  });
  const kept = await rig.call(ROOT, 'DELETE', '/nodes/pve1/storage/disks/content/disks:vm-100-disk-0');
  assert.match(kept.reason, /uses it as scsi1 of snapshot 'before'$/);
  const made = await rig.data('POST', '/nodes/pve1/storage/disks/content', {
    filename: 'vm-100-disk-1',
    size: '1G',
    vmid: 100,
  });
  assert.equal(made, 'disks:vm-100-disk-1');
  assert.equal(rig.storages.volumesOf.at(-1)?.sizeBytes, 1024 ** 3);
  const upid = await rig.data<string>('DELETE', `${content}/local:iso/tiny.iso`);
  assert.match(upid, /:imgdel:local:root@pam:$/);
  assert.equal(await rig.ended(upid), 'OK');
  assert.deepEqual(await rig.data('GET', content), []);
});

test('a storage that hangs is not active, and keeps no list', { timeout: 10_000 }, async (t) => {
  const rig = await GuestRig.open(t);
  rig.storages.status = () => new Promise(() => {});
  const started = performance.now();
  const rows = await rig.data<Record<string, unknown>[]>('GET', '/cluster/resources', { type: 'storage' });
  assert.deepEqual(
    rows.map(({ storage, status }) => [storage, status]),
    [
      ['local', 'unknown'],
      ['disks', 'unknown'],
    ],
  );
  const listed = await rig.data<Record<string, unknown>[]>('GET', '/nodes/pve1/storage');
  assert.deepEqual(
    listed.map(({ active }) => active),
    [0, 0],
  );
  const tookMs = performance.now() - started;
  assert.ok(tookMs < 2 * 2500, `${tookMs} ms for both lists`);
});

test('what exporters and dashboards ask of a node is there', async (t) => {
  const rig = await GuestRig.open(t);
  rig.guests.add(100, { name: 'web' });
  assert.deepEqual(await rig.data('GET', '/cluster/status'), [
    { id: 'node/pve1', name: 'pve1', type: 'node', ip: '127.0.0.1', level: '', local: 1, nodeid: 0, online: 1 },
  ]);
  const status = await rig.data<{ loadavg: string[]; cpuinfo: { cores: number } }>('GET', '/nodes/pve1/status');
  assert.ok(status.loadavg.every((load) => typeof load === 'string' && /^\d+\.\d\d$/.test(load)));
  assert.ok(status.cpuinfo.cores >= 1);
  const [node] = await rig.data<Record<string, unknown>[]>('GET', '/nodes');
  assert.deepEqual([node?.node, node?.status, typeof node?.maxmem], ['pve1', 'online', 'number']);
  const resources = await rig.data<Record<string, unknown>[]>('GET', '/cluster/resources');
  assert.deepEqual(
    resources.map(({ id }) => id),
    ['qemu/100', 'node/pve1', 'storage/pve1/local', 'storage/pve1/disks'],
  );
  assert.ok(resources.every((row) => !Object.values(row).includes(null)));
  assert.equal(
    resources.some(({ type, content }) => type === 'qemu' && content !== undefined),
    false,
  );
  const { version, release } = await rig.data<Record<string, string>>('GET', '/version');
  assert.deepEqual([version, release], ['8.4.0', '8.4']);
  assert.deepEqual(await rig.data('GET', '/cluster/backup-info/not-backed-up'), [
    { vmid: 100, type: 'qemu', name: 'web' },
  ]);
  for (const path of [
    '/nodes/pve1/lxc',
    '/nodes/pve1/replication',
    '/pools',
    '/cluster/backup',
    '/cluster/replication',
  ])
    assert.deepEqual(await rig.data('GET', path), [], path);
  const unmanaged = await rig.call(ROOT, 'GET', '/cluster/ha/resources/vm:100');
  assert.equal(unmanaged.reason, "no such resource 'vm:100'");
  assert.equal((await rig.data<{ status: string }>('GET', '/nodes/pve1/subscription')).status, 'notfound');
});
