// Backups and restores over the guest dialect, with a fake agent: what the task says and how it ends, and who may do what.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestRig } from './guest-rig.ts';

const VOLID = 'tank:backup/vm/100/2026-11-22T01:00:00Z';
const CONTENT = '/nodes/pve1/storage/tank/content';

async function open(t: TestContext): Promise<GuestRig> {
  const rig = await GuestRig.open(t);
  const own = await rig.storages.list();
  const tank = { storage: 'tank', type: 'pbs', content: ['backup'], isEnabled: true, isShared: true };
  rig.storages.list = async () => [...own, { ...tank, options: { path: '/tank' } }];
  rig.storages.volumesOf.push({
    ...{ volid: VOLID, content: 'backup', format: 'pbs-vm', sizeBytes: 5, vmid: 100, created: 7, notes: 'a\nb' },
    verification: { state: 'ok', upid: 'UPID:pve1:00001111:00002222:00000003:65000000:verify:tank:root@pam:' },
  });
  for (const vmid of [100, 101, 102]) rig.guests.add(vmid);
  return rig;
}

async function logOf(rig: GuestRig, upid: string): Promise<string[]> {
  const lines = await rig.data<{ t: string }[]>('GET', `/nodes/pve1/tasks/${encodeURIComponent(upid)}/log`, {
    limit: 0,
  });
  return lines.map(({ t: text }) => text);
}

test('a job has a section for each guest, goes on after one that fails, and then ends with job errors', async (t) => {
  const rig = await open(t);
  rig.backups.failing.add(100);
  const asked = { vmid: '100,101,999', storage: 'tank', mode: 'suspend', 'notes-template': '{{vmid}}', protected: 1 };
  const upid = await rig.data<string>('POST', '/nodes/pve1/vzdump', { ...asked, fleecing: 'enabled=1,storage=disks' });
  assert.equal(upid.split(':').length, 9);
  assert.match(upid, /:vzdump::root@pam:$/);
  assert.equal(await rig.ended(upid), 'job errors');
  const log = (await logOf(rig, upid)).map((line) => line.replace(/\(00:00:0\d\)/, '(TIME)'));
  assert.deepEqual(log, [
    'INFO: starting new backup job: vzdump 100 101 999 --storage tank --mode suspend',
    'INFO: Starting Backup of VM 100 (qemu)',
    'reading 100',
    'ERROR: Backup of VM 100 failed - its disk is broken',
    'INFO: Starting Backup of VM 101 (qemu)',
    'reading 101',
    'INFO: Finished Backup of VM 101 (TIME)',
    'INFO: Starting Backup of VM 999 (qemu)',
    "ERROR: Backup of VM 999 failed - unable to find VM '999'",
    'INFO: Backup job finished with errors: 2 of 3 guests',
    'TASK ERROR: job errors',
  ]);
  assert.deepEqual(rig.backups.made[1], {
    ...{ storage: 'tank', vmid: 101, mode: 'suspend', lockwaitMinutes: 180, isProtected: true },
    ...{ notesTemplate: '{{vmid}}', fleecingStorage: 'disks' },
  });
});

test('one guest gives the task its number; all leaves out what is excluded; each guest is pruned by the rules after its backup', async (t) => {
  const rig = await open(t);
  const one = await rig.data<string>('POST', '/nodes/pve1/vzdump', { vmid: 101, storage: 'tank' });
  assert.match(one, /:vzdump:101:root@pam:$/);
  assert.equal(await rig.ended(one), 'OK');
  assert.deepEqual(rig.backups.pruned, [], 'nobody asked for it');
  const all = { all: 1, exclude: '101', storage: 'tank', 'prune-backups': 'keep-last=3,keep-daily=0', remove: 1 };
  assert.equal(await rig.ended(await rig.data<string>('POST', '/nodes/pve1/vzdump', all)), 'OK');
  const counts = { 'keep-last': 3 };
  assert.deepEqual(rig.backups.pruned, [
    { storage: 'tank', vmid: 100, counts },
    { storage: 'tank', vmid: 102, counts },
  ]);
  assert.deepEqual(
    rig.backups.made.map(({ vmid }) => vmid),
    [101, 100, 102],
  );
  const none = { all: 1, exclude: '100 101 102', storage: 'tank' };
  assert.equal(await rig.data('POST', '/nodes/pve1/vzdump', none), 'OK');
});

