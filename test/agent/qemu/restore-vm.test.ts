// Restores of a guest with two disks, one of each format: what comes back is what was backed up, and what fails leaves what was there.
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { VmRestoreRequest } from '../../../src/agent/qemu/restore-request.ts';
import { restoreSingleDisks } from '../../../src/agent/qemu/restore-single-disks.ts';
import type { VmSnapshot } from '../../../src/agent/qemu/restore-source.ts';
import { restoreVm } from '../../../src/agent/qemu/restore-vm.ts';
import { readBitmapRecords, writeBitmapRecord } from '../../../src/guests/bitmaps/bitmap-records.ts';
import { withSettings } from '../../../src/guests/config/vm-config.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { withSmallStorage } from '../../support/guests/small-storage.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';
import { plainRestore, refusal, usedBytes, volumesOf } from '../../support/guests/vm-restores.ts';
import { backUp, fillDisk, requireSame, snapshotOf } from '../../support/guests/vm-snapshots.ts';
import { skipSmallDisk } from '../../support/small-disk.ts';
import { createTemporaryStore, OpenStore } from '../../support/store.ts';

const skip = await reasonToSkipGuest();
const MAC = 'BC:24:11:00:00:01';
const RULES = '[OPTIONS]\nenable: 1\n';
const UUID = '9a2f3c1e-0000-4000-8000-000000000001';

