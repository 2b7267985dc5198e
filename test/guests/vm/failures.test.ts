// Operations that fail or meet each other: what fails leaves nothing behind, and of two at once one waits or is refused. No guest boots for these.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { GuestService } from '../../../src/api/guest/services.ts';
import { readBitmapRecords, writeBitmapRecord } from '../../../src/guests/bitmaps/bitmap-records.ts';
import { parseVmConfig } from '../../../src/guests/config/vm-config.ts';
import { lockGuest } from '../../../src/guests/guest-lock.ts';
import { findQemu } from '../../../src/guests/qemu/qemu-process.ts';
import { cloneVm } from '../../../src/guests/vm/clone.ts';
import { configureVm } from '../../../src/guests/vm/configure.ts';
import { createVm } from '../../../src/guests/vm/create.ts';
import { deleteSnapshotVm } from '../../../src/guests/vm/delete-snapshot.ts';
import { destroyVm } from '../../../src/guests/vm/destroy.ts';
import { listSnapshots } from '../../../src/guests/vm/list-snapshots.ts';
import { lookAtMachine } from '../../../src/guests/vm/machine-state.ts';
import { resizeVm } from '../../../src/guests/vm/resize.ts';
import { rollbackVm } from '../../../src/guests/vm/rollback.ts';
import { snapshotVm } from '../../../src/guests/vm/snapshot.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { startAll, stopAll } from '../../../src/guests/vm/startup-order.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import { unlockVm } from '../../../src/guests/vm/unlock.ts';
import { VirtualMachines } from '../../../src/guests/vm/virtual-machines.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

const BASICS = {
  cores: '1',
  memory: '64',
  scsihw: 'virtio-scsi-pci',
  vga: 'none',
  balloon: '0',
  kvm: '0',
  tablet: '0',
};
const GIB_OF_A_MIB = '0.0009765625';
const skip = await reasonToSkipGuest();

