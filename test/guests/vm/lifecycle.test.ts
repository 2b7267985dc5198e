// The life of a real guest under our operations: what is set is seen in the guest, what is rolled back is what it was, what is destroyed is gone.
import assert from 'node:assert/strict';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDrive } from '../../../src/guests/config/drive.ts';
import { parseNetDevice } from '../../../src/guests/config/net-device.ts';
import { hasGone } from '../../../src/guests/qemu/qemu-process.ts';
import { readRunningMachine } from '../../../src/guests/qemu/running-machine.ts';
import { queryBlockDevices } from '../../../src/guests/qmp/qmp-types.ts';
import { agentCommand } from '../../../src/guests/vm/agent-command.ts';
import { cloneVm } from '../../../src/guests/vm/clone.ts';
import { configureVm } from '../../../src/guests/vm/configure.ts';
import { createVm } from '../../../src/guests/vm/create.ts';
import { deleteSnapshotVm } from '../../../src/guests/vm/delete-snapshot.ts';
import { destroyVm } from '../../../src/guests/vm/destroy.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { resizeVm } from '../../../src/guests/vm/resize.ts';
import { rollbackVm } from '../../../src/guests/vm/rollback.ts';
import { shutdownVm } from '../../../src/guests/vm/shutdown.ts';
import { snapshotVm } from '../../../src/guests/vm/snapshot.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { pendingChanges } from '../../../src/guests/vm/started-config.ts';
import { watchGuests } from '../../../src/guests/watch/watch-guests.ts';
import { isWatched } from '../../../src/guests/watch/watch-lock.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import type { GuestPort } from '../../support/guests/guest-port.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';

const MIB = 1 << 20;
const BASICS = {
  agent: '1',
  cores: '1',
  memory: '192',
  scsihw: 'virtio-scsi-pci',
  vga: 'none',
  balloon: '0',
  kvm: '0',
  tablet: '0',
};
const skip = await reasonToSkipGuest();

