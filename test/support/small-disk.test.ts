import assert from 'node:assert/strict';
import { closeSync, constants, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { leftovers } from './power-cut/scratch.ts';
import { skipSmallDisk, withSmallDisk } from './small-disk.ts';

const MIB = 1 << 20;
const code = (wanted: string) => (error: unknown) => (error as NodeJS.ErrnoException).code === wanted;

suite('small disk', { skip: skipSmallDisk() }, () => {
  after(() => assert.deepEqual(leftovers(), []));

  test('runs out of space, and has it again', async () => {
    await withSmallDisk(16 * MIB, (disk) => {
      const path = join(disk.mountPath, 'data');
      assert.throws(() => writeFileSync(path, Buffer.alloc(32 * MIB)), code('ENOSPC'));
      writeFileSync(path, '');
      disk.fill();
      assert.throws(() => writeFileSync(path, Buffer.alloc(64 * 1024)), code('ENOSPC'));
      disk.release();
      writeFileSync(path, Buffer.alloc(MIB));
      disk.fill(2 * MIB);
      assert.ok(disk.freeBytes() <= 2 * MIB && disk.freeBytes() > MIB, `${disk.freeBytes()} bytes are free`);
    });
  });

  test('a direct write to a full disk comes short or fails', async () => {
    await withSmallDisk(16 * MIB, (disk) => {
      disk.fill(MIB);
      const bytes = new Uint8Array(new WebAssembly.Memory({ initial: 64 }).buffer);
      const fd = openSync(join(disk.mountPath, 'pack'), constants.O_WRONLY | constants.O_CREAT | constants.O_DIRECT);
      const put = () => writeSync(fd, bytes, 0, bytes.length, 0);
      const written = (() => {
        try {
          return put();
        } catch (error) {
          assert.ok(code('ENOSPC')(error));
          return 0;
        }
      })();
      assert.ok(written < bytes.length, `${written} bytes`);
      closeSync(fd);
    });
  });

  test('runs out of inodes', async () => {
    await withSmallDisk(
      16 * MIB,
      (disk) => {
        const create = () => {
          for (let n = 0; n < 200; n++) writeFileSync(join(disk.mountPath, `f${n}`), '');
        };
        assert.throws(create, code('ENOSPC'));
        assert.ok(disk.freeBytes() > MIB);
      },
      { inodes: 64 },
    );
  });

  test('is remounted read-only and back', async () => {
    await withSmallDisk(16 * MIB, (disk) => {
      const path = join(disk.mountPath, 'data');
      writeFileSync(path, 'kept');
      disk.remountReadOnly();
      assert.throws(() => writeFileSync(path, 'lost'), code('EROFS'));
      assert.equal(readFileSync(path, 'utf8'), 'kept');
      disk.remountWritable();
      writeFileSync(path, 'new');
    });
  });

  test('breaks under an open file', async () => {
    await withSmallDisk(16 * MIB, (disk) => {
      const fd = openSync(join(disk.mountPath, 'data'), 'w');
      writeSync(fd, 'before');
      fsyncSync(fd);
      assert.throws(() => disk.remountReadOnly());
      disk.abort();
      const writeAndSync = () => {
        writeSync(fd, 'after');
        fsyncSync(fd);
      };
      assert.throws(writeAndSync, (error) => code('EROFS')(error) || code('EIO')(error) || code('ESHUTDOWN')(error));
      closeSync(fd);
    });
  });

  test('is taken down after a failure', async () => {
    await assert.rejects(
      withSmallDisk(16 * MIB, () => Promise.reject(new Error('of the test'))),
      /of the test/,
    );
    assert.deepEqual(leftovers(), []);
  });
});
