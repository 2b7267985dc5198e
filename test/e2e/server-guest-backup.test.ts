// Virtual machines of the server's own machine, backed up and restored by orders to its agent and over the guest dialect: a real server, a
// real QEMU, and disks that are compared byte by byte.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NodeDirectory } from '../../src/guests/node-directory.ts';
import { endQemu } from '../../src/guests/qemu/qemu-process.ts';
import type { JobRun } from '../../src/jobs/schedule/job.ts';
import { parseGuestId } from '../../src/schema/guest-names.ts';
import { messageOf } from '../cli/holdfast.ts';
import { removeNodeTraces } from '../support/guests/node-traces.ts';
import { reasonForTools } from '../support/power-cut/scratch.ts';
import { freePorts } from '../support/server/free-ports.ts';
import { runsOf } from '../support/server/job-runs.ts';
import { ApiCaller, type Method } from '../support/server/server-api.ts';
import { type ServerRig, STORE, startRig } from '../support/server/server-rig.ts';

const MIB = 1024 ** 2;
const VMIDS = [7501, 7502, 7503, 7504, 7505, 7506];
const skip = reasonForTools('qemu-system-x86_64', 'qemu-img');

suite('backups of virtual machines at the server', { skip, timeout: 240_000 }, () => {
  const ended: (() => void)[] = [];
  let rig: ServerRig;
  let caller: ApiCaller;
  let nodePath: string;
  let directory: NodeDirectory;
  let node: string;
  let headers: Record<string, string>;
  let data7501: Buffer;

  before(async () => {
    nodePath = mkdtempSync(join(tmpdir(), 'hft-node-'));
    directory = new NodeDirectory(nodePath);
    const port = await freePorts(1);
    rig = await startRig({ after: (end) => void ended.unshift(end) }, [
      ...['--node-dir', nodePath, '--guest-listen', `127.0.0.1:${port}`, '--local-agent'],
    ]);
    await rig.server.said(/the agent is connected/);
    caller = new ApiCaller({ host: '127.0.0.1', port });
    headers = await signIn('vmadmin@local', { '/': 'Admin' });
    [{ node }] = (await data('GET', '/nodes')) as { node: string }[];
    const devices = { virtio0: 'local:0.0625,format=raw', vga: 'none', balloon: 0, net0: 'virtio,link_down=1' };
    for (const vmid of [7501, 7502]) {
      const settings = { vmid, name: `web${vmid}`, memory: 64, kvm: 0, ...devices };
      assert.equal(await task('POST', `/nodes/${node}/qemu`, settings), 'OK');
    }
    data7501 = randomBytes(24 * MIB);
    const disk = openSync(diskOf(7501), 'r+');
    writeSync(disk, data7501, 0, data7501.length, 8 * MIB);
    closeSync(disk);
    assert.match(await task('POST', `/nodes/${node}/qemu/7501/status/start`), /^(OK|WARNINGS: \d+)$/);
  });

  after(async () => {
    for (const vmid of VMIDS) await endQemu(directory.run(parseGuestId(vmid)), undefined, 1_000);
    await caller?.close();
    for (const end of ended) end();
    rmSync(nodePath, { recursive: true, force: true });
    removeNodeTraces(directory);
  });

  function diskOf(vmid: number): string {
    return join(nodePath, 'storage', 'local', 'images', String(vmid), `vm-${vmid}-disk-0.raw`);
  }

  async function signIn(userid: string, roles: Record<string, string>): Promise<Record<string, string>> {
    const password = 'correct horse battery';
    await rig.admin.makeUser(userid, password);
    for (const [path, role] of Object.entries(roles))
      await rig.admin.call('PUT', '/access/acl', { path, 'auth-id': userid, role });
    const { text } = await caller.try('POST', '/access/ticket', { username: userid, password });
    const login = JSON.parse(text).data;
    return { cookie: `PVEAuthCookie=${login.ticket}`, csrfpreventiontoken: login.CSRFPreventionToken };
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes.
  async function data(method: Method, path: string, body?: object): Promise<any> {
    const { status, text } = await caller.try(method, path, body, headers);
    assert.equal(status, 200, `${method} ${path}: ${text}`);
    return JSON.parse(text).data;
  }

  async function endOf(upid: string): Promise<string> {
    for (;;) {
      const { status, exitstatus } = await data('GET', `/nodes/${node}/tasks/${upid}/status`);
      if (status === 'stopped') return exitstatus;
      await sleep(50);
    }
  }

  /** The exit status of the task that a call starts. */
  async function task(method: Method, path: string, body?: object): Promise<string> {
    const upid = await data(method, path, body);
    assert.equal(upid.split(':').length, 9, upid);
    return await endOf(upid);
  }

  /** The whole end of an order of the backup dialect. */
  async function ordered(kind: string, members: object): Promise<string> {
    const upid = await rig.admin.call<string>('POST', `/nodes/localhost/${kind}`, { store: STORE, ...members });
    for (;;) {
      const path = `/nodes/localhost/tasks/${encodeURIComponent(upid)}/status`;
      const { status, exitstatus } = await rig.admin.call<{ status: string; exitstatus: string }>('GET', path);
      if (status !== 'running') return exitstatus;
      await sleep(50);
    }
  }

  async function requireSameDisk(vmid: number): Promise<void> {
    // In place of another one the disk has another number.
    const { virtio0 } = await data('GET', `/nodes/${node}/qemu/${vmid}/config`);
    const [, name = ''] = /^local:([^,]+)/.exec(virtio0) ?? [];
    const disk = readFileSync(join(nodePath, 'storage', 'local', 'images', name));
    assert.equal(disk.length, 64 * MIB);
    assert.ok(disk.subarray(8 * MIB, 32 * MIB).equals(data7501), 'what was written is there');
    assert.ok(disk.subarray(32 * MIB).every((byte) => byte === 0));
  }

  test('an order backs a guest up while it runs, and makes another one of it', async () => {
    assert.equal(
      await ordered('vm-backup', { vmid: 7501, 'notes-template': '{{guestname}} {{vmid}}', protected: true }),
      'OK',
    );
    assert.equal((await data('GET', `/nodes/${node}/qemu/7501/status/current`)).status, 'running');
    const [row] = await rig.admin.call<{ protected: boolean; comment: string; owner: string }[]>(
      'GET',
      `/admin/datastore/${STORE}/snapshots?backup-type=vm&backup-id=7501`,
    );
    assert.deepEqual([row?.protected, row?.comment, row?.owner], [true, 'web7501 7501', 'root@pam!agent-localhost']);
    assert.equal(await ordered('vm-restore', { snapshot: 'vm/7501/latest', newid: 7503, unique: true }), 'OK');
    await requireSameDisk(7503);
    const [one, other] = await Promise.all(
      [7501, 7503].map((vmid) => data('GET', `/nodes/${node}/qemu/${vmid}/config`)),
    );
    assert.equal(other.name, 'web7501');
    assert.notEqual(other.net0, one.net0, 'its card has another address');
    assert.match(await ordered('vm-restore', { snapshot: 'vm/7501/latest', newid: 7503 }), /7503/);
    assert.match(await ordered('vm-restore', { snapshot: 'vm/7501/latest', newid: 7501, force: true }), /running/);
    assert.equal(await ordered('vm-restore', { snapshot: 'vm/7501/latest', newid: 7503, force: true }), 'OK');
  });

  test('a host lets orders at the guests that it names, and at no other; hook scripts only where it says', async () => {
    assert.match(
      await ordered('vm-backup', { vmid: 7501, script: '/bin/true' }),
      /\/bin\/true may not be run as a hook script on this host: allowScript in its agent\.json names nothing/,
    );
    const path = join(rig.stateDirectory, 'agent', 'agent.json');
    const config = JSON.parse(readFileSync(path, 'utf8'));
    assert.deepEqual([config.allowGuestBackup, config.allowGuestRestore], [['all'], ['all']]);
    const narrow = { ...config, allowGuestBackup: [7502], allowGuestRestore: [] };
    writeFileSync(path, JSON.stringify(narrow), { mode: 0o600 });
    const restart = async () => {
      await rig.server.end('SIGTERM');
      const from = rig.server.lines.length;
      await rig.server.start();
      await rig.server.said(/the agent is connected/, from);
    };
    await restart();
    assert.match(await ordered('vm-backup', { vmid: 7501 }), /VM 7501 may not be backed up .*allowGuestBackup.* 7502/);
    assert.match(
      await ordered('vm-restore', { snapshot: 'vm/7501/latest', newid: 7504 }),
      /VM 7504 may not be restored on this host: allowGuestRestore in its agent\.json names nothing/,
    );
    assert.equal(await ordered('vm-backup', { vmid: 7502 }), 'OK');
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    await restart();
  });

  test('the command line orders it, too', async () => {
    const root = rig.account('root@pam').with({
      HOLDFAST_PASSWORD: readFileSync(join(rig.stateDirectory, 'first-password'), 'utf8').trim(),
    });
    const backup = await root.try(['node', 'backup', 'localhost', '--vm', '7501', '--bwlimit', '1000000']);
    assert.equal(backup.code, 0, backup.stderr);
    assert.match(backup.stdout.toString(), /the vm-backup begins[\s\S]*TASK OK\ntask +UPID:/);
    const restore = await root.try(['node', 'restore', 'localhost', 'vm/7501/latest', '--vm', '7504', '--unique']);
    assert.equal(restore.code, 0, restore.stderr);
    await requireSameDisk(7504);
    const wrong = await root.try(['node', 'backup', 'localhost', '--output-format', 'json']);
    assert.match(messageOf(wrong, 'bad-argument'), /--vm 100/);
    assert.equal(await task('DELETE', `/nodes/${node}/qemu/7504`), 'OK');
  });

  test('a job of all guests but one backs them up through the agent, as one task', async () => {
    const root = rig.account('root@pam');
    const at = ['--state-dir', rig.stateDirectory];
    const snapshots = async (vmid: number) =>
      await rig.admin.call<{ comment: string }[]>(
        'GET',
        `/admin/datastore/${STORE}/snapshots?backup-type=vm&backup-id=${vmid}`,
      );
    const before = await Promise.all([7501, 7502, 7503].map(snapshots));
    await root.run(
      ...['job', 'create', 'vzdump', 'guests', '--node', 'localhost', '--store', STORE, '--all', '--exclude', '7503'],
      ...['--set', 'notes-template=by a job', ...at],
    );
    await root.run('job', 'run', 'guests', ...at);
    const [run] = await runsOf(rig.stateDirectory, ([newest]) => typeof newest?.endMs === 'number');
    assert.deepEqual([run?.kind, run?.reason, run?.state, run?.message], ['vzdump', 'hand', 'ok', 'OK']);
    const log = `/nodes/localhost/tasks/${encodeURIComponent(run?.upid as string)}/log?limit=0`;
    const text = (await rig.admin.call<{ t: string }[]>('GET', log)).map(({ t }) => t).join('\n');
    assert.match(text, /Finished Backup of VM 7501[\s\S]*Finished Backup of VM 7502/);
    assert.doesNotMatch(text, /VM 7503/);
    const after = await Promise.all([7501, 7502, 7503].map(snapshots));
    assert.deepEqual(
      after.map((each, index) => each.length - (before[index]?.length ?? 0)),
      [1, 1, 0],
    );
    assert.equal(after[0]?.filter(({ comment }) => comment === 'by a job').length, 1);
    assert.equal((await data('GET', `/nodes/${node}/qemu/7501/status/current`)).status, 'running');
  });

  test('a job that names a guest which was destroyed backs up the others, and says which one is missing', async () => {
    const root = rig.account('root@pam');
    const at = ['--state-dir', rig.stateDirectory];
    await root.run(
      'job',
      'create',
      'vzdump',
      'named',
      '--node',
      'localhost',
      '--store',
      STORE,
      '--vm',
      '7502',
      '7599',
      ...at,
    );
    const snapshots = async (vmid: number) =>
      (await rig.admin.call<unknown[]>('GET', `/admin/datastore/${STORE}/snapshots?backup-type=vm&backup-id=${vmid}`))
        .length;
    const before = await snapshots(7502);
    await root.run('job', 'run', 'named', ...at);
    const [run] = await runsOf(
      rig.stateDirectory,
      ([newest]) => newest?.id === 'named' && typeof newest.endMs === 'number',
    );
    assert.deepEqual([run?.state, run?.message], ['error', 'job errors']);
    assert.deepEqual([await snapshots(7502), await snapshots(7599)], [before + 1, 0]);
    const log = `/nodes/localhost/tasks/${encodeURIComponent(run?.upid as string)}/log?limit=0`;
    const text = (await rig.admin.call<{ t: string }[]>('GET', log)).map(({ t }) => t).join('\n');
    assert.match(text, /Finished Backup of VM 7502[\s\S]*Backup of VM 7599 failed - [^\n]*7599/);
    await root.run('job', 'remove', 'named', ...at);
  });

  test('a datastore without room fails the job in words, keeps what it has, and takes the next night when there is room', async () => {
    const root = rig.account('root@pam');
    const at = ['--state-dir', rig.stateDirectory];
    await root.run('job', 'create', 'vzdump', 'full', '--node', 'localhost', '--store', STORE, '--vm', '7501', ...at);
    const set = async (limit: string) =>
      await root.try(['datastore', 'set', '--low-space-limit', limit, '--repository', rig.storePath]);
    const night = async (after: number) => {
      await root.run('job', 'run', 'full', ...at);
      const isOver = ([newest]: readonly JobRun[]) =>
        newest?.id === 'full' && newest.number > after && newest.endMs !== null;
      return (await runsOf(rig.stateDirectory, isOver))[0];
    };
    const count = async () =>
      (await rig.admin.call<unknown[]>('GET', `/admin/datastore/${STORE}/snapshots?backup-type=vm&backup-id=7501`))
        .length;
    const before = await count();
    // More than any disk has: as a full one answers.
    assert.equal((await set('8000000000000')).code, 0);
    const failed = await night(0);
    assert.deepEqual([failed?.state, await count()], ['error', before]);
    const log = `/nodes/localhost/tasks/${encodeURIComponent(failed?.upid as string)}/log?limit=0`;
    const text = (await rig.admin.call<{ t: string }[]>('GET', log)).map(({ t }) => t).join('\n');
    assert.match(text, /Backup of VM 7501 failed - [^\n]*bytes free, and backups leave at least/);
    assert.equal((await set('default')).code, 0);
    const well = await night(failed?.number ?? 0);
    assert.deepEqual([well?.state, await count()], ['ok', before + 1]);
    await root.run('job', 'remove', 'full', ...at);
  });

  test('over the guest dialect a running guest is backed up, listed, protected, restored and removed', async () => {
    const storages = await data('GET', `/nodes/${node}/storage?content=backup`);
    const tank = storages.find((each: { storage: string }) => each.storage === STORE);
    assert.deepEqual([tank.type, tank.content, tank.active, tank.total > 0], ['pbs', 'backup', 1, true]);
    const wish = { vmid: '7501,7502,7599', storage: STORE, 'notes-template': 'of {{guestname}}' };
    const upid = await data('POST', `/nodes/${node}/vzdump`, wish);
    assert.equal(upid.split(':').length, 9);
    assert.equal(await endOf(upid), 'job errors');
    const lines = (await data('GET', `/nodes/${node}/tasks/${upid}/log?limit=0`)).map((row: { t: string }) => row.t);
    for (const line of [/Starting Backup of VM 7501/, /Finished Backup of VM 7501/, /Finished Backup of VM 7502/])
      assert.ok(lines.some((each: string) => line.test(each)));
    assert.ok(lines.includes("ERROR: Backup of VM 7599 failed - unable to find VM '7599'"));
    assert.equal((await data('GET', `/nodes/${node}/qemu/7501/status/current`)).status, 'running');

    const content = `/nodes/${node}/storage/${STORE}/content`;
    const backup = (await data('GET', `${content}?content=backup&vmid=7501`)).at(-1);
    assert.match(backup.volid, /^tank:backup\/vm\/7501\/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.deepEqual([backup.format, backup.subtype, backup.notes], ['pbs-vm', 'qemu', 'of web7501']);
    assert.ok(backup.size >= 64 * MIB && Math.abs(backup.ctime - Date.now() / 1000) < 120);
    assert.deepEqual(await data('GET', `${content}?content=images`), []);

    assert.equal(await data('PUT', `${content}/${backup.volid}`, { protected: 1, notes: 'kept' }), null);
    const kept = await data('GET', `${content}/${backup.volid}`);
    assert.deepEqual([kept.protected, kept.notes], [1, 'kept']);
    const refused = await caller.try('DELETE', `${content}/${backup.volid}`, undefined, headers);
    assert.match(refused.text, /protection enabled/);

    const text = await data('GET', `/nodes/${node}/vzdump/extractconfig?volume=${encodeURIComponent(backup.volid)}`);
    assert.match(text, /^name: web7501$/m);
    assert.match(text, /^virtio0: local:7501\/vm-7501-disk-0\.raw/m);

    const restore = { vmid: 7504, archive: backup.volid, storage: 'local', unique: 1 };
    assert.equal(await task('POST', `/nodes/${node}/qemu`, restore), 'OK');
    await requireSameDisk(7504);
    const again = await caller.try('POST', `/nodes/${node}/qemu`, restore, headers);
    assert.match(again.text, /VM 7504 already exists/);
    const live = { ...restore, force: 1, 'live-restore': 1 };
    assert.match(await task('POST', `/nodes/${node}/qemu`, live), /^(OK|WARNINGS: \d+)$/);
    assert.equal((await data('GET', `/nodes/${node}/qemu/7504/status/current`)).status, 'running');
    assert.equal(await task('POST', `/nodes/${node}/qemu/7504/status/stop`), 'OK');
    await requireSameDisk(7504);

    assert.equal(await data('PUT', `${content}/${backup.volid}`, { protected: 0 }), null);
    assert.equal(await task('DELETE', `${content}/${backup.volid}`), 'OK');
    const left = await data('GET', `${content}?vmid=7501`);
    assert.ok(!left.some((each: { volid: string }) => each.volid === backup.volid));
  });

  test('a job of the guest dialect runs, and prunes what its rules do not keep of its guest alone', async () => {
    const content = `/nodes/${node}/storage/${STORE}/content?vmid=`;
    const countOf = async (vmid: number): Promise<number> => (await data('GET', `${content}${vmid}`)).length;
    assert.ok((await countOf(7502)) >= 2, 'there is something to prune');
    const others = await countOf(7501);
    const job = { id: 'kept-one', storage: STORE, schedule: 'yearly', vmid: '7502', 'prune-backups': 'keep-last=1' };
    assert.equal(await data('POST', '/cluster/backup', job), null);
    const [row] = await data('GET', '/cluster/backup').then((rows) =>
      rows.filter(({ id }: { id: string }) => id === job.id),
    );
    assert.deepEqual([row.vmid, row['prune-backups'], row.enabled], ['7502', 'keep-last=1', 1]);
    const { children } = await data('GET', '/cluster/backup/kept-one/included_volumes');
    assert.deepEqual(children[0].children[0], {
      ...{ id: 'virtio0', name: 'local:7502/vm-7502-disk-0.raw', included: 1, reason: 'enabled' },
    });
    await rig.account('root@pam').run('job', 'run', 'kept-one', '--state-dir', rig.stateDirectory);
    const [run] = await runsOf(rig.stateDirectory, ([each]) => each?.id === job.id && typeof each.endMs === 'number');
    assert.deepEqual([run?.state, run?.message], ['ok', 'OK']);
    assert.deepEqual([await countOf(7502), await countOf(7501)], [1, others]);
    assert.equal(await data('DELETE', '/cluster/backup/kept-one'), null);
  });

  test('whoever has a pool sees, clones and destroys its guests alone, and a job of the pool backs up those that are in it', async () => {
    assert.equal(await data('POST', '/pools', { poolid: 'shop' }), null);
    assert.equal(await data('PUT', '/pools', { poolid: 'shop', vms: '7502' }), null);
    const admin = headers;
    const shop = await signIn('shop@local', { '/pool/shop': 'PVEVMAdmin', '/storage/local': 'PVEDatastoreUser' });
    const vmids = async () =>
      (await data('GET', `/nodes/${node}/qemu`)).map(({ vmid }: { vmid: number }) => vmid).sort();
    try {
      headers = shop;
      assert.deepEqual(await vmids(), [7502]);
      const clone = { newid: 7506, full: 1 };
      const refused = await caller.try('POST', `/nodes/${node}/qemu/7502/clone`, clone, headers);
      assert.match(refused.text, /\/vms\/7506, VM\.Allocate/);
      assert.equal(await task('POST', `/nodes/${node}/qemu/7502/clone`, { ...clone, pool: 'shop' }), 'OK');
      assert.deepEqual(await vmids(), [7502, 7506]);
    } finally {
      headers = admin;
    }
    const job = { id: 'shop', storage: STORE, schedule: 'yearly', pool: 'shop' };
    assert.equal(await data('POST', '/cluster/backup', job), null);
    let last = 0;
    const backedUp = async (): Promise<string[]> => {
      await rig.account('root@pam').run('job', 'run', 'shop', '--state-dir', rig.stateDirectory);
      const isOver = ([newest]: readonly JobRun[]) =>
        newest?.id === 'shop' && newest.number > last && newest.endMs !== null;
      const [run] = await runsOf(rig.stateDirectory, isOver);
      last = run?.number ?? 0;
      assert.deepEqual([run?.state, run?.message], ['ok', 'OK']);
      const path = `/nodes/localhost/tasks/${encodeURIComponent(run?.upid as string)}/log?limit=0`;
      const lines = (await rig.admin.call<{ t: string }[]>('GET', path)).map(({ t }) => t);
      return lines.flatMap((line) => /Finished Backup of VM (\d+)/.exec(line)?.[1] ?? []);
    };
    assert.deepEqual(await backedUp(), ['7502', '7506']);
    headers = shop;
    try {
      assert.equal(await task('DELETE', `/nodes/${node}/qemu/7506`), 'OK');
    } finally {
      headers = admin;
    }
    const [{ members }] = await data('GET', '/pools?poolid=shop');
    assert.deepEqual(
      members.map(({ id }: { id: string }) => id),
      ['qemu/7502'],
    );
    assert.deepEqual(await backedUp(), ['7502']);
    const kept = await caller.try('DELETE', '/pools?poolid=shop', undefined, headers);
    assert.match(kept.text, /is not empty \(contains VM 7502\)/);
    assert.equal(await data('PUT', '/pools', { poolid: 'shop', vms: '7502', delete: 1 }), null);
    const named = await caller.try('DELETE', '/pools?poolid=shop', undefined, headers);
    assert.match(named.text, /vzdump\/shop/);
    assert.equal(await data('DELETE', '/cluster/backup/shop'), null);
    assert.equal(await data('DELETE', '/pools?poolid=shop'), null);
  });

  test('a backup at once prunes by its rules what is of its guest, and no other', async () => {
    const content = `/nodes/${node}/storage/${STORE}/content?vmid=`;
    const countOf = async (vmid: number): Promise<number> => (await data('GET', `${content}${vmid}`)).length;
    const dump = { vmid: '7502', storage: STORE };
    assert.equal(await task('POST', `/nodes/${node}/vzdump`, dump), 'OK');
    const [before, others] = [await countOf(7502), await countOf(7501)];
    assert.ok(before >= 2, 'there is something to prune');
    assert.equal(await task('POST', `/nodes/${node}/vzdump`, { ...dump, 'prune-backups': 'keep-last=1' }), 'OK');
    assert.deepEqual([await countOf(7502), await countOf(7501)], [1, others]);
  });

  test('an abort ends the backup under way, and the guest goes on', async () => {
    // One without a backup: all of its disk is read.
    const settings = { vmid: 7505, memory: 64, kvm: 0, virtio0: 'local:0.0625,format=raw', vga: 'none', balloon: 0 };
    assert.equal(await task('POST', `/nodes/${node}/qemu`, settings), 'OK');
    writeFileSync(diskOf(7505), randomBytes(64 * MIB));
    // The limit is of guests that run.
    assert.match(await task('POST', `/nodes/${node}/qemu/7505/status/start`), /^(OK|WARNINGS: \d+)$/);
    const slow = { vmid: '7505,7501', storage: STORE, bwlimit: 2048 };
    const upid = await data('POST', `/nodes/${node}/vzdump`, slow);
    await sleep(1500);
    assert.equal((await data('GET', `/nodes/${node}/tasks/${upid}/status`)).status, 'running');
    await data('DELETE', `/nodes/${node}/tasks/${upid}`);
    assert.match(await endOf(upid), /abort|stopped|received/i);
    const lines = (await data('GET', `/nodes/${node}/tasks/${upid}/log?limit=0`)).map((row: { t: string }) => row.t);
    assert.ok(!lines.some((each: string) => /Starting Backup of VM 7501/.test(each)), lines.join('\n'));
    const { status, qmpstatus, lock } = await data('GET', `/nodes/${node}/qemu/7505/status/current`);
    assert.deepEqual([status, qmpstatus, lock], ['running', 'running', undefined]);
    assert.deepEqual(await data('GET', `/nodes/${node}/storage/${STORE}/content?vmid=7505`), []);
    assert.equal(await task('POST', `/nodes/${node}/vzdump`, { vmid: '7505', storage: STORE }), 'OK');
  });
});
