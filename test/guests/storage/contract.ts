// What every storage does, whatever its type: run against a real file system of that type, with real images and QEMU's own programs.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { ImageFormat, Storage } from '../../../src/guests/storage/storage.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { command, reasonForTools } from '../../support/power-cut/scratch.ts';
import { SmallDisk, type SmallFileSystem, skipSmallDisk, withSmallDisk } from '../../support/small-disk.ts';
import { assertEqualImages, assertHolds, filesBelow, MIB, makeSource, withGuestOn, write } from './images.ts';

const FORMATS: readonly ImageFormat[] = ['raw', 'qcow2'];

export interface StorageUnderTest {
  readonly type: Storage['type'];
  readonly fileSystem: SmallFileSystem;
  /** Of the file system that a test fills. */
  readonly smallBytes: number;
  open(path: string, id?: string): Storage;
}

const code = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof HoldfastError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};

export function testStorage({ type, fileSystem, smallBytes, open }: StorageUnderTest): void {
  const skip = skipSmallDisk(fileSystem) || reasonForTools('qemu-img', 'qemu-io');
  const withoutGuest = reasonForTools('qemu-system-x86_64');
  suite(`storage of type ${type}`, { skip }, () => {
    let disk: SmallDisk;
    let outside: string;
    let storage: Storage;
    let root: string;
    let vmid = 99;

    before(() => {
      disk = new SmallDisk(512 * MIB, undefined, fileSystem);
      outside = mkdtempSync(join(tmpdir(), 'hf-storage-'));
      root = join(disk.mountPath, 'store');
      storage = open(root);
    });
    after(() => {
      disk.dispose();
      rmSync(outside, { recursive: true });
    });

    const allocate = (format: ImageFormat, sizeBytes = 8 * MIB) => storage.allocate({ vmid, sizeBytes, format });
    /** A guest of its own for each test. */
    const nextGuest = () => ++vmid;
    const guestFiles = () => filesBelow(join(root, 'images', String(vmid)));

    for (const format of FORMATS) {
      test(`${format}: a disk is made, listed, grown and freed`, async () => {
        const guest = nextGuest();
        const volume = await allocate(format);
        assert.deepEqual(
          { ...volume, usedBytes: 0, ctime: 0 },
          {
            id: `store:${guest}/vm-${guest}-disk-0.${format}`,
            name: `${guest}/vm-${guest}-disk-0.${format}`,
            format,
            sizeBytes: 8 * MIB,
            usedBytes: 0,
            vmid: guest,
            content: 'images',
            ctime: 0,
          },
        );
        assert.ok(volume.usedBytes < MIB, 'sparse');
        assert.ok(Math.abs(volume.ctime - Date.now() / 1000) < 60);
        assert.deepEqual(await storage.list({ vmid: guest }), [volume]);
        assert.deepEqual(await storage.list({ vmid: guest, content: 'iso' }), []);
        assert.ok((await storage.list()).some(({ id }) => id === volume.id));
        const located = await storage.locate(volume.name);
        assert.equal(located.format, format);
        assert.equal(statSync(located.path).mode & 0o777, 0o640);
        write(located, 7);
        await storage.resize(volume.name, 16 * MIB);
        assertHolds(located, 7);
        assert.equal((await storage.list({ vmid: guest }))[0]?.sizeBytes, 16 * MIB);
        await storage.resize(volume.name, 16 * MIB);
        await assert.rejects(storage.resize(volume.name, 8 * MIB), code('bad-argument'));
        await assert.rejects(storage.resize(volume.name, 16 * MIB + 1), code('bad-argument'));
        const second = await allocate(format);
        assert.equal(second.name, `${guest}/vm-${guest}-disk-1.${format}`);
        await storage.free(volume.name);
        assert.equal((await allocate(format)).name, volume.name, 'the next free number');
        await storage.free(volume.name);
        await storage.free(second.name);
        await assert.rejects(storage.free(second.name), code('not-found'));
        await assert.rejects(storage.locate(second.name), code('not-found'));
        await assert.rejects(storage.resize(second.name, 32 * MIB), code('not-found'));
        assert.ok(!existsSync(join(root, 'images', String(guest))));
      });

      test(`${format}: each snapshot gives back the bytes and the size it was taken of`, async (context) => {
        nextGuest();
        const { name } = await allocate(format);
        const image = await storage.locate(name);
        if (storage.snapshotMode(name) === 'none') {
          await assert.rejects(storage.snapshot(name, 'one'), code('target-unfit'));
          await assert.rejects(storage.rollback(name, 'one'), code('not-found'));
          await assert.rejects(storage.locate(name, 'one'), code('not-found'));
          return context.diagnostic('no snapshots of this format');
        }
        for (const [byte, snapshot] of [
          [1, 'one'],
          [2, 'two'],
          [3, 'three'],
        ] as const) {
          write(image, byte);
          await storage.snapshot(name, snapshot);
        }
        write(image, 4);
        await storage.resize(name, 16 * MIB);
        await assert.rejects(storage.snapshot(name, 'two'), code('exists'));
        assert.deepEqual((await storage.snapshots(name)).sort(), ['one', 'three', 'two']);
        if (format === 'qcow2') command('qemu-img', ['bitmap', '--add', '-f', format, image.path, 'hf-1']);
        await storage.deleteSnapshot(name, 'two');
        assertHolds(image, 4);
        await storage.rollback(name, 'three');
        assertHolds(image, 3);
        const [volume] = await storage.list({ vmid });
        assert.equal(volume?.sizeBytes, 8 * MIB);
        if (format === 'qcow2') assert.doesNotMatch(command('qemu-img', ['info', image.path]), /hf-1/);
        write(image, 5);
        await storage.rollback(name, 'one');
        assertHolds(image, 1);
        await storage.rollback(name, 'three');
        assertHolds(image, 3);
        for (const call of ['deleteSnapshot', 'rollback', 'locate'] as const)
          await assert.rejects(storage[call](name, 'two'), code('not-found'));
        for (const bad of ['../x', 'a', '-a', 'current', 'a b', '1st'])
          await assert.rejects(storage.snapshot(name, bad), code('bad-name'));
        assert.deepEqual(
          await storage.list({ vmid }),
          [{ ...(await storage.list({ vmid }))[0], name }],
          'a snapshot is no volume',
        );
        await storage.free(name);
        assert.deepEqual(guestFiles(), []);
      });

      test(`${format}: a clone has the bytes, and holes where there are zeros`, async () => {
        nextGuest();
        const source = makeSource(join(outside, 'source.raw'));
        const seen: [number, number][] = [];
        const first = await storage.clone(source, { vmid, format }, (...progress) => seen.push(progress));
        assert.equal(first.sizeBytes, 64 * MIB);
        assert.ok(first.usedBytes < 4 * MIB, `${first.usedBytes} bytes are used`);
        assert.deepEqual(seen.at(-1), [64 * MIB, 64 * MIB]);
        const located = await storage.locate(first.name);
        assertEqualImages(source, located);
        assert.equal(statSync(located.path).mode & 0o777, 0o640);
        for (const target of FORMATS) {
          const wish = { vmid, format: target, name: `vm-${vmid}-copy`, sizeBytes: 80 * MIB };
          const second = await storage.clone(located, wish);
          assert.equal(second.name, `${vmid}/vm-${vmid}-copy.${target}`);
          assert.equal(second.sizeBytes, 80 * MIB);
          assertEqualImages(source, await storage.locate(second.name));
          assert.ok(second.usedBytes < 4 * MIB);
          const again = storage.clone(located, wish, () => assert.fail('nothing is copied for a name that is taken'));
          await assert.rejects(again, code('exists'));
          await storage.free(second.name);
        }
        await storage.free(first.name);
      });

      test(`${format}: a snapshot is cloned, and the clone stands alone`, async () => {
        nextGuest();
        const { name } = await allocate(format);
        const image = await storage.locate(name);
        if (storage.snapshotMode(name) === 'none') return;
        write(image, 1);
        await storage.snapshot(name, 'before');
        write(image, 2);
        const past = await storage.clone(await storage.locate(name, 'before'), { vmid, format });
        const present = await storage.clone(image, { vmid, format });
        await storage.free(name);
        assertHolds(await storage.locate(past.name), 1);
        assertHolds(await storage.locate(present.name), 2);
        assert.deepEqual(await storage.snapshots(present.name), []);
      });

      test(`${format}: what a guest uses is not grown, rolled back or freed`, { skip: withoutGuest }, async () => {
        nextGuest();
        const { name } = await allocate(format);
        const image = await storage.locate(name);
        const mode = storage.snapshotMode(name);
        if (mode !== 'none') await storage.snapshot(name, 'before');
        await withGuestOn(image, async () => {
          await assert.rejects(storage.resize(name, 16 * MIB), code('guest-running'));
          await assert.rejects(storage.free(name), code('guest-running'));
          await assert.rejects(storage.rollback(name, 'before'), code('guest-running'));
          if (mode === 'image') {
            await assert.rejects(storage.snapshot(name, 'during'), code('guest-running'));
            await assert.rejects(storage.deleteSnapshot(name, 'before'), code('guest-running'));
          } else if (mode === 'storage') await storage.snapshot(name, 'during');
          assert.ok((await storage.snapshots(name)).includes('before') || mode === 'none');
        });
        await storage.free(name);
      });

      test(`${format}: allocations that race get a name each`, async () => {
        nextGuest();
        const made = await Promise.all(Array.from({ length: 8 }, () => allocate(format)));
        assert.deepEqual(
          made.map(({ name }) => name).sort(),
          made.map((_, index) => `${vmid}/vm-${vmid}-disk-${index}.${format}`),
        );
        const wish = { vmid, sizeBytes: MIB, format, name: `vm-${vmid}-cloudinit` };
        const both = await Promise.allSettled([
          storage.allocate(wish),
          storage.allocate({ ...wish, name: `${wish.name}.${format}` }),
        ]);
        assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
        assert.ok(both.some((each) => each.status === 'rejected' && code('exists')(each.reason)));
        await Promise.all(
          [...made.map(({ name }) => name), `${vmid}/${wish.name}.${format}`].map((name) => storage.free(name)),
        );
        assert.deepEqual(guestFiles(), []);
        // The guest's directory comes and goes.
        await Promise.all(Array.from({ length: 6 }, async () => storage.free((await allocate(format)).name)));
      });

      test(`${format}: a clone that is aborted leaves nothing`, async () => {
        nextGuest();
        const source = makeSource(join(outside, 'source.raw'));
        const stop = new AbortController();
        const cloning = storage.clone(source, { vmid, format }, () => stop.abort(), stop.signal);
        await assert.rejects(cloning, code('aborted'));
        await assert.rejects(storage.allocate({ vmid, sizeBytes: MIB, format }, stop.signal), code('aborted'));
        assert.deepEqual(guestFiles(), []);
        assert.deepEqual(await storage.list({ vmid }), []);
      });

      test(`${format}: a full disk leaves nothing`, async () => {
        await withSmallDisk(
          smallBytes,
          async (small) => {
            const path = join(small.mountPath, 'store');
            const full = open(path);
            const source = { path: join(outside, 'large.raw'), format: 'raw' as const };
            writeFileSync(source.path, Buffer.alloc(24 * MIB, 'x'));
            small.fill(4 * MIB);
            await assert.rejects(full.clone(source, { vmid, format }), code('disk-full'));
            assert.deepEqual(filesBelow(path), []);
            small.release();
            assertEqualImages(source, await full.locate((await full.clone(source, { vmid, format })).name));
          },
          { fileSystem },
        );
      });
    }

    test('status tells the figures of the file system', async () => {
      const { total, used, avail, active } = await storage.status();
      assert.ok(active && total > 400 * MIB && total <= 512 * MIB, String(total));
      assert.ok(used > 0 && avail > 0 && used + avail <= total);
    });

    test('names do not lead out of the storage', async () => {
      nextGuest();
      writeFileSync(join(disk.mountPath, 'vm-100-disk-0.raw'), 'secret');
      for (const name of [
        '',
        '/etc/passwd',
        '../vm-100-disk-0.raw',
        '100/../../../vm-100-disk-0.raw',
        '100/vm-101-disk-0.raw',
        '100/vm-100-disk-0.raw/../../x',
        '100/vm-100-disk-0@snap.raw',
        '100/.partial-1.raw',
        '0100/vm-0100-disk-0.raw',
        '99/vm-99-disk-0.raw',
        '100/vm-100-disk-0.vmdk',
        '100/vm-100-disk-0',
        'iso/../../x.iso',
        'iso/..',
        'iso/a/b.iso',
        'iso/.hidden.iso',
        'iso/x.qcow2',
        'iso/a,b.iso',
        'iso/a\nb.iso',
        'constructor/x',
        'images/x.raw',
      ])
        for (const call of [
          () => storage.locate(name),
          () => storage.free(name),
          () => storage.resize(name, MIB),
          () => storage.snapshots(name),
        ])
          await assert.rejects(call, code('bad-name'), name);
      for (const name of ['../x', 'vm-101-disk-0', 'vm-100-disk-0.qcow2', `vm-${vmid}-`, `vm-${vmid}-a/b`, 'disk'])
        await assert.rejects(storage.allocate({ vmid, sizeBytes: MIB, format: 'raw', name }), code('bad-name'), name);
      for (const vmid of [0, 99, 1e9, 100.5])
        await assert.rejects(storage.allocate({ vmid, sizeBytes: MIB, format: 'raw' }), code('bad-name'));
      for (const sizeBytes of [0, -512, 511, Number.NaN, 2 ** 60 + 0.5])
        await assert.rejects(storage.allocate({ vmid, sizeBytes, format: 'raw' }), code('bad-argument'));
      assert.deepEqual(guestFiles(), []);
    });

    test('symbolic links do not lead out of the storage', async () => {
      nextGuest();
      const { name } = await allocate('qcow2');
      const path = join(root, 'images', String(vmid));
      symlinkSync('/etc/passwd', join(path, `vm-${vmid}-disk-5.qcow2`));
      mkdirSync(join(outside, '9000'), { recursive: true });
      writeFileSync(join(outside, '9000', 'vm-9000-disk-0.qcow2'), '');
      symlinkSync(join(outside, '9000'), join(root, 'images', '9000'));
      for (const foreign of [`${vmid}/vm-${vmid}-disk-5.qcow2`, '9000/vm-9000-disk-0.qcow2']) {
        await assert.rejects(storage.locate(foreign), code('target-unfit'));
        await assert.rejects(storage.free(foreign), code('target-unfit'));
      }
      await assert.rejects(storage.allocate({ vmid: 9000, sizeBytes: MIB, format: 'raw' }), code('target-unfit'));
      assert.deepEqual(filesBelow(join(outside, '9000')), [join(outside, '9000', 'vm-9000-disk-0.qcow2')]);
      assert.deepEqual(
        (await storage.list()).filter(({ vmid: id }) => id === vmid || id === 9000).map((each) => each.name),
        [name],
      );
      rmSync(join(root, 'images', '9000'));
    });

    test('an image from outside that names further files is refused', async () => {
      nextGuest();
      const at = (name: string) => join(outside, name);
      writeFileSync(at('base.raw'), Buffer.alloc(MIB, 's'));
      command('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', at('base.raw'), '-F', 'raw', at('backed.qcow2')]);
      command('qemu-img', [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-o',
        `data_file=${at('data.raw')}`,
        at('split.qcow2'),
        '1M',
      ]);
      for (const file of ['backed.qcow2', 'split.qcow2', 'base.raw'])
        for (const format of FORMATS)
          await assert.rejects(
            storage.clone({ path: at(file), format: 'qcow2' }, { vmid, format }),
            code('bad-argument'),
            file,
          );
      await assert.rejects(
        storage.clone({ path: 'base.raw', format: 'raw' }, { vmid, format: 'raw' }),
        code('bad-argument'),
      );
      await assert.rejects(
        storage.clone({ path: at('none.raw'), format: 'raw' }, { vmid, format: 'raw' }),
        code('not-found'),
      );
      assert.deepEqual(guestFiles(), []);
      // What a guest wrote on its raw disk is only bytes.
      const copy = await storage.clone({ path: at('backed.qcow2'), format: 'raw' }, { vmid, format: 'raw' });
      const bytes = readFileSync(at('backed.qcow2'));
      assert.deepEqual(readFileSync((await storage.locate(copy.name)).path).subarray(0, bytes.length), bytes);
      await storage.free(copy.name);
    });

    test('an image that ends within a sector becomes whole sectors', async () => {
      nextGuest();
      const path = join(root, 'odd.img');
      writeFileSync(path, Buffer.alloc(1000, 'x'));
      const { sizeBytes } = await storage.clone({ path, format: 'raw' }, { vmid, format: 'raw' });
      assert.equal(sizeBytes, 1024);
    });

    test('other content is listed, found and freed', async () => {
      const put = (path: string) => {
        mkdirSync(join(root, path, '..'), { recursive: true });
        writeFileSync(join(root, path), 'bytes');
      };
      const dump = 'vzdump-qemu-4711-2026_11_20-02_00_00.vma.zst';
      put('template/iso/Windows 10 (x64).iso');
      put('template/iso/notes.txt');
      put('template/cache/debian-12.tar.zst');
      put('snippets/user.yaml');
      put('import/cloud.img');
      put(`dump/${dump}`);
      put('dump/vzdump-qemu-4711.log');
      const listed = (await storage.list()).filter(({ content }) => content !== 'images');
      assert.deepEqual(
        listed.map(({ name, vmid: id, sizeBytes, format }) => [name, id, sizeBytes, format]),
        [
          [`backup/${dump}`, 4711, 5, 'raw'],
          ['import/cloud.img', undefined, 5, 'raw'],
          ['iso/Windows 10 (x64).iso', undefined, 5, 'raw'],
          ['snippets/user.yaml', undefined, 5, 'raw'],
          ['vztmpl/debian-12.tar.zst', undefined, 5, 'raw'],
        ],
      );
      assert.equal(
        (await storage.locate('iso/Windows 10 (x64).iso')).path,
        join(root, 'template/iso/Windows 10 (x64).iso'),
      );
      await assert.rejects(storage.snapshot('iso/Windows 10 (x64).iso', 'one'), code('bad-argument'));
      await assert.rejects(storage.locate('iso/Windows 10 (x64).iso', 'one'), code('bad-argument'));
      for (const { name } of listed) await storage.free(name);
      assert.deepEqual((await storage.list({ content: 'iso' })).length, 0);
      assert.ok(existsSync(join(root, 'template/iso/notes.txt')));
    });

    test('what a killed process left is removed a day later', async () => {
      nextGuest();
      await allocate('raw');
      const directory = join(root, 'images', String(vmid));
      for (const name of ['.partial-old', '.partial-new']) writeFileSync(join(directory, name), '');
      mkdirSync(join(directory, '.partial-subvolume'));
      writeFileSync(join(directory, '.partial-subvolume', 'disk.raw'), '');
      const old = Date.now() / 1000 - 25 * 3600;
      for (const name of ['.partial-old', '.partial-subvolume/disk.raw', '.partial-subvolume'])
        utimesSync(join(directory, name), old, old);
      assert.equal((await storage.list({ vmid })).length, 1);
      await allocate('raw');
      assert.deepEqual(
        readdirSync(directory).filter((name) => name.startsWith('.')),
        ['.partial-new'],
      );
    });

    test('a damaged qcow2 image is listed and can be freed', async () => {
      nextGuest();
      const { name } = await allocate('qcow2');
      truncateSync((await storage.locate(name)).path, 10);
      assert.deepEqual(
        (await storage.list({ vmid })).map((each) => each.sizeBytes),
        [10],
      );
      await assert.rejects(storage.resize(name, 16 * MIB), code('target-unfit'));
      await storage.free(name);
    });

    test('a linked clone shows what it stands on', async () => {
      nextGuest();
      const { id, name } = await allocate('qcow2');
      const { path } = await storage.locate(name);
      command('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', path, '-F', 'qcow2', path.replace('disk-0', 'disk-1')]);
      assert.deepEqual(
        (await storage.list({ vmid })).map(({ parent }) => parent),
        [undefined, id],
      );
    });

    test('a storage without images takes no disks', async () => {
      const isos = open(root, 'isos');
      await assert.rejects(isos.allocate({ vmid: 100, sizeBytes: MIB, format: 'raw' }), code('target-unfit'));
      assert.ok((await isos.list()).every(({ content }) => content === 'iso'));
    });
  });
}
