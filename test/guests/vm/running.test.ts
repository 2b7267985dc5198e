// Operations on guests whose QEMU runs, while nothing in them matters: what is so in QEMU at that moment.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { QmpClient } from '../../../src/guests/qmp/qmp-client.ts';
import { queryStatus } from '../../../src/guests/qmp/qmp-types.ts';
import { configureVm } from '../../../src/guests/vm/configure.ts';
import { createVm } from '../../../src/guests/vm/create.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { resumeVm } from '../../../src/guests/vm/pause.ts';
import { shutdownVm } from '../../../src/guests/vm/shutdown.ts';
import { snapshotVm } from '../../../src/guests/vm/snapshot.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import { VirtualMachines } from '../../../src/guests/vm/virtual-machines.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { changedNode } from '../../support/guests/changed-node.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';

const GIB_OF_A_MIB = '0.0009765625';
const SETTINGS = {
  ...{ cores: '1', memory: '192', vga: 'none', balloon: '0', kvm: '0', tablet: '0', scsihw: 'virtio-scsi-pci' },
  ...{ scsi0: `local:${GIB_OF_A_MIB}`, scsi1: `local:${GIB_OF_A_MIB}` },
};
const skip = await reasonToSkipGuest();

suite('guests that run', { skip, timeout: 120_000 }, () => {
  const report = new KeptReport();
  let place: TestNode;
  let next = 7500;

  before(async () => {
    place = await TestNode.create();
  });

  after(async () => {
    await place?.remove();
  });

  async function made(more: Record<string, string> = {}): Promise<GuestId> {
    const id = parseGuestId(next++);
    await createVm(place.node, id, { ...SETTINGS, ...more }, {}, report);
    return id;
  }

  const statusOf = async (id: GuestId): Promise<string> => (await lookAtMachine(place.node, id)).status;

  test('a snapshot is of one instant: no storage takes its part while the guest runs, which goes on then', async () => {
    const id = await made();
    await startVm(place.node, id, {}, report);
    const seen: string[] = [];
    // As of a storage that takes snapshots itself, also while QEMU has the disk.
    const node = changedNode(place.node, ({ name, storage }) => ({
      snapshotMode: (each) => (each.includes('disk-1') ? 'storage' : storage.snapshotMode(each)),
      snapshots: async (each) => (each.includes('disk-1') ? [] : await storage.snapshots(each)),
      snapshot: async () => {
        const monitor = await QmpClient.connect(place.node.directory.run(id).backupMonitor);
        seen.push(`${name}: ${(await queryStatus(monitor)).status}`);
        monitor.close();
        if (seen.length === 2) throw new HoldfastError('target-failed', 'the storage refused');
      },
    }));
    await snapshotVm(node, id, 'one', {}, report);
    assert.deepEqual(seen, [`${id}/vm-${id}-disk-1.qcow2: paused`]);
    assert.equal(await statusOf(id), 'running');
    const { storage, name } = await place.node.storages.resolve(`local:${id}/vm-${id}-disk-0.qcow2`);
    assert.deepEqual(await storage.snapshots(name), ['one']);
    await assert.rejects(snapshotVm(node, id, 'two', {}, report), { code: 'target-failed' });
    assert.equal(await statusOf(id), 'running');
    assert.deepEqual(await storage.snapshots(name), ['one']);
    assert.deepEqual([...(await place.node.configs.read(id)).config.snapshots.keys()], ['one']);
    await stopVm(place.node, id, {}, report);
  });

  test('a guest that runs becomes no template, and one with freeze waits to be resumed', async () => {
    const id = await made({ freeze: '1' });
    await startVm(place.node, id, {}, report);
    assert.equal(await statusOf(id), 'prelaunch');
    await resumeVm(place.node, id, {});
    assert.equal(await statusOf(id), 'running');
    const machines = new VirtualMachines(place.node, assert.fail);
    const work = { signal: new AbortController().signal, log: report.log, warn: report.warn };
    await assert.rejects(machines.makeTemplate(id, {}, work), { code: 'guest-running' });
    await assert.rejects(configureVm(place.node, id, { set: { template: '1' }, remove: [] }, report), {
      code: 'guest-running',
    });
    await stopVm(place.node, id, {}, report);
    await machines.makeTemplate(id, {}, work);
    await assert.rejects(startVm(place.node, id, {}, report), { code: 'bad-argument' });
  });

  test('a shutdown waits for the guest, as long as it may take', async () => {
    const id = await made();
    await startVm(place.node, id, { paused: 'unmarked' }, report);
    const began = performance.now();
    // Its system has not begun to look at its power button.
    await assert.rejects(shutdownVm(place.node, id, { timeoutMs: 700 }, report), { code: 'timed-out' });
    assert.ok(performance.now() - began >= 700);
    assert.notEqual(await statusOf(id), 'stopped');
    const stop = new AbortController();
    const waiting = shutdownVm(place.node, id, { signal: stop.signal }, report);
    setTimeout(() => stop.abort(), 300);
    await assert.rejects(waiting, { name: 'AbortError' });
    assert.notEqual(await statusOf(id), 'stopped');
    await stopVm(place.node, id, {}, report);
  });

  test('the guest’s card sees whether the cable is there', async () => {
    const id = await made({ net0: 'e1000,link_down=1' });
    await startVm(place.node, id, {}, report);
    assert.equal(await linkOf(id), false, 'as it is started');
    const net = (await place.node.configs.read(id)).config.values.get('net0') ?? '';
    for (const [value, isUp] of [
      [net.replace(/,link_down=1/, ''), true],
      [net, false],
    ] as const) {
      assert.deepEqual(await configureVm(place.node, id, { set: { net0: value }, remove: [] }, report), []);
      // A card takes half a second to agree on a speed.
      for (let tries = 0; tries < 50 && (await linkOf(id)) !== isUp; tries++) await sleep(100);
      assert.equal(await linkOf(id), isUp);
    }
    await stopVm(place.node, id, {}, report);
  });

  /** The bit of the card's own register that says it (LU of STATUS, 8254x manual), read at the address that the firmware gave it. */
  async function linkOf(id: GuestId): Promise<boolean> {
    const human = async (line: string): Promise<string> =>
      await withMonitor(place.node, id, (monitor) =>
        monitor.execute('human-monitor-command', { 'command-line': line }),
      );
    for (let tries = 0; tries < 100; tries++) {
      const [, address] =
        /Ethernet controller[\s\S]*?BAR0: 32 bit memory at (0x[0-9a-f]{5,})/.exec(await human('info pci')) ?? [];
      const value = address && /: (0x[0-9a-f]+)/.exec(await human(`xp /1wx ${address} + 8`))?.[1];
      if (value && Number(value) !== 0xffffffff) return (Number(value) & 2) !== 0;
      await sleep(100);
    }
    return assert.fail('the firmware gave the card no address');
  }
});
