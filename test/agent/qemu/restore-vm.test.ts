// Restores of a guest with two disks, one of each format: what comes back is what was backed up, and what fails leaves what was there.
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
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
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';
import { backUp, fillDisk, requireSame, snapshotOf } from '../../support/guests/vm-snapshots.ts';
import { createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';

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
      assert.ok((await usedBytes(other, key)) < 8 << 20, `${key} takes ${await usedBytes(other, key)} bytes`);
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
    await refuses(restore(id), 'exists');
    await fillDisk(node, id, 'scsi1', [7]);
    await writeBitmapRecord(node.node.directory, id, 'target', { snapshot: snapshot.name, disks: {} });
    const before = await configOf(id);
    await node.node.configs.write(id, withSettings(before, { protection: '1' }));
    await refuses(restore(id, { force: true }), 'protected');
    await node.node.configs.write(id, withSettings(before, { lock: 'snapshot' }));
    await refuses(restore(id, { force: true }), 'guest-locked');
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
    assert.deepEqual(await volumesOf(id), ['disk-2.raw', 'disk-3.qcow2', 'disk-4.raw']);
    assert.deepEqual(await readBitmapRecords(node.node.directory, id), {});
  });

  test('one disk as an unused one, or in place of the one that is there', async () => {
    const other = parseGuestId(7102);
    const before = await configOf(other);
    await fillDisk(node, other, 'scsi1', [9]);
    const [one] = (await disks(other, ['scsi1'])).disks;
    assert.equal((await configOf(other)).values.get('unused0'), one?.volume);
    await refuses(disks(other, ['scsi7']), 'not-found');
    await disks(other, ['scsi1'], { force: true });
    await requireSame(node, other, 'scsi1', snapshot);
    const { values } = await configOf(other);
    assert.equal(values.get('scsi1'), 'local:7102/vm-7102-disk-3.raw,size=64M');
    assert.equal(values.get('scsi0'), before.values.get('scsi0'));
    assert.equal(values.get('lock'), undefined);
    assert.deepEqual(await volumesOf(other), ['disk-0.qcow2', 'disk-2.raw', 'disk-3.raw']);
    await refuses(disks(parseGuestId(7190), ['scsi1']), 'not-found');
  });

  test('a storage that is not there, and a snapshot that is no guest, are refused before anything is made', async () => {
    const other = parseGuestId(7104);
    assert.match(await refuses(restore(other, { storage: 'nowhere' }), 'not-found'), /scsi0 .*'nowhere'.*--storage/);
    const without = { ...snapshot, archives: snapshot.archives.filter(({ kind }) => kind !== 'blob') };
    await refuses(restore(other, { snapshot: without }), 'not-found');
    await requireNothing(other);
  });

  test('stopped in the middle it leaves nothing, or the guest that was there', async () => {
    const other = parseGuestId(7105);
    for (const target of ['scsi0', 'scsi1']) {
      const abort = new AbortController();
      const onProgress = (what: string): void => {
        if (what === target) abort.abort(new HoldfastError('aborted', 'stopped'));
      };
      await refuses(restore(other, { signal: abort.signal, onProgress }), 'aborted');
      await requireNothing(other);
    }
    const [before, volumes] = [(await node.node.configs.read(id)).text, await volumesOf(id)];
    const abort = new AbortController();
    const onProgress = (): void => abort.abort(new HoldfastError('aborted', 'stopped'));
    await refuses(restore(id, { force: true, signal: abort.signal, onProgress }), 'aborted');
    assert.equal((await node.node.configs.read(id)).text, before);
    assert.deepEqual(await volumesOf(id), volumes);
  });

  test('a restored guest boots; a running one is never restored over', async () => {
    const other = parseGuestId(7103);
    await rmNet(other);
    await startVm(node.node, other, {}, new KeptReport());
    const port = await node.port();
    try {
      const { disks: found } = await port.ask('disks');
      assert.equal((found as { sizeBytes: number }[]).filter(({ sizeBytes }) => sizeBytes === 64 << 20).length, 2);
      await refuses(restore(other), 'guest-running');
      await refuses(restore(other, { force: true }), 'guest-running');
      await refuses(disks(other, ['scsi1'], { force: true }), 'guest-running');
      assert.equal((await configOf(other)).values.get('lock'), undefined);
    } finally {
      port.close();
      await stopVm(node.node, other, {}, new KeptReport());
    }
  });

  test('of a damaged backup nothing is made, and why is told', async () => {
    const packs = join(temporary.root, 'packs');
    const lost = { ...snapshot, archives: snapshot.archives.map((each) => ({ ...each })) };
    assert.ok((await readdir(packs)).length > 0);
    for (const name of ['drive-scsi0.img', 'drive-scsi1.img']) {
      const archives = lost.archives.map((each) => (each.name === name ? { ...each, root: '77'.repeat(32) } : each));
      await refuses(restore(parseGuestId(7106), { snapshot: { ...lost, archives } }), 'object-missing');
      await requireNothing(parseGuestId(7106));
    }
  });

  async function restore(target: GuestId, more: Partial<VmRestoreRequest> = {}) {
    return await restoreVm({ ...request(target), ...more });
  }

  async function disks(target: GuestId, keys: string[], more: Partial<VmRestoreRequest> = {}) {
    return await restoreSingleDisks({ ...request(target), keys, ...more });
  }

  function request(target: GuestId): VmRestoreRequest {
    return {
      node: node.node,
      id: target,
      snapshot,
      storage: undefined,
      format: undefined,
      force: false,
      unique: false,
      start: false,
      report: new KeptReport(),
      onProgress: () => {},
      waitMs: 1000,
      signal: NO_SIGNAL,
    };
  }

  async function refuses(work: Promise<unknown>, code: string): Promise<string> {
    const error = await work.then(
      () => assert.fail(`it is not refused as ${code}`),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof HoldfastError, String((error as Error).stack));
    assert.equal(error.code, code, error.message);
    return error.message;
  }

  const configOf = async (target: GuestId) => (await node.node.configs.read(target)).config;

  async function volumesOf(target: GuestId): Promise<string[]> {
    const storage = await node.node.storages.get('local');
    return (await storage.list({ vmid: target })).map(({ name }) => name.replace(/^\d+\/vm-\d+-/, ''));
  }

  async function requireNothing(target: GuestId): Promise<void> {
    assert.equal((await node.node.configs.list()).includes(target), false);
    assert.deepEqual(await volumesOf(target), []);
    await assert.rejects(stat(node.node.directory.firewallFile(target)), { code: 'ENOENT' });
  }

  async function usedBytes(target: GuestId, key: string): Promise<number> {
    const volume = ((await configOf(target)).values.get(key) as string).split(',')[0] as string;
    return (await stat((await node.node.storages.volume(volume)).path)).blocks * 512;
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