test('what has no backup is not pruned; rules take a right on the storage, and what is no rule is refused before a task', async (t) => {
  const rig = await open(t);
  const dump = async (parameters: object, as = 'root@pam') =>
    await rig.call(as, 'POST', '/nodes/pve1/vzdump', { storage: 'tank', vmid: '100,101', ...parameters });
  rig.backups.failing.add(100);
  const upid = await rig.data<string>('POST', '/nodes/pve1/vzdump', {
    ...{ storage: 'tank', vmid: '100,101', 'prune-backups': 'keep-last=1' },
  });
  assert.equal(await rig.ended(upid), 'job errors');
  assert.deepEqual(
    rig.backups.pruned.map(({ vmid }) => vmid),
    [101],
  );
  await rig.grant('user@pve', { '/vms': 'PVEVMUser', '/storage/tank': 'PVEDatastoreUser' });
  const rules = { 'prune-backups': 'keep-last=1' };
  assert.match(
    (await dump(rules, 'user@pve')).reason,
    /Permission check failed \(\/storage\/tank, Datastore.Allocate\)/,
  );
  assert.equal((await dump({ 'prune-backups': 'keep-all=1', remove: 0 }, 'user@pve')).status, 200);
  for (const wrong of ['keep-last=0', 'keep=3', 'keep-last=x'])
    assert.equal((await dump({ 'prune-backups': wrong })).status, 400, wrong);
  assert.equal((await dump({ ...rules, remove: 0 })).status, 400);
  assert.equal(rig.backups.pruned.length, 1);
});

test('an abort ends the guest under way, and begins with no other', async (t) => {
  const rig = await open(t);
  rig.backups.lasting.add(100);
  const upid = await rig.data<string>('POST', '/nodes/pve1/vzdump', { vmid: '100,101', storage: 'tank' });
  while (rig.backups.made.length === 0) await sleep(5);
  await rig.data('DELETE', `/nodes/pve1/tasks/${encodeURIComponent(upid)}`);
  assert.doesNotMatch(await rig.ended(upid), /^(OK|job errors)$/);
  assert.deepEqual(
    rig.backups.made.map(({ vmid }) => vmid),
    [100],
  );
});

test('it takes VM.Backup on each guest and AllocateSpace on the storage; what is wrong is refused before a task', async (t) => {
  const rig = await open(t);
  await rig.grant('user@pve', { '/vms/100': 'PVEVMUser', '/storage/tank': 'PVEDatastoreUser' });
  const dump = async (parameters: Record<string, string | number>, as = 'user@pve') =>
    await rig.call(as, 'POST', '/nodes/pve1/vzdump', { storage: 'tank', ...parameters });
  assert.equal((await dump({ vmid: 100 })).status, 200);
  assert.equal((await dump({ vmid: '100,101' })).reason, 'Permission check failed (/vms/101, VM.Backup)');
  assert.equal((await dump({ all: 1 })).status, 200);
  await sleep(20);
  assert.deepEqual(
    rig.backups.made.map(({ vmid }) => vmid),
    [100, 100],
    'all are those that the caller may back up',
  );
  assert.equal((await dump({ vmid: 100, bwlimit: 5 })).reason, 'Permission check failed (/, Sys.Modify)');
  assert.match(
    (await dump({ vmid: 100, storage: 'disks' })).reason,
    /Permission check failed \(\/storage\/disks, Datastore.AllocateSpace\)/,
  );
  for (const [wrong, key] of [
    [{ vmid: 100, storage: 'disks' }, 'storage'],
    [{ vmid: 100, dumpdir: '/x' }, 'dumpdir'],
    [{ vmid: 100, all: 1 }, 'vmid'],
    [{}, 'vmid'],
    [{ vmid: 'x' }, 'vmid'],
    [{ vmid: 100, pool: 'p' }, 'pool'],
    [{ vmid: 100, fleecing: 'size=3' }, 'fleecing'],
  ] as const) {
    const { status, json } = await dump(wrong as Record<string, string | number>, 'root@pam');
    assert.deepEqual([status, Object.keys(json.errors ?? {})], [400, [key]], JSON.stringify(wrong));
  }
  assert.deepEqual((await dump({ vmid: 100, script: '/x' })).json.errors, { script: 'Only root may set this option.' });
  rig.backups.isReady = false;
  assert.equal((await dump({ vmid: 100 })).status, 500);
  assert.equal(rig.backups.made.length, 2);
});