suite('the life of a guest', { skip, timeout: 240_000 }, () => {
  const id = parseGuestId(7101);
  const report = new KeptReport();
  let test_: TestNode;
  let port: GuestPort;

  before(async () => {
    test_ = await TestNode.create();
    const disks = { scsi0: 'local:0.0625,serial=first', scsi1: 'local:0.0625,serial=second' };
    await createVm(
      test_.node,
      id,
      { name: 'one', net0: 'virtio', ide2: 'none,media=cdrom', ...disks, ...BASICS },
      {},
      report,
    );
    await startVm(test_.node, id, {}, report);
    port = await test_.port();
  });

  after(async () => {
    port?.close();
    await test_?.remove();
  });

  async function configOf(of: GuestId): Promise<ReadonlyMap<string, string>> {
    return (await test_.node.configs.read(of)).config.values;
  }

  async function sizesInGuest(): Promise<number[]> {
    const { disks } = (await port.ask('disks')) as { disks: { sizeBytes: number }[] };
    return disks.map(({ sizeBytes }) => sizeBytes / MIB).sort((a, b) => b - a);
  }

  /** Linux names disks in the order in which they answer. */
  async function nameOf(serial: string): Promise<string> {
    const { disks } = (await port.ask('disks')) as { disks: { name: string; serial: string }[] };
    return disks.find((disk) => disk.serial === serial)?.name ?? assert.fail(`no disk ${serial}`);
  }

  async function restart(): Promise<void> {
    port.close();
    await startVm(test_.node, id, {}, report);
    port = await test_.port();
  }

  test('a guest that was made has an identity, and its agent answers', async () => {
    const values = await configOf(id);
    assert.equal(values.get('lock'), undefined);
    assert.match(values.get('smbios1') ?? '', /^uuid=[0-9a-f-]{36}$/);
    assert.match(values.get('meta') ?? '', /^creation-qemu=\d+\.\d+.*,ctime=\d+$/);
    assert.ok(parseNetDevice('net0', values.get('net0') ?? '').macaddr);
    assert.equal(values.get('scsi1'), 'local:7101/vm-7101-disk-1.qcow2,serial=second,size=64M');
    assert.deepEqual(await agentCommand(test_.node, id, 'ping', undefined), {});
    await assert.rejects(createVm(test_.node, id, {}, {}, report), { code: 'exists' });
  });

  test('I/O limits change at once; memory waits for the next start', async () => {
    const disk = `${(await configOf(id)).get('scsi0')},iops_rd=900,mbps_wr=10`;
    assert.deepEqual(await configureVm(test_.node, id, { set: { scsi0: disk, memory: '256' }, remove: [] }, report), [
      'memory',
    ]);
    const limits = await limitsOf('scsi0');
    assert.equal(limits['iops-read'], 900);
    assert.equal(limits['bps-write'], 10 * MIB);
    assert.deepEqual(await pendingChanges(test_.node, id), [{ key: 'memory', running: '192', configured: '256' }]);
    const plain = disk.replace(/,iops_rd=900,mbps_wr=10/, '');
    assert.deepEqual(
      await configureVm(test_.node, id, { set: { scsi0: plain, memory: '192' }, remove: [] }, report),
      [],
    );
    assert.equal((await limitsOf('scsi0'))['iops-read'], 0);
  });

  async function limitsOf(key: string): Promise<Record<string, number>> {
    return await withMonitor(test_.node, id, (monitor) =>
      monitor.execute('qom-get', { path: `/objects/tg-${key}`, property: 'limits' }),
    );
  }

  test('a disk comes and goes while the guest runs', async () => {
    const node = test_.node;
    await configureVm(node, id, { set: { scsi2: 'local:0.03125,discard=on' }, remove: [] }, report);
    await eventually(async () => assert.deepEqual(await sizesInGuest(), [64, 64, 32]));
    assert.ok((await readRunningMachine(node.directory.run(id))).disks.some(({ key }) => key === 'scsi2'));
    await configureVm(node, id, { set: {}, remove: ['scsi2'] }, report);
    await eventually(async () => assert.deepEqual(await sizesInGuest(), [64, 64]));
    assert.ok(!(await readRunningMachine(node.directory.run(id))).disks.some(({ key }) => key === 'scsi2'));
    assert.equal((await configOf(id)).get('unused0'), 'local:7101/vm-7101-disk-2.qcow2');
    await configureVm(node, id, { set: {}, remove: ['unused0'] }, report);
    assert.deepEqual(await volumes(id), ['vm-7101-disk-0.qcow2', 'vm-7101-disk-1.qcow2']);
  });

  test('of disks that come together all come or none', async () => {
    const broken = join(test_.path, 'broken.qcow2');
    await writeFile(broken, 'no image');
    const { node } = test_;
    const before = await node.configs.read(id);
    const set = { scsi2: 'local:0.03125', scsi3: `${broken},format=qcow2` };
    await assert.rejects(configureVm(node, id, { set, remove: [] }, report), { code: 'guest-failed' });
    assert.equal((await node.configs.read(id)).digest, before.digest);
    assert.deepEqual(await volumes(id), ['vm-7101-disk-0.qcow2', 'vm-7101-disk-1.qcow2']);
    assert.ok(!(await readRunningMachine(node.directory.run(id))).disks.some(({ key }) => key === 'scsi2'));
    await eventually(async () => assert.deepEqual(await sizesInGuest(), [64, 64]));
  });

  test('a CD drive gets a medium and gives it back; a cable is pulled', async () => {
    const medium = join(test_.path, 'medium.iso');
    await writeFile(medium, Buffer.alloc(4 * MIB));
    const inDrive = async () => {
      const devices = await withMonitor(test_.node, id, (monitor) => queryBlockDevices(monitor));
      return devices.find(({ qdev }) => qdev?.includes('ide2'))?.nodeName;
    };
    const { node } = test_;
    assert.equal(await inDrive(), undefined);
    assert.deepEqual(await configureVm(node, id, { set: { ide2: `${medium},media=cdrom` }, remove: [] }, report), []);
    assert.equal(await inDrive(), 't-ide2');
    assert.deepEqual(await configureVm(node, id, { set: { ide2: 'none,media=cdrom' }, remove: [] }, report), []);
    assert.equal(await inDrive(), undefined);
    const net = (await configOf(id)).get('net0') ?? '';
    assert.deepEqual(await configureVm(node, id, { set: { net0: `${net},link_down=1` }, remove: [] }, report), []);
    assert.deepEqual(await configureVm(node, id, { set: { net0: net }, remove: [] }, report), []);
  });

  test('nothing is plugged while a backup holds the guest, nor with an old digest', async () => {
    const { config, digest } = await test_.node.configs.read(id);
    await test_.node.configs.write(id, { ...config, values: new Map([...config.values, ['lock', 'backup']]) });
    const change = { set: { scsi2: 'local:0.03125' }, remove: [] };
    await assert.rejects(configureVm(test_.node, id, change, report), { code: 'guest-locked' });
    await test_.node.configs.write(id, config);
    await assert.rejects(configureVm(test_.node, id, { ...change, digest: '0'.repeat(40) }, report), {
      code: 'config-changed',
    });
    assert.equal((await test_.node.configs.read(id)).digest, digest);
    assert.deepEqual(await volumes(id), ['vm-7101-disk-0.qcow2', 'vm-7101-disk-1.qcow2']);
  });

  test('a disk that grows is larger in the guest', async () => {
    await resizeVm(test_.node, id, { disk: 'scsi1', size: '+32M' }, report);
    await eventually(async () => assert.deepEqual(await sizesInGuest(), [96, 64]));
    assert.equal(parseDrive('scsi1', (await configOf(id)).get('scsi1') ?? '').size, 96 * MIB);
    await assert.rejects(resizeVm(test_.node, id, { disk: 'scsi1', size: '64M' }, report), { code: 'bad-argument' });
  });

  test('a rollback gives the bytes and the settings of the snapshot', async () => {
    const then = await port.ask(`write ${await nameOf('first')} 1048576 1048576 7`);
    await port.ask(`counter START ${await nameOf('second')}`);
    await snapshotVm(test_.node, id, 'before', { description: 'as it was' }, report);
    await port.ask(`write ${await nameOf('first')} 1048576 1048576 8`);
    await configureVm(test_.node, id, { set: { name: 'two' }, remove: [] }, report);
    port.close();
    await rollbackVm(test_.node, id, 'before', { start: true }, report);
    port = await test_.port();
    assert.equal((await port.ask(`checksum ${await nameOf('first')} 1048576 1048576`)).crc32, then.crc32);
    const { config } = await test_.node.configs.read(id);
    assert.equal(config.values.get('name'), 'one');
    assert.equal(config.values.get('parent'), 'before');
    assert.equal(config.snapshots.get('before')?.description, 'as it was');
    await deleteSnapshotVm(test_.node, id, 'before', {}, report);
    const left = (await test_.node.configs.read(id)).config;
    assert.equal(left.snapshots.size, 0);
    assert.equal(left.values.get('parent'), undefined);
    const { storage, name } = await test_.node.storages.resolve('local:7101/vm-7101-disk-0.qcow2');
    assert.deepEqual(await storage.snapshots(name), []);
  });

  test('a guest that ignores everything is stopped when its time is over', async () => {
    await port.ask('set acpi ignore');
    await port.ask('set agent silent');
    await assert.rejects(shutdownVm(test_.node, id, { timeoutMs: 300 }, report), { code: 'timed-out' });
    await shutdownVm(test_.node, id, { timeoutMs: 300, forceStop: true }, report);
    await requireNothingRuns(test_, id);
  });

  test('a QEMU that was killed is noticed, and the next start works', async () => {
    await startVm(test_.node, id, {}, report);
    const { pid } = await lookAtMachine(test_.node, id);
    process.kill(pid as number, 'SIGKILL');
    await hasGone(test_.node.directory.run(id), 5_000);
    assert.equal((await lookAtMachine(test_.node, id)).status, 'stopped');
    await restart();
    await port.ask('set agent silent');
    await shutdownVm(test_.node, id, { timeoutMs: 20_000 }, report);
    assert.ok(report.logs.includes('pressed the power button'));
    await requireNothingRuns(test_, id);
  });

  test('the watch puts away a guest that powered itself off', async () => {
    const ended = new AbortController();
    const said = new KeptReport();
    const watch = watchGuests(test_.node, ended.signal, said, { lookMs: 200 });
    await restart();
    assert.ok(await isWatched(test_.node.directory));
    assert.equal(await watchGuests(test_.node, ended.signal, said), false);
    // As if somebody had died between freezing and thawing.
    const { frozenMarker } = test_.node.directory.run(id);
    await writeFile(frozenMarker, '');
    await eventually(async () => await assert.rejects(access(frozenMarker), { code: 'ENOENT' }));
    assert.deepEqual(said.warnings, [], 'nothing was frozen');
    await port.ask('poweroff');
    await eventually(async () => await requireNothingRuns(test_, id));
    ended.abort();
    assert.equal(await watch, true);
    assert.ok(
      said.logs.some((line) => line.includes('put away')),
      said.logs.join('\n'),
    );
    assert.equal(await isWatched(test_.node.directory), false);
  });

  test('a clone has its own identity, and its disks are copies', async () => {
    const newId = parseGuestId(7102);
    await cloneVm(test_.node, id, newId, { name: 'copy' }, report);
    const [old, clone] = [await configOf(id), await configOf(newId)];
    for (const key of ['net0', 'smbios1', 'vmgenid']) assert.notEqual(clone.get(key), old.get(key), key);
    assert.equal(clone.get('name'), 'copy');
    assert.equal(clone.get('scsi1'), 'local:7102/vm-7102-disk-1.qcow2,serial=second,size=96M');
    port.close();
    await startVm(test_.node, newId, {}, report);
    port = await test_.port();
    const interfaces = JSON.stringify(await agentCommand(test_.node, newId, 'network-get-interfaces', undefined));
    assert.ok(interfaces.includes(parseNetDevice('net0', clone.get('net0') ?? '').macaddr?.toLowerCase() ?? '?'));
    await assert.rejects(destroyVm(test_.node, newId, {}, report), { code: 'guest-running' });
    await shutdownVm(test_.node, newId, { timeoutMs: 20_000 }, report);
    await configureVm(test_.node, newId, { set: { protection: '1' }, remove: [] }, report);
    await assert.rejects(destroyVm(test_.node, newId, {}, report), { code: 'protected' });
    await configureVm(test_.node, newId, { set: {}, remove: ['protection'] }, report);
    await configureVm(test_.node, newId, { set: {}, remove: ['scsi1'] }, report);
    await destroyVm(test_.node, newId, {}, report);
    await requireNothingLeft(test_, newId);
  });

  async function volumes(of: GuestId): Promise<string[]> {
    return (await readdir(imagesOf(test_, of)).catch(() => [])).sort();
  }
});

