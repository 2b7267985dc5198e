// What operations do with the volumes of guests that do not run: whose they free, copy, grow, snapshot and roll back, and what they refuse before that.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readBitmapRecords, writeBitmapRecord } from '../../../src/guests/bitmaps/bitmap-records.ts';
import { parseDrive } from '../../../src/guests/config/drive.ts';
import type { VmConfig } from '../../../src/guests/config/vm-config.ts';
import { lockBackup, lockGuest } from '../../../src/guests/guest-lock.ts';
import { type GuestNode, openGuestNode } from '../../../src/guests/guest-node.ts';
import { cloneVm } from '../../../src/guests/vm/clone.ts';
import { configureVm } from '../../../src/guests/vm/configure.ts';
import { createVm } from '../../../src/guests/vm/create.ts';
import { deleteSnapshotVm } from '../../../src/guests/vm/delete-snapshot.ts';
import { destroyVm } from '../../../src/guests/vm/destroy.ts';
import { removeGuestFiles } from '../../../src/guests/vm/guest-files.ts';
import { moveDisk } from '../../../src/guests/vm/move-disk.ts';
import { resizeVm } from '../../../src/guests/vm/resize.ts';
import { rollbackVm } from '../../../src/guests/vm/rollback.ts';
import { snapshotVm } from '../../../src/guests/vm/snapshot.ts';
import { unlockVm } from '../../../src/guests/vm/unlock.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { isThere } from '../../../src/util/is-there.ts';
import { run } from '../../../src/util/run.ts';
import { changedNode } from '../../support/guests/changed-node.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

const MIB = 1 << 20;
const GIB_OF_A_MIB = '0.0009765625';
const skip = reasonForTools('qemu-system-x86_64', 'qemu-img', 'qemu-io');

