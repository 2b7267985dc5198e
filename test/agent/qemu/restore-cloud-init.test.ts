// The cloud-init drive of a guest that is restored: named on the storage of the restore, made at the start, gone again with a restore that is undone.
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { leavePlace, reservePlace } from '../../../src/agent/qemu/restore-place.ts';
import { planRestore } from '../../../src/agent/qemu/restore-plan.ts';
import type { VmSnapshot } from '../../../src/agent/qemu/restore-source.ts';
import { restoreVm } from '../../../src/agent/qemu/restore-vm.ts';
import { withSettings } from '../../../src/guests/config/vm-config.ts';
import { writeCloudInit } from '../../../src/guests/vm/write-cloud-init.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, type TestNode } from '../../support/guests/vm-node.ts';
import { plainRestore, refusal, settingsOf, volumesOf } from '../../support/guests/vm-restores.ts';
import { snapshotOf } from '../../support/guests/vm-snapshots.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';
import { VmBackups } from './vm-backups.ts';

const skip = (await reasonToSkipGuest()) || reasonForTools('genisoimage');

suite('the cloud-init drive of a restored guest', { skip, timeout: 60_000 }, () => {
  let vms: VmBackups;
  let node: TestNode;
  let id: GuestId;
  let snapshot: VmSnapshot;

  before(async () => {
    vms = await VmBackups.create();
    node = vms.node;
    await changeStorages(true);
    id = await vms.addVm(7131, {
      disks: { scsi0: { format: 'raw', sizeMiB: 1 } },
      settings: { ide2: 'local:7131/vm-7131-cloudinit.qcow2,media=cdrom', ciuser: 'somebody' },
    });
    await node.node.directory.prepare(id);
    await asAtItsStart(id);
    snapshot = snapshotOf(vms.store, (await vms.backup(id)).committed.manifest);
  });

  after(async () => {
    await vms?.remove();
  });

  test('under another VMID it is that of the new guest, made at its start', async () => {
    const other = parseGuestId(7132);
    const report = new KeptReport();
    await restoreVm({ ...plainRestore(node, other, snapshot), report });
    assert.equal(await driveOf(other), 'local:7132/vm-7132-cloudinit.qcow2,media=cdrom,size=4M');
    assert.deepEqual(report.warnings, []);
    await asAtItsStart(other);
    assert.deepEqual(await volumesOf(node, other), ['cloudinit.qcow2', 'disk-0.raw']);
    await asAtItsStart(other);
  });

  test('on another storage and in another format, with what the guest is told', async () => {
    const other = parseGuestId(7133);
    await restoreVm({ ...plainRestore(node, other, snapshot), storage: 'second', format: 'raw' });
    assert.equal(await driveOf(other), 'second:7133/vm-7133-cloudinit.raw,media=cdrom,size=4M');
    await asAtItsStart(other);
    const content = await readFile(join(node.path, 'second/images/7133/vm-7133-cloudinit.raw'), 'latin1');
    assert.match(content, /user: somebody/);
  });

  test('of a guest that came from a storage of another kind, as from Proxmox with LVM', async () => {
    const settings = { ide2: 'local-lvm:vm-7136-cloudinit,media=cdrom' };
    const from = await vms.addVm(7136, { disks: { scsi0: { format: 'raw', sizeMiB: 1 } }, settings });
    await node.node.directory.prepare(from);
    const came = snapshotOf(vms.store, (await vms.backup(from)).committed.manifest);
    const other = parseGuestId(7137);
    await restoreVm({ ...plainRestore(node, other, came), storage: 'local' });
    assert.equal(await driveOf(other), 'local:7137/vm-7137-cloudinit.qcow2,media=cdrom,size=4M');
  });

  test('over the guest that was there it stays, or goes when it is another now', async () => {
    await restoreVm({ ...plainRestore(node, id, snapshot), force: true });
    assert.equal(await driveOf(id), 'local:7131/vm-7131-cloudinit.qcow2,media=cdrom,size=4M');
    assert.ok((await volumesOf(node, id)).includes('cloudinit.qcow2'));
    assert.equal((await settingsOf(node, id)).get('unused0'), undefined);
    await restoreVm({ ...plainRestore(node, id, snapshot), force: true, storage: 'second' });
    assert.deepEqual(await volumesOf(node, id), []);
    assert.equal((await settingsOf(node, id)).get('unused0'), undefined);
  });

  test('a restore that is undone after the start takes it along, and leaves that of the guest that was there', async () => {
    const other = parseGuestId(7134);
    const request = { ...plainRestore(node, other, snapshot), storage: 'second' };
    const before = await reservePlace(request, await planRestore(request));
    await asAtItsStart(other);
    assert.deepEqual(await volumesOf(node, other, 'second'), ['cloudinit.qcow2']);
    await leavePlace(node.node, other, before);
    assert.deepEqual(await volumesOf(node, other, 'second'), []);

    for (const storage of ['second', 'local']) {
      const over = { ...plainRestore(node, parseGuestId(7132), snapshot), storage, force: true };
      const plan = await planRestore(over);
      const was = await reservePlace(over, plan);
      await node.node.configs.write(over.id, plan.config);
      await asAtItsStart(over.id);
      await leavePlace(node.node, over.id, was);
      assert.deepEqual(await volumesOf(node, over.id, 'second'), []);
      assert.deepEqual(await volumesOf(node, over.id), ['cloudinit.qcow2', 'disk-0.raw']);
    }
  });

  test('a start makes no drive of another guest', async () => {
    const { config } = await node.node.configs.read(id);
    const named = withSettings(config, { ide2: 'local:7139/vm-7139-cloudinit.qcow2,media=cdrom' });
    await refusal(writeCloudInit(node.node, id, named), 'not-found');
    assert.deepEqual(await volumesOf(node, parseGuestId(7139)), []);
    assert.deepEqual(await volumesOf(node, id), []);
  });

  test('its storage is not there: the drive is empty, and that is said', async () => {
    const source = parseGuestId(7133);
    const there = snapshotOf(vms.store, (await vms.backup(source)).committed.manifest);
    await changeStorages(false);
    const other = parseGuestId(7135);
    const report = new KeptReport();
    const plan = await planRestore({ ...plainRestore(node, other, there), onlyDisks: ['ide2'], report });
    assert.equal(plan.config.values.get('ide2'), 'none,media=cdrom');
    assert.match(report.warnings.join('\n'), /ide2: second:7133\/vm-7133-cloudinit.raw is not restored .*'second'/);
  });

  async function changeStorages(hasSecond: boolean): Promise<void> {
    const path = join(node.path, 'second');
    await mkdir(path, { recursive: true });
    const properties = new Map(Object.entries({ path, content: 'images' }));
    const second = hasSecond ? [{ type: 'dir', id: 'second', properties }] : [];
    await node.node.storages.config.change((before) => ({
      ...before,
      sections: [...before.sections.filter((section) => section.id !== 'second'), ...second],
    }));
  }

  async function driveOf(of: GuestId): Promise<string | undefined> {
    return (await settingsOf(node, of)).get('ide2');
  }

  async function asAtItsStart(of: GuestId): Promise<void> {
    await writeCloudInit(node.node, of, (await node.node.configs.read(of)).config);
  }
});