async function requireNothingRuns({ node }: TestNode, id: GuestId): Promise<void> {
  assert.equal((await lookAtMachine(node, id)).pid, undefined);
  const links = await readdir('/sys/class/net');
  assert.deepEqual(
    links.filter((name) => name.startsWith(`tap${id}`)),
    [],
  );
  const groups = await readFile('/proc/self/mountinfo', 'utf8');
  for (const line of groups.split('\n').filter((each) => / - cgroup2? /.test(each)))
    await assert.rejects(access(join(line.split(' ')[4] as string, node.directory.name, `vm-${id}`)), {
      code: 'ENOENT',
    });
}

async function requireNothingLeft(test_: TestNode, id: GuestId): Promise<void> {
  await requireNothingRuns(test_, id);
  const { node } = test_;
  await assert.rejects(node.configs.read(id), { code: 'not-found' });
  for (const path of [node.directory.guestPath(id), node.directory.run(id).path, imagesOf(test_, id)])
    await assert.rejects(access(path), { code: 'ENOENT' }, path);
}

async function eventually(check: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await check();
    } catch (error) {
      if (tries === 100) throw error;
      await sleep(100);
    }
  }
}

function imagesOf({ path }: TestNode, id: GuestId): string {
  return join(path, 'storage', 'local', 'images', String(id));
}