suite('the restore of a virtual machine', { skip, timeout: 120_000 }, () => {
  let node: TestNode;
  let temporary: Awaited<ReturnType<typeof createTemporaryStore>>;
  let open: OpenStore;
  let id: GuestId;
  let snapshot: VmSnapshot;

  before(async () => {
    node = await TestNode.create();
    temporary = await createTemporaryStore();
    open = await OpenStore.open(temporary.root);
    id = await node.addVm(7101, {
      disks: {
        scsi0: { format: 'qcow2', sizeMiB: 64, options: ',discard=on,serial=first' },
        scsi1: { format: 'raw', sizeMiB: 64 },
        scsi2: { format: 'raw', sizeMiB: 1, options: ',backup=0' },
      },
      settings: {
        ide2: 'local:iso/gone.iso,media=cdrom',
        net0: `virtio=${MAC},bridge=vmbr0,link_down=1`,
        onboot: '1',
        name: 'first',
        smbios1: `uuid=${UUID},serial=abc`,
        vmgenid: UUID,
      },
    });
    await fillDisk(node, id, 'scsi0', [0, 5, 40, 63]);
    await fillDisk(node, id, 'scsi1', [1, 30, 31]);
    await node.node.directory.prepare(id);
    const disc = join(node.path, 'storage/local/template/iso/gone.iso');
    await mkdir(join(disc, '..'), { recursive: true });
    await writeFile(disc, 'disc');
    await writeFirewall(id, RULES);
    snapshot = snapshotOf(open, (await backUp(node, open, id)).committed.manifest);
    await rm(disc);
  });

  after(async () => {
    await node?.remove();
    await open?.close();
    await temporary?.remove();
  });

  test('under another VMID: the disks are the archives byte for byte, holes are holes, and it is told what was left out', async () => {
    const report = new KeptReport();
    const other = parseGuestId(7102);
    const { disks } = await restore(other, { report });
    assert.deepEqual(
      disks.map(({ key, format, volume }) => [key, format, volume]),
      [
        ['scsi0', 'qcow2', 'local:7102/vm-7102-disk-0.qcow2'],
        ['scsi1', 'raw', 'local:7102/vm-7102-disk-1.raw'],
      ],
    );
    for (const key of ['scsi0', 'scsi1']) {
      await requireSame(node, other, key, snapshot);
      assert.ok(
        (await usedBytes(node, other, key)) < 8 << 20,
        `${key} takes ${await usedBytes(node, other, key)} bytes`,
      );
    }
    const { values } = await configOf(other);
    assert.equal(values.get('scsi0'), 'local:7102/vm-7102-disk-0.qcow2,discard=on,serial=first,size=64M');
    assert.equal(values.get('scsi2'), undefined);
    assert.equal(values.get('ide2'), 'none,media=cdrom');
    assert.equal(values.get('lock'), undefined);
    assert.deepEqual([values.get('onboot'), values.get('name')], ['1', 'first']);
    assert.match(values.get('net0') as string, new RegExp(MAC));
    assert.equal(values.get('smbios1'), `uuid=${UUID},serial=abc`);
    assert.notEqual(values.get('vmgenid'), UUID);
    assert.equal(
      [...values.keys()].some((key) => key.startsWith('unused')),
      false,
    );
    assert.equal(await readFile(node.node.directory.firewallFile(other), 'utf8'), RULES);
    assert.match(report.warnings.join('\n'), /scsi2 .*not in the backup/);
    assert.match(report.warnings.join('\n'), /ide2: local:iso\/gone.iso is not restored/);
  });

  test('as a unique one it has other addresses and another UUID, and other formats when they are asked for', async () => {
    const other = parseGuestId(7103);
    await restore(other, { unique: true, format: 'raw' });
    const { values } = await configOf(other);
    assert.match(values.get('net0') as string, /^virtio=BC:24:11:/);
    assert.doesNotMatch(values.get('net0') as string, new RegExp(MAC));
    assert.match(values.get('smbios1') as string, /^uuid=[0-9a-f-]{36},serial=abc$/);
    assert.doesNotMatch(values.get('smbios1') as string, new RegExp(UUID));
    assert.match(values.get('scsi0') as string, /disk-0\.raw/);
    await requireSame(node, other, 'scsi0', snapshot);
  });

  test('over a guest that is there: only with force, and what its backup has not stays as an unused disk', async () => {
    await refusal(restore(id), 'exists');
    await fillDisk(node, id, 'scsi1', [7]);
    await writeBitmapRecord(node.node.directory, id, 'target', { snapshot: snapshot.name, disks: {} });
    const before = await configOf(id);
    await node.node.configs.write(id, withSettings(before, { protection: '1' }));
    await refusal(restore(id, { force: true }), 'protected');
    await node.node.configs.write(id, withSettings(before, { lock: 'snapshot' }));
    await refusal(restore(id, { force: true }), 'guest-locked');
    // That of a backup or restore that was killed.
    await node.node.configs.write(id, withSettings(before, { lock: 'backup' }));
    await restore(id, { force: true });
    for (const key of ['scsi0', 'scsi1']) await requireSame(node, id, key, snapshot);
    const { values } = await configOf(id);
    assert.deepEqual(
      ['scsi0', 'scsi1', 'unused0', 'unused1'].map((key) => values.get(key)?.split(',')[0]),
      ['local:7101/vm-7101-disk-3.qcow2', 'local:7101/vm-7101-disk-4.raw', 'local:7101/vm-7101-disk-2.raw', undefined],
    );
    assert.equal(values.get('lock'), undefined);
    assert.deepEqual(await volumesOf(node, id), ['disk-2.raw', 'disk-3.qcow2', 'disk-4.raw']);
    assert.deepEqual(await readBitmapRecords(node.node.directory, id), {});
  });

  test('one disk as an unused one, or in place of the one that is there', async () => {
    const other = parseGuestId(7102);
    const before = await configOf(other);
    await fillDisk(node, other, 'scsi1', [9]);
    const [one] = (await disks(other, ['scsi1'])).disks;
    assert.equal((await configOf(other)).values.get('unused0'), one?.volume);
    await refusal(disks(other, ['scsi7']), 'not-found');
    await disks(other, ['scsi1'], { force: true });
    await requireSame(node, other, 'scsi1', snapshot);
    const { values } = await configOf(other);
    assert.equal(values.get('scsi1'), 'local:7102/vm-7102-disk-3.raw,size=64M');
    assert.equal(values.get('scsi0'), before.values.get('scsi0'));
    assert.equal(values.get('lock'), undefined);
    assert.deepEqual(await volumesOf(node, other), ['disk-0.qcow2', 'disk-2.raw', 'disk-3.raw']);
    await refusal(disks(parseGuestId(7190), ['scsi1']), 'not-found');
  });

  test('a storage that is not there, and a snapshot that is no guest, are refused before anything is made', async () => {
    const other = parseGuestId(7104);
    assert.match(await refusal(restore(other, { storage: 'nowhere' }), 'not-found'), /scsi0 .*'nowhere'.*--storage/);
    const without = { ...snapshot, archives: snapshot.archives.filter(({ kind }) => kind !== 'blob') };
    await refusal(restore(other, { snapshot: without }), 'not-found');
    await requireNothing(other);
  });

  test('stopped in the middle it leaves nothing, or the guest that was there', async () => {
    const other = parseGuestId(7105);
    for (const target of ['scsi0', 'scsi1']) {
      const abort = new AbortController();
      const onProgress = (what: string): void => {
        if (what === target) abort.abort(new HoldfastError('aborted', 'stopped'));
      };
      await refusal(restore(other, { signal: abort.signal, onProgress }), 'aborted');
      await requireNothing(other);
    }
    const [before, volumes] = [(await node.node.configs.read(id)).text, await volumesOf(node, id)];
    const abort = new AbortController();
    const onProgress = (): void => abort.abort(new HoldfastError('aborted', 'stopped'));
    await refusal(restore(id, { force: true, signal: abort.signal, onProgress }), 'aborted');
    assert.equal((await node.node.configs.read(id)).text, before);
    assert.deepEqual(await volumesOf(node, id), volumes);
  });

  test('a restored guest boots; a running one is never restored over', async () => {
    const other = parseGuestId(7103);
    await rmNet(other);
    await startVm(node.node, other, {}, new KeptReport());
    const port = await node.port();
    try {
      const { disks: found } = await port.ask('disks');
      assert.equal((found as { sizeBytes: number }[]).filter(({ sizeBytes }) => sizeBytes === 64 << 20).length, 2);
      await refusal(restore(other), 'guest-running');
      await refusal(restore(other, { force: true }), 'guest-running');
      await refusal(disks(other, ['scsi1'], { force: true }), 'guest-running');
      assert.equal((await configOf(other)).values.get('lock'), undefined);
    } finally {
      port.close();
      await stopVm(node.node, other, {}, new KeptReport());
    }
  });

  test('a storage without room: it is said, and what was there is as it was', { skip: skipSmallDisk() }, async () => {
    const other = parseGuestId(7107);
    await withSmallStorage(node, 32 << 20, async (disk) => {
      const there = async () => [await volumesOf(node, id), [...(await configOf(id)).values]];
      const before = await there();
      for (const format of ['qcow2', 'raw'] as const) {
        disk.fill(2 << 20);
        const full = { storage: 'small', format };
        const code = format === 'raw' ? 'target-failed' : 'disk-full';
        assert.match(await refusal(restore(other, full), code), /no space left/);
        await requireNothing(other);
        assert.deepEqual(await volumesOf(node, other, 'small'), []);
        await refusal(restore(id, { ...full, force: true }), code);
        await refusal(disks(id, ['scsi0'], { ...full, force: true }), code);
        assert.deepEqual(await there(), before);
        assert.deepEqual(await volumesOf(node, id, 'small'), []);
        disk.release();
      }
      for (const key of ['scsi0', 'scsi1']) await requireSame(node, id, key, snapshot);
    });
  });

  test('a disk that is put back between two backups is read in full by the next, and its old bitmaps are not believed', async () => {
    const other = parseGuestId(7108);
    await restore(other);
    const first = snapshotOf(open, (await backUp(node, open, other)).committed.manifest);
    await fillDisk(node, other, 'scsi1', [12]);
    // Twice: the volume has the name again that it had in the first backup.
    for (const snapshotOfDisk of [first, snapshot])
      await disks(other, ['scsi1'], { force: true, snapshot: snapshotOfDisk });
    assert.match((await configOf(other)).values.get('scsi1') as string, /disk-1\.raw/);
    assert.deepEqual(await readBitmapRecords(node.node.directory, other), {});
    await fillDisk(node, other, 'scsi1', [20]);
    const report = new KeptReport();
    const next = snapshotOf(open, (await backUp(node, open, other, { report })).committed.manifest);
    assert.match(report.logs.join('\n'), /scsi1: .*in full/);
    for (const key of ['scsi0', 'scsi1']) await requireSame(node, other, key, next);
  });

  test('an archive that is not as long as the backup says makes no disk', async () => {
    const other = parseGuestId(7109);
    for (const format of ['qcow2', 'raw'] as const)
      for (const more of [-512, 512]) {
        const archives = snapshot.archives.map((each) =>
          each.name === 'drive-scsi0.img' ? { ...each, sizeBytes: each.sizeBytes + more } : each,
        );
        await refusal(restore(other, { format, snapshot: { ...snapshot, archives } }), 'object-damaged');
        await requireNothing(other);
      }
  });

  test('of a damaged backup nothing is made, and why is told', async () => {
    for (const name of ['drive-scsi0.img', 'drive-scsi1.img']) {
      const archives = snapshot.archives.map((each) =>
        each.name === name ? { ...each, root: '77'.repeat(32) } : each,
      );
      await refusal(restore(parseGuestId(7106), { snapshot: { ...snapshot, archives } }), 'object-missing');
      await requireNothing(parseGuestId(7106));
    }
  });

  async function restore(target: GuestId, more: Partial<VmRestoreRequest> = {}) {
    return await restoreVm({ ...plainRestore(node, target, snapshot), ...more });
  }

  async function disks(target: GuestId, keys: string[], more: Partial<VmRestoreRequest> = {}) {
    return await restoreSingleDisks({ ...plainRestore(node, target, snapshot), keys, ...more });
  }

  const configOf = async (target: GuestId) => (await node.node.configs.read(target)).config;

  async function requireNothing(target: GuestId): Promise<void> {
    assert.equal((await node.node.configs.list()).includes(target), false);
    assert.deepEqual(await volumesOf(node, target), []);
    await assert.rejects(stat(node.node.directory.firewallFile(target)), { code: 'ENOENT' });
  }

  async function rmNet(target: GuestId): Promise<void> {
    await node.node.configs.write(target, withSettings(await configOf(target), {}, ['net0']));
  }

  async function writeFirewall(target: GuestId, text: string): Promise<void> {
    const path = node.node.directory.firewallFile(target);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, text);
  }
});