suite('the volumes of guests', { skip, timeout: 120_000 }, () => {
  const report = new KeptReport();
  let path: string;
  let node: GuestNode;
  let next = 100;

  before(async () => {
    path = await mkdtemp(join(tmpdir(), 'hf-disks-'));
    node = await openGuestNode(path);
  });

  after(async () => {
    await rm(path, { recursive: true, force: true });
    await rm(node.directory.runPath, { recursive: true, force: true });
  });

  const disk = (options = ''): string => `local:${GIB_OF_A_MIB}${options}`;

  async function made(settings: Record<string, string> = {}): Promise<GuestId> {
    const id = parseGuestId(next++);
    await createVm(node, id, { scsi0: disk(), ...settings }, {}, report);
    return id;
  }

  async function configOf(id: GuestId): Promise<VmConfig> {
    return (await node.configs.read(id)).config;
  }

  /** By hand, as an administrator's editor does it. */
  async function edit(id: GuestId, values: Record<string, string | undefined>): Promise<void> {
    const config = await configOf(id);
    const changed = new Map([...config.values, ...Object.entries(values)]);
    for (const [key, value] of Object.entries(values)) if (value === undefined) changed.delete(key);
    await node.configs.write(id, { ...config, values: changed as Map<string, string> });
  }

  const volumeOf = async (id: GuestId, key = 'scsi0'): Promise<string> =>
    parseDrive(key, (await configOf(id)).values.get(key) ?? assert.fail(`no ${key}`)).file;

  const imagesOf = (id: GuestId): string => join(path, 'storage', 'local', 'images', String(id));

  async function filesOf(id: GuestId): Promise<string[]> {
    return (await readdir(imagesOf(id)).catch(() => [])).sort();
  }

  async function onImage(volume: string, command: string): Promise<string> {
    const image = await node.storages.volume(volume);
    return (await run('qemu-io', ['-f', image.format, '-c', command, image.path])).stdout;
  }

  async function assertHolds(volume: string, byte: number): Promise<void> {
    assert.doesNotMatch(await onImage(volume, `read -P ${byte} 0 64k`), /verification failed/, volume);
  }

  async function snapshotsIn(volume: string): Promise<string[]> {
    const { storage, name } = await node.storages.resolve(volume);
    return (await storage.snapshots(name)).sort();
  }

  const refusal = () => Promise.reject(new HoldfastError('target-failed', 'the storage refused'));

  test('a destroy frees what is the guest’s own, attached, unused or of a snapshot, and nothing of another', async () => {
    const other = await made();
    const id = await made({ scsi1: disk(), scsi2: disk() });
    await snapshotVm(node, id, 'before', {}, report);
    await configureVm(node, id, { set: { scsi4: disk() }, remove: [] }, report);
    await configureVm(node, id, { set: {}, remove: ['scsi1', 'scsi2', 'scsi4'] }, report);
    const { values } = await configOf(id);
    assert.match(values.get('unused1') ?? '', /disk-2/);
    assert.match(values.get('unused2') ?? '', /disk-3/, 'of no snapshot');
    // scsi2 is named by the snapshot alone.
    await edit(id, { unused1: undefined, scsi3: await volumeOf(other), unused7: await volumeOf(other) });
    const stray = await (await node.storages.get('local')).allocate({ vmid: id, sizeBytes: MIB, format: 'raw' });
    await destroyVm(node, id, {}, report);
    assert.deepEqual(await filesOf(id), [stray.name.split('/')[1]], 'a disk that no line names may be somebody’s');
    assert.deepEqual(await filesOf(other), [`vm-${other}-disk-0.qcow2`]);
    assert.equal(await isThere(node.directory.guestPath(id)), false);

    const last = await made();
    await (await node.storages.get('local')).allocate({ vmid: last, sizeBytes: MIB, format: 'raw' });
    await destroyVm(node, last, { destroyUnreferencedDisks: true }, report);
    assert.deepEqual(await filesOf(last), []);
    assert.deepEqual(await filesOf(other), [`vm-${other}-disk-0.qcow2`]);
  });

  test('of two that destroy at once one does, and the other finds no guest', async () => {
    const id = await made();
    const both = await Promise.allSettled([destroyVm(node, id, {}, report), destroyVm(node, id, {}, report)]);
    const failed = both.flatMap((each) => (each.status === 'rejected' ? [each.reason as HoldfastError] : []));
    assert.equal(failed.length, 1);
    assert.match(failed[0]?.code ?? String(failed[0]), /^(not-found|guest-locked)$/);
    assert.deepEqual(await filesOf(id), []);
  });

  test('who waits while a guest is destroyed finds no guest', async () => {
    const id = await made();
    const lock = await lockGuest(node.directory, id);
    const late = configureVm(node, id, { set: { name: 'late' }, remove: [] }, report);
    const refused = assert.rejects(late, { code: 'not-found' });
    await sleep(100);
    await node.configs.remove(id);
    await removeGuestFiles(node, id);
    lock.release();
    await refused;
  });

  test('a clone shares no volume with its source', async () => {
    const id = await made({ scsi1: disk(',format=raw'), ide2: 'none,media=cdrom' });
    for (const key of ['scsi0', 'scsi1']) await onImage(await volumeOf(id, key), 'write -P 1 0 64k');
    const firewall = node.directory.firewallFile(id);
    await mkdir(dirname(firewall), { recursive: true });
    await writeFile(firewall, 'IN SSH(ACCEPT)\n');
    const copy = parseGuestId(next++);
    await cloneVm(node, id, copy, {}, report);
    assert.equal(await readFile(node.directory.firewallFile(copy), 'utf8'), 'IN SSH(ACCEPT)\n');
    for (const key of ['scsi0', 'scsi1']) {
      const [own, theirs] = [await volumeOf(copy, key), await volumeOf(id, key)];
      await assertHolds(own, 1);
      await onImage(own, 'write -P 2 0 64k');
      await assertHolds(theirs, 1);
    }
    await destroyVm(node, copy, {}, report);
    assert.deepEqual(await filesOf(id), [`vm-${id}-disk-0.qcow2`, `vm-${id}-disk-1.raw`]);
    assert.equal(await isThere(node.directory.firewallFile(copy)), false);
    assert.equal(await isThere(firewall), true);
  });

  test('a clone of a protected template is neither, and of one that fails nothing stays', async () => {
    const id = await made({ scsi1: disk(), protection: '1', template: '1' });
    const second = await volumeOf(id, 'scsi1');
    await snapshotVm(node, id, 'then', {}, report);
    const copy = parseGuestId(next++);
    await cloneVm(node, id, copy, {}, report);
    const { values, snapshots } = await configOf(copy);
    assert.equal(snapshots.size, 0);
    for (const key of ['protection', 'template', 'parent', 'meta', 'lock'])
      assert.equal(values.get(key), undefined, key);
    const failed = parseGuestId(next++);
    const failing = changedNode(node, (volume) => (volume.id === second ? { clone: refusal } : {}));
    await assert.rejects(cloneVm(failing, id, failed, {}, report), { code: 'target-failed' });
    assert.deepEqual(await filesOf(failed), []);
    assert.equal(await isThere(node.directory.guestPath(failed)), false);
    await assert.rejects(node.configs.read(failed), { code: 'not-found' });
    await assert.rejects(destroyVm(node, id, {}, report), { code: 'protected' });
    await assert.rejects(configureVm(node, id, { set: {}, remove: ['scsi1'] }, report), { code: 'protected' });
    assert.deepEqual(await filesOf(id), [`vm-${id}-disk-0.qcow2`, `vm-${id}-disk-1.qcow2`]);
  });

  test('a disk grows to whole sectors, and never shrinks', async () => {
    const id = await made({ scsi1: disk(',format=raw') });
    const sizeOf = async (key: string): Promise<number | undefined> =>
      parseDrive(key, (await configOf(id)).values.get(key) ?? '').size;
    for (const key of ['scsi0', 'scsi1']) {
      const grow = (size: string) => resizeVm(node, id, { disk: key, size }, report);
      assert.equal(await grow('+1M'), 2 * MIB);
      assert.equal(await grow(String(2 * MIB + 1)), 2 * MIB + 512);
      assert.equal(await grow('4M'), 4 * MIB);
      assert.equal(await sizeOf(key), 4 * MIB);
      for (const less of ['3M', '1', String(4 * MIB - 512)]) await assert.rejects(grow(less), { code: 'bad-argument' });
      const { storage, name } = await node.storages.resolve(await volumeOf(id, key));
      assert.equal((await storage.list({ vmid: id })).find((each) => each.name === name)?.sizeBytes, 4 * MIB);
    }
  });

  test('what is no disk of the guest’s own does not grow: firmware, TPM, another’s, none', async () => {
    const other = await made();
    const id = await made({ tpmstate0: 'local:1,version=v2.0' });
    const storage = await node.storages.get('local');
    const variables = await storage.allocate({ vmid: id, sizeBytes: 540_672, format: 'qcow2' });
    await edit(id, { efidisk0: `${variables.id},efitype=4m`, scsi5: await volumeOf(other) });
    for (const key of ['efidisk0', 'tpmstate0', 'scsi5', 'scsi9', 'name'])
      await assert.rejects(resizeVm(node, id, { disk: key, size: '+1M' }, report), { code: 'bad-argument' }, key);
    for (const key of ['scsi5', 'scsi9', 'name'])
      await assert.rejects(
        moveDisk(node, id, { disk: key, storage: 'local', deletesOld: true }, report),
        { code: 'bad-argument' },
        key,
      );
    assert.deepEqual(await filesOf(other), [`vm-${other}-disk-0.qcow2`]);
  });

  test('a copy has the format of its source on the same storage, the default of another, and a TPM is always raw', async () => {
    const id = await made({ scsi1: disk(',format=raw'), tpmstate0: 'local:1,version=v2.0' });
    await node.storages.config.change(({ sections, ...rest }) => ({
      ...rest,
      sections: [
        ...sections,
        {
          type: 'dir',
          id: 'second',
          properties: new Map([
            ['path', join(path, 'second')],
            ['content', 'images'],
          ]),
        },
      ],
    }));
    const [near, far] = [parseGuestId(next++), parseGuestId(next++)];
    await cloneVm(node, id, near, {}, report);
    await cloneVm(node, id, far, { storage: 'second', format: 'qcow2' }, report);
    const endings = async (of: GuestId): Promise<(string | undefined)[]> =>
      await Promise.all(
        ['scsi0', 'scsi1', 'tpmstate0'].map(async (key) => (await volumeOf(of, key)).split('.').at(-1)),
      );
    assert.deepEqual(await endings(near), ['qcow2', 'raw', 'raw']);
    assert.deepEqual(await endings(far), ['qcow2', 'qcow2', 'raw']);
    for (const key of ['scsi1', 'tpmstate0'])
      await moveDisk(node, id, { disk: key, storage: 'second', deletesOld: true }, report);
    assert.deepEqual(await endings(id), ['qcow2', 'qcow2', 'raw']);
    assert.deepEqual(await filesOf(id), [`vm-${id}-disk-0.qcow2`]);
  });

  test('a size that is no whole number of sectors is rounded up where a volume is made', async () => {
    const odd = join(path, 'odd.raw');
    await writeFile(odd, Buffer.alloc(1000, 'x'));
    const id = await made({ scsi1: `local:0.0000003,format=raw`, scsi2: `local:0,import-from=${odd},format=raw` });
    assert.equal(parseDrive('scsi1', (await configOf(id)).values.get('scsi1') ?? '').size, 1024);
    assert.equal(parseDrive('scsi2', (await configOf(id)).values.get('scsi2') ?? '').size, 1024);
  });

  test('a change from an older configuration is refused before anything is made', async () => {
    const id = await made();
    const digest = '0'.repeat(40);
    const files = await filesOf(id);
    const before = (await node.configs.read(id)).digest;
    const changed = { code: 'config-changed' };
    await assert.rejects(configureVm(node, id, { set: { scsi1: disk() }, remove: [], digest }, report), changed);
    await assert.rejects(resizeVm(node, id, { disk: 'scsi0', size: '+1M', digest }, report), changed);
    const copying = changedNode(node, () => ({ clone: () => assert.fail('nothing is copied') }));
    const move = { disk: 'scsi0', storage: 'local', format: 'raw' as const, deletesOld: true, digest };
    await assert.rejects(moveDisk(copying, id, move, report), changed);
    assert.deepEqual(await filesOf(id), files);
    assert.equal((await node.configs.read(id)).digest, before);
    await moveDisk(node, id, { ...move, digest: before }, report);
    assert.deepEqual(await filesOf(id), [`vm-${id}-disk-1.raw`]);
  });

  test('a moved disk leaves the volume that a snapshot has, as an unused one', async () => {
    const id = await made();
    const old = await volumeOf(id);
    await snapshotVm(node, id, 'kept', {}, report);
    const move = (deletesOld: boolean) =>
      moveDisk(node, id, { disk: 'scsi0', storage: 'local', format: 'raw', deletesOld }, report);
    const files = await filesOf(id);
    await assert.rejects(move(true), { code: 'protected' });
    assert.deepEqual(await filesOf(id), files);
    await move(false);
    const { values } = await configOf(id);
    assert.equal(values.get('unused0'), old);
    assert.deepEqual(await snapshotsIn(old), ['kept']);
    assert.notEqual(await volumeOf(id), old);
  });

  test('a snapshot that fails on one disk is on none', async () => {
    const id = await made({ scsi1: disk() });
    const before = (await node.configs.read(id)).digest;
    const [first, second] = [await volumeOf(id), await volumeOf(id, 'scsi1')];
    const failing = changedNode(node, ({ id: volume }) => (volume === second ? { snapshot: refusal } : {}));
    await assert.rejects(snapshotVm(failing, id, 'half', {}, report), { code: 'target-failed' });
    assert.deepEqual([await snapshotsIn(first), await snapshotsIn(second)], [[], []]);
    assert.equal((await node.configs.read(id)).digest, before);
  });

  test('one that cannot be taken back is told, marked, and goes with delsnapshot', async () => {
    const id = await made({ scsi1: disk() });
    const [first, second] = [await volumeOf(id), await volumeOf(id, 'scsi1')];
    const failing = changedNode(node, ({ id: volume }) =>
      volume === second ? { snapshot: refusal } : { deleteSnapshot: refusal },
    );
    const said = new KeptReport();
    await assert.rejects(snapshotVm(failing, id, 'half', {}, said), { code: 'target-failed' });
    assert.deepEqual(await snapshotsIn(first), ['half']);
    assert.match(said.warnings.join(), /delsnapshot/);
    const { values, snapshots } = await configOf(id);
    assert.equal(values.get('lock'), undefined);
    assert.equal(snapshots.get('half')?.values.get('snapstate'), 'prepare');
    await assert.rejects(rollbackVm(node, id, 'half', {}, report), { code: 'target-unfit' });
    await deleteSnapshotVm(node, id, 'half', {}, report);
    assert.deepEqual(await snapshotsIn(first), []);
    assert.equal((await configOf(id)).snapshots.size, 0);
  });

  test('a snapshot of that name in an image, made by somebody else, is not touched', async () => {
    const id = await made({ scsi1: disk() });
    const { storage, name } = await node.storages.resolve(await volumeOf(id, 'scsi1'));
    await storage.snapshot(name, 'theirs');
    await assert.rejects(snapshotVm(node, id, 'theirs', {}, report), { code: 'exists' });
    assert.deepEqual(await snapshotsIn(await volumeOf(id, 'scsi1')), ['theirs']);
    assert.deepEqual(await snapshotsIn(await volumeOf(id)), []);
    assert.equal((await configOf(id)).values.get('lock'), undefined);
  });

  test('a deleted snapshot is in no image; where one refuses the others go, and it stays marked, unless forced', async () => {
    const id = await made({ scsi1: disk(), scsi2: disk() });
    const volumes = await Promise.all(['scsi0', 'scsi1', 'scsi2'].map((key) => volumeOf(id, key)));
    for (const name of ['one', 'two', 'three']) await snapshotVm(node, id, name, {}, report);
    await deleteSnapshotVm(node, id, 'one', {}, report);
    for (const volume of volumes) assert.deepEqual(await snapshotsIn(volume), ['three', 'two']);
    const failing = changedNode(node, ({ id: volume }) => (volume === volumes[1] ? { deleteSnapshot: refusal } : {}));
    await assert.rejects(deleteSnapshotVm(failing, id, 'two', {}, report), { code: 'target-failed' });
    assert.deepEqual(await Promise.all(volumes.map(snapshotsIn)), [['three'], ['three', 'two'], ['three']]);
    const marked = await configOf(id);
    assert.equal(marked.snapshots.get('two')?.values.get('snapstate'), 'delete');
    assert.equal(marked.values.get('lock'), undefined);
    await deleteSnapshotVm(node, id, 'two', {}, report);
    assert.deepEqual(await snapshotsIn(volumes[1] as string), ['three']);
    const said = new KeptReport();
    await deleteSnapshotVm(failing, id, 'three', { force: true }, said);
    assert.equal((await configOf(id)).snapshots.size, 0);
    assert.match(said.warnings.join(), /nevertheless/);
    assert.deepEqual(await Promise.all(volumes.map(snapshotsIn)), [[], ['three'], []]);
  });

  test('a snapshot that was cut off is not deleted while a backup holds the guest', async () => {
    const id = await made();
    await snapshotVm(node, id, 'cut', {}, report);
    const config = await configOf(id);
    const section = config.snapshots.get('cut') ?? assert.fail();
    const cut = { ...section, values: new Map([...section.values, ['snapstate', 'delete'] as const]) };
    await node.configs.write(id, { ...config, snapshots: new Map([['cut', cut]]) });
    await edit(id, { lock: 'backup' });
    await assert.rejects(deleteSnapshotVm(node, id, 'cut', {}, report), { code: 'guest-locked' });
    assert.equal((await configOf(id)).values.get('lock'), 'backup');
    assert.deepEqual(await snapshotsIn(await volumeOf(id)), ['cut']);
  });

  test('a rollback: bytes, size and settings of then, no key of the snapshot itself, no bitmap that is believed', async () => {
    const id = await made({ scsi1: disk(), name: 'then', vmgenid: '1' });
    const volume = await volumeOf(id);
    await onImage(volume, 'write -P 1 0 64k');
    await snapshotVm(node, id, 'early', {}, report);
    await onImage(volume, 'write -P 2 0 64k');
    await snapshotVm(node, id, 'late', {}, report);
    await onImage(volume, 'write -P 3 0 64k');
    await resizeVm(node, id, { disk: 'scsi0', size: '+1M' }, report);
    await configureVm(node, id, { set: { name: 'now' }, remove: [] }, report);
    const root = 'a'.repeat(64);
    await writeBitmapRecord(node.directory, id, '0123abcd', {
      snapshot: `vm/${id}/2026-11-20T02:00:00Z`,
      disks: { scsi0: { bitmap: 'hf-0123abcd-1', root, volume, sizeBytes: 2 * MIB } },
    });
    const sidecars = ['sidecars.json', 'bitmaps-scsi1.qcow2'].map((file) => join(node.directory.guestPath(id), file));
    for (const file of sidecars) await writeFile(file, '{}');
    const generation = (await configOf(id)).values.get('vmgenid');
    await rollbackVm(node, id, 'early', {}, report);
    await assertHolds(volume, 1);
    const { values, snapshots } = await configOf(id);
    assert.deepEqual([values.get('name'), values.get('parent'), values.get('lock')], ['then', 'early', undefined]);
    for (const key of ['snaptime', 'snapstate', 'vmstate']) assert.equal(values.get(key), undefined, key);
    assert.equal(parseDrive('scsi0', values.get('scsi0') ?? '').size, MIB);
    assert.notEqual(values.get('vmgenid'), generation, 'the guest sees that it was put back');
    assert.deepEqual(await readBitmapRecords(node.directory, id), {});
    for (const file of sidecars) assert.equal(await isThere(file), false, file);
    // The later snapshot is still one to go to.
    assert.equal(snapshots.get('late')?.values.get('parent'), 'early');
    await rollbackVm(node, id, 'late', {}, report);
    await assertHolds(volume, 2);
    assert.equal((await configOf(id)).values.get('parent'), 'late');
  });

  test('a rollback is refused while a disk has no such snapshot, and nothing has changed', async () => {
    const id = await made({ scsi1: disk() });
    const [first, second] = [await volumeOf(id), await volumeOf(id, 'scsi1')];
    await onImage(first, 'write -P 1 0 64k');
    await snapshotVm(node, id, 'gone', {}, report);
    await onImage(first, 'write -P 2 0 64k');
    const { storage, name } = await node.storages.resolve(second);
    await storage.deleteSnapshot(name, 'gone');
    const before = (await node.configs.read(id)).digest;
    await assert.rejects(rollbackVm(node, id, 'gone', {}, report), {
      code: 'not-found',
      message: /nothing was changed/,
    });
    await assertHolds(first, 2);
    assert.equal((await node.configs.read(id)).digest, before);
  });

  test('one that is cut off stays locked, and is done again', async () => {
    const id = await made({ scsi1: disk() });
    const [first, second] = [await volumeOf(id), await volumeOf(id, 'scsi1')];
    for (const volume of [first, second]) await onImage(volume, 'write -P 1 0 64k');
    await snapshotVm(node, id, 'then', {}, report);
    for (const volume of [first, second]) await onImage(volume, 'write -P 2 0 64k');
    const failing = changedNode(node, ({ id: volume }) => (volume === second ? { rollback: refusal } : {}));
    await assert.rejects(rollbackVm(failing, id, 'then', {}, report), { code: 'target-failed' });
    assert.equal((await configOf(id)).values.get('lock'), 'rollback');
    await assert.rejects(snapshotVm(node, id, 'mixed', {}, report), { code: 'guest-locked' });
    await rollbackVm(node, id, 'then', {}, report);
    for (const volume of [first, second]) await assertHolds(volume, 1);
    assert.equal((await configOf(id)).values.get('lock'), undefined);
  });

  test('unlock leaves the lock of a backup that is under way', async () => {
    const id = await made();
    await edit(id, { lock: 'backup' });
    const backup = await lockBackup(node.directory, id);
    await assert.rejects(unlockVm(node, id), { code: 'guest-locked' });
    assert.equal((await configOf(id)).values.get('lock'), 'backup');
    await assert.rejects(destroyVm(node, id, { skipLock: true }, report), { code: 'guest-locked' });
    backup.release();
    await unlockVm(node, id);
    assert.equal((await configOf(id)).values.get('lock'), undefined);
  });

  test('a drive takes disks of its guest and ISO images, and nothing else that lies on a storage', async () => {
    const other = await made();
    const id = await made();
    const local = join(path, 'storage', 'local');
    for (const [directory, name] of [
      ['snippets', 'hook.pl'],
      ['import', 'cloud.qcow2'],
      ['template/iso', 'debian.iso'],
    ] as const) {
      await mkdir(join(local, directory), { recursive: true });
      await writeFile(join(local, directory, name), 'bytes');
    }
    const set = (key: string, value: string) => configureVm(node, id, { set: { [key]: value }, remove: [] }, report);
    for (const value of [
      'local:snippets/hook.pl',
      'local:import/cloud.qcow2',
      'local:snippets/hook.pl,media=cdrom',
      await volumeOf(other),
      `${await volumeOf(other)},media=cdrom`,
    ])
      await assert.rejects(set('scsi1', value), { code: 'bad-argument' }, value);
    await set('ide2', 'local:iso/debian.iso,media=cdrom');
    assert.match((await configOf(id)).values.get('ide2') ?? '', /debian\.iso/);
  });
});