suite('operations that fail', { skip, timeout: 120_000 }, () => {
  const report = new KeptReport();
  let place: TestNode;

  before(async () => {
    place = await TestNode.create();
  });

  after(async () => {
    await place?.remove();
  });

  function disk(options = ''): string {
    return `local:${GIB_OF_A_MIB}${options}`;
  }

  async function made(number: number, settings: Record<string, string> = {}): Promise<GuestId> {
    const id = parseGuestId(number);
    await createVm(place.node, id, { ...BASICS, scsi0: disk(), ...settings }, {}, report);
    return id;
  }

  async function filesOf(id: GuestId): Promise<string[]> {
    const images = join(place.path, 'storage', 'local', 'images', String(id));
    const conf = join(place.path, 'qemu-server', `${id}.conf`);
    const all = [conf, images, place.node.directory.guestPath(id), place.node.directory.run(id).path];
    const there = await Promise.all(
      all.map((path) =>
        access(path).then(
          () => path,
          () => undefined,
        ),
      ),
    );
    return there.filter((path) => path !== undefined);
  }

  test('a guest that cannot be made leaves nothing', async () => {
    const id = parseGuestId(7201);
    const attempt = (settings: Record<string, string>) =>
      createVm(place.node, id, { ...BASICS, ...settings }, {}, report);
    await assert.rejects(attempt({ scsi0: disk(), scsi1: 'nowhere:1' }), { code: 'not-found' });
    assert.deepEqual(await filesOf(id), []);
    await assert.rejects(attempt({ scsi0: disk(), scsi1: `local:0,import-from=/dev/shm/hf-no-such-file` }), {
      code: 'not-found',
    });
    assert.deepEqual(await filesOf(id), []);
    await assert.rejects(attempt({ nonsense: '1' }), { code: 'bad-argument' });
    assert.deepEqual(await filesOf(id), []);
  });

  test('a start that fails leaves no process, no socket and no tap', async () => {
    const id = await made(7202, { net0: 'virtio' });
    const config = (await place.node.configs.read(id)).config;
    const broken = (values: Record<string, string>) =>
      place.node.configs.write(id, { ...config, values: new Map([...config.values, ...Object.entries(values)]) });
    await broken({ scsi1: 'local:7202/vm-7202-disk-9.qcow2' });
    await assert.rejects(startVm(place.node, id, {}, report), { code: 'not-found' });
    const image = join(place.path, 'not-an-image.qcow2');
    await writeFile(image, 'no image');
    await broken({ scsi1: `${image},format=qcow2` });
    await assert.rejects(startVm(place.node, id, {}, report), { code: 'guest-failed', message: /qcow2/ });
    assert.equal(await findQemu(place.node.directory.run(id)), undefined);
    assert.equal((await lookAtMachine(place.node, id)).status, 'stopped');
    const links = await readdir('/sys/class/net');
    assert.deepEqual(
      links.filter((name) => name.startsWith(`tap${id}`)),
      [],
    );
    await place.node.configs.write(id, config);
    await startVm(place.node, id, { paused: 'unmarked' }, report);
    await assert.rejects(startVm(place.node, id, {}, report), { code: 'guest-running' });
    await stopVm(place.node, id, {}, report);
    await destroyVm(place.node, id, {}, report);
    assert.deepEqual(await filesOf(id), []);
  });

  test('a guest whose starter was killed is adopted by the next command', async () => {
    const id = await made(7203);
    const code = `
      import { openGuestNode } from '${new URL('../../../src/guests/guest-node.ts', import.meta.url)}';
      import { startVm } from '${new URL('../../../src/guests/vm/start.ts', import.meta.url)}';
      const node = await openGuestNode(${JSON.stringify(place.path)});
      await startVm(node, ${id}, { paused: 'unmarked' }, { log() {}, warn() {} });
      process.kill(process.pid, 'SIGKILL');`;
    const script = join(place.path, 'start.mts');
    await writeFile(script, code);
    const root = new URL('../../../', import.meta.url).pathname;
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    assert.equal(await signalOf(child), 'SIGKILL');
    assert.equal((await lookAtMachine(place.node, id)).status, 'prelaunch');
    await stopVm(place.node, id, {}, report);
    assert.equal((await lookAtMachine(place.node, id)).status, 'stopped');
  });

  test('the drive of cloud-init is made at each start, from what is configured then', {
    skip: reasonForTools('genisoimage'),
  }, async () => {
    const id = await made(7212, {
      ...{ ide2: 'local:cloudinit', ciuser: 'ann', cipassword: 'so-secret-a-word', name: 'cloudy' },
      ...{ net0: 'virtio=BC:24:11:00:00:01', ipconfig0: 'ip=192.0.2.10/24,gw=192.0.2.1', nameserver: '192.0.2.53' },
    });
    const { values } = (await place.node.configs.read(id)).config;
    assert.match(values.get('ide2') ?? '', /^local:7212\/vm-7212-cloudinit\.qcow2,media=cdrom/);
    assert.match(values.get('cipassword') ?? '', /^\$6\$/);
    const content = async () => {
      await startVm(place.node, id, { paused: 'unmarked' }, report);
      await stopVm(place.node, id, {}, report);
      return await readFile(await place.rawCopy(id, 'ide2'), 'latin1');
    };
    const drive = await content();
    assert.match(drive, /hostname: "?cloudy.*user: "?ann/s);
    assert.match(drive, /password: "\$6\$/);
    assert.doesNotMatch(drive, /so-secret-a-word/);
    assert.match(
      drive,
      /mac_address: "bc:24:11:00:00:01".*address: "192\.0\.2\.10".*gateway: "192\.0\.2\.1".*"192\.0\.2\.53"/s,
    );
    await configureVm(place.node, id, { set: { ciuser: 'bob' }, remove: [] }, report);
    assert.match(await content(), /user: "?bob/);
    await configureVm(place.node, id, { set: {}, remove: ['ide2'] }, report);
    assert.deepEqual(await readdir(join(place.path, 'storage', 'local', 'images', '7212')), ['vm-7212-disk-0.qcow2']);
  });

  test('a volume that a running guest has open is put aside, and freed when it is deleted later', async () => {
    const id = await made(7217, { ide0: disk() });
    await startVm(place.node, id, { paused: 'unmarked' }, report);
    const change = { set: {}, remove: ['ide0'], force: true };
    assert.deepEqual(await configureVm(place.node, id, change, report), ['ide0']);
    const volume = 'local:7217/vm-7217-disk-1.qcow2';
    assert.equal((await place.node.configs.read(id)).config.values.get('unused0'), volume);
    await stopVm(place.node, id, {}, report);
    await configureVm(place.node, id, { set: {}, remove: ['unused0'] }, report);
    await assert.rejects(place.node.storages.volume(volume), { code: 'not-found' });
  });

  test('two operations at once: the second waits for the first, or is refused', async () => {
    const id = await made(7204);
    const lock = await lockGuest(place.node.directory, id);
    const waiting = configureVm(place.node, id, { set: { name: 'late' }, remove: [] }, report);
    await assert.rejects(lockGuest(place.node.directory, id, { waitMs: 0 }), { code: 'guest-locked' });
    lock.release();
    assert.deepEqual(await waiting, []);
    const names = ['one', 'two', 'three'];
    await Promise.all(names.map((name) => snapshotVm(place.node, id, name, {}, report)));
    const { config } = await place.node.configs.read(id);
    assert.deepEqual(
      listSnapshots(config)
        .map(({ name }) => name)
        .sort(),
      names.sort(),
    );
  });

  test('disks that have no snapshots are refused before anything is done', async () => {
    const id = await made(7205, { scsi1: disk(',format=raw') });
    await assert.rejects(snapshotVm(place.node, id, 'never', {}, report), { code: 'target-unfit', message: /scsi1/ });
    const { config } = await place.node.configs.read(id);
    assert.equal(config.snapshots.size, 0);
    assert.equal(config.values.get('lock'), undefined);
    const { storage, name } = await place.node.storages.resolve(
      (config.values.get('scsi0') as string).split(',')[0] as string,
    );
    assert.deepEqual(await storage.snapshots(name), []);
  });

  test('deleting a snapshot gives its children its parent; a cut-off one is deleted too', async () => {
    const id = await made(7206);
    for (const name of ['first', 'second', 'third']) await snapshotVm(place.node, id, name, {}, report);
    await deleteSnapshotVm(place.node, id, 'second', {}, report);
    let { config } = await place.node.configs.read(id);
    assert.equal(config.snapshots.get('third')?.values.get('parent'), 'first');
    const third = config.snapshots.get('third');
    const cut = new Map([...(third?.values ?? []), ['snapstate', 'delete'] as const]);
    const snapshots = new Map([...config.snapshots, ['third', { values: cut, description: undefined }] as const]);
    await place.node.configs.write(id, {
      ...config,
      snapshots,
      values: new Map([...config.values, ['lock', 'snapshot-delete']]),
    });
    await assert.rejects(rollbackVm(place.node, id, 'first', {}, report), { code: 'guest-locked' });
    await deleteSnapshotVm(place.node, id, 'third', {}, report);
    config = (await place.node.configs.read(id)).config;
    assert.equal(config.values.get('lock'), undefined);
    assert.equal(config.values.get('parent'), 'first');
    await assert.rejects(deleteSnapshotVm(place.node, id, 'third', {}, report), { code: 'not-found' });
  });

  test('a rollback puts newer disks aside, and a volume of a snapshot is not freed', async () => {
    const id = await made(7207);
    await snapshotVm(place.node, id, 'early', {}, report);
    await configureVm(place.node, id, { set: { scsi1: disk() }, remove: [] }, report);
    await resizeVm(place.node, id, { disk: 'scsi1', size: '2M' }, report);
    const disks = { scsi0: { bitmap: 'hf-0a1b2c3d-1', root: 'r', volume: 'v', sizeBytes: 1 } };
    await writeBitmapRecord(place.node.directory, id, '0a1b2c3d', { snapshot: 's', disks });
    await rollbackVm(place.node, id, 'early', {}, report);
    assert.deepEqual(await readBitmapRecords(place.node.directory, id), {}, 'nothing of before is believed');
    const { values } = (await place.node.configs.read(id)).config;
    assert.equal(values.get('scsi1'), undefined);
    assert.equal(values.get('unused0'), 'local:7207/vm-7207-disk-1.qcow2');
    const change = { set: {}, remove: ['scsi0'], force: true };
    await assert.rejects(configureVm(place.node, id, change, report), { code: 'protected' });
    await destroyVm(place.node, id, {}, report);
    assert.deepEqual(await filesOf(id), []);
  });

  test('what a killed create left is destroyed without unlocking it', async () => {
    const id = parseGuestId(7208);
    await place.node.configs.create(id, parseVmConfig('lock: create\n', 'test'));
    const storage = await place.node.storages.get('local');
    await storage.allocate({ vmid: id, sizeBytes: 1 << 20, format: 'raw' });
    await assert.rejects(startVm(place.node, id, {}, report), { code: 'guest-locked' });
    await destroyVm(place.node, id, {}, report);
    assert.deepEqual(await filesOf(id), []);
    const locked = await made(7209, {});
    const { config } = await place.node.configs.read(locked);
    await place.node.configs.write(locked, { ...config, values: new Map([...config.values, ['lock', 'rollback']]) });
    await assert.rejects(destroyVm(place.node, locked, {}, report), { code: 'guest-locked' });
    await unlockVm(place.node, locked);
    await destroyVm(place.node, locked, {}, report);
  });

  test('a clone that fails leaves nothing, and one of a snapshot has its settings', async () => {
    const id = await made(7210, { scsi1: disk(), name: 'source' });
    await snapshotVm(place.node, id, 'then', {}, report);
    await configureVm(place.node, id, { set: { memory: '128' }, remove: ['scsi1'] }, report);
    const newId = parseGuestId(7211);
    await assert.rejects(cloneVm(place.node, id, newId, { storage: 'nowhere' }, report), { code: 'not-found' });
    assert.deepEqual(await filesOf(newId), []);
    await cloneVm(place.node, id, newId, { snapshot: 'then' }, report);
    const { values } = (await place.node.configs.read(newId)).config;
    assert.equal(values.get('memory'), '64');
    assert.equal(values.get('name'), 'Copy-of-source');
    assert.equal(values.get('lock'), undefined);
    assert.match(values.get('scsi1') ?? '', /^local:7211\/vm-7211-disk-1\.qcow2/);
  });

  test('guests start in their order and stop in its reverse; one that fails stops none', async () => {
    const nodeIds = await place.node.configs.list();
    for (const id of nodeIds) await destroyVm(place.node, id, {}, report);
    await made(7213, { onboot: '1', startup: 'order=2' });
    await made(7214, { onboot: '1', startup: 'order=1,down=0' });
    await made(7215, { onboot: '1', scsi1: '/dev/shm/hf-no-such-disk' });
    await made(7216);
    const started = await startAll(place.node, {}, report);
    assert.deepEqual([...started.keys()], [7214, 7213, 7215]);
    assert.ok(started.get(parseGuestId(7215)) instanceof Error);
    const stopped = await stopAll(place.node, { timeoutMs: 0 }, report);
    assert.deepEqual([...stopped.keys()], [7213, 7214]);
    assert.deepEqual([...stopped.values()], [undefined, undefined]);
  });

  test('the class of all operations is what the API asks for', async () => {
    const machines: GuestService = new VirtualMachines(place.node, assert.fail);
    const signal = new AbortController().signal;
    const work = { signal, log: report.log, warn: report.warn, progress: () => {} };
    await machines.create(7220, { settings: { ...BASICS, name: 'api', scsi0: disk() } }, work);
    assert.ok(await machines.exists(7220));
    assert.equal((await machines.list()).find(({ vmid }) => vmid === 7220)?.name, 'api');
    assert.equal((await machines.status(7220)).qmpStatus, 'stopped');
    assert.equal(await machines.hasFeature(7220, 'snapshot'), true);
    await machines.snapshot(7220, 'now', { description: 'a', withMemory: false }, work);
    await machines.describeSnapshot(7220, 'now', 'b');
    assert.equal((await machines.snapshots(7220)).snapshots[0]?.description, 'b');
    await machines.moveDisk(7220, { disk: 'scsi0', storage: 'local', format: 'raw', deletesOld: false }, work);
    const { values } = await machines.config(7220, {});
    assert.match(values.scsi0 ?? '', /^local:7220\/vm-7220-disk-1\.raw/);
    assert.match(values.unused0 ?? '', /disk-0\.qcow2$/);
    await machines.destroy(7220, { purge: true, destroyUnreferencedDisks: false, skipLock: false }, work);
    assert.deepEqual(await filesOf(parseGuestId(7220)), []);
  });
});

async function signalOf(child: ChildProcess): Promise<NodeJS.Signals | null> {
  return await new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
}