test('backups of a guest are seen, changed and removed by who may back it up', async (t) => {
  const rig = await open(t);
  await rig.grant('user@pve', { '/vms/100': 'PVEVMUser', '/storage/tank': 'PVEDatastoreUser' });
  await rig.grant('other@pve', { '/vms/101': 'PVEVMUser', '/storage/tank': 'PVEDatastoreUser' });
  const rows = (await rig.call('user@pve', 'GET', CONTENT)).json.data as Record<string, unknown>[];
  assert.deepEqual(rows, [
    {
      ...{
        volid: VOLID,
        content: 'backup',
        format: 'pbs-vm',
        size: 5,
        ctime: 7,
        vmid: 100,
        notes: 'a\nb',
        subtype: 'qemu',
      },
      verification: { state: 'ok', upid: 'UPID:pve1:00001111:00000003:65000000:verify:tank:root@pam:' },
    },
  ]);
  assert.deepEqual((await rig.call('other@pve', 'GET', CONTENT)).json.data, []);
  const path = `${CONTENT}/${encodeURIComponent(VOLID)}`;
  assert.equal((await rig.call('other@pve', 'PUT', path, { notes: 'x' })).status, 403);
  assert.equal((await rig.call('other@pve', 'DELETE', path)).status, 403);
  assert.equal((await rig.call('user@pve', 'PUT', path, { notes: 'x', protected: 1 })).json.data, null);
  // To settle an anomaly takes a right to the datastore itself.
  await rig.grant('keeper@pve', { '/storage/tank': 'PVEDatastoreAdmin', '/datastore/tank': 'DatastoreAdmin' });
  assert.equal((await rig.call('keeper@pve', 'PUT', path, { protected: 0 })).json.data, null);
  assert.deepEqual(rig.backups.changed, [
    { volid: VOLID, notes: 'x', protected: true, mayClear: false },
    { volid: VOLID, protected: false, mayClear: true },
  ]);
  assert.match(
    (await rig.call('root@pam', 'PUT', '/nodes/pve1/storage/disks/content/disks:vm-100-disk-0')).reason,
    /is none/,
  );
  const config = await rig.call('user@pve', 'GET', '/nodes/pve1/vzdump/extractconfig', { volume: VOLID });
  assert.match(String(config.json.data), /^memory: 64$/m);
  assert.equal((await rig.call('other@pve', 'GET', '/nodes/pve1/vzdump/extractconfig', { volume: VOLID })).status, 403);
  const { volumesOf } = rig.storages;
  rig.storages.volumesOf = volumesOf.map((each) => (each.volid === VOLID ? { ...each, isProtected: true } : each));
  assert.match((await rig.call('user@pve', 'DELETE', path)).reason, /protection enabled/);
  rig.storages.volumesOf = volumesOf;
  assert.equal(await rig.ended((await rig.call('user@pve', 'DELETE', path)).json.data as string), 'OK');
  assert.equal(
    rig.storages.volumesOf.some(({ volid }) => volid === VOLID),
    false,
  );
});

test('a backup becomes a guest: a new one, or with force one that is there; what only root may set only for root', async (t) => {
  const rig = await open(t);
  await rig.grant('user@pve', {
    '/vms': 'PVEVMAdmin',
    '/storage/tank': 'PVEDatastoreUser',
    '/storage/disks': 'PVEDatastoreUser',
  });
  const restore = async (parameters: Record<string, string | number>, as = 'user@pve') =>
    await rig.call(as, 'POST', '/nodes/pve1/qemu', { vmid: 105, archive: VOLID, ...parameters });
  const made = await restore({ storage: 'disks', unique: 1, start: 1 });
  assert.match(made.json.data as string, /:qmrestore:105:user@pve:$/);
  assert.equal(await rig.ended(made.json.data as string), 'OK');
  assert.deepEqual(rig.backups.restored, [
    { volid: VOLID, vmid: 105, storage: 'disks', unique: true, start: true, force: false, isLive: false },
  ]);
  assert.match((await restore({ vmid: 101 })).reason, /VM 101 already exists/);
  assert.equal((await restore({ vmid: 101, force: 1, storage: 'disks' })).status, 200);
  const { name } = (await restore({ name: 'x', storage: 'disks' })).json.errors ?? {};
  assert.match(String(name), /not together with archive/);
  assert.deepEqual(Object.keys((await restore({ bwlimit: 5 })).json.errors ?? {}), ['bwlimit']);
  assert.match((await restore({ archive: 'disks:vm-100-disk-0' })).reason, /Parameter verification failed/);
  assert.match((await restore({ storage: 'local' })).reason, /\/storage\/local, Datastore.AllocateSpace/);
  for (const line of [
    'args: -device x',
    'ide2: /etc/shadow,media=cdrom',
    'hostpci0: 0000:01:00.0',
    'hookscript: local:snippets/x',
  ]) {
    rig.backups.configText = `memory: 64\n${line}\n`;
    const refused = await restore({ storage: 'disks' });
    assert.equal(refused.status, 403, line);
    assert.match(refused.reason, /only root can restore/);
  }
  assert.equal((await restore({ storage: 'disks' }, 'root@pam')).status, 200);
  const stranger = await rig.call('root@pam', 'POST', '/nodes/pve1/qemu', { vmid: 106, unique: 1 });
  assert.deepEqual(stranger.json.errors, { unique: 'only with archive' });
});
