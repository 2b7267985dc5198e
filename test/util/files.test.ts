// The small leaves that touch files: atomic files, durable directories, direct I/O.
import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Arena } from '../../src/util/arena.ts';
import { readIfPresent, syncDirectory, writeFileAtomic, writeSynced } from '../../src/util/atomic-file.ts';
import { closeQuietly, openDirect, readFully, writeFully } from '../../src/util/direct-io.ts';
import { DurableDirectories } from '../../src/util/durable-directories.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';
import { skipSmallDisk, withSmallDisk } from '../support/small-disk.ts';

test('an atomic file is made, replaced, and leaves nothing beside it', async (t) => {
  const path = join(temporaryDirectory(t), 'state.json');
  assert.equal(await readIfPresent(path), undefined);
  await writeFileAtomic(path, 'one');
  assert.equal(await readIfPresent(path), 'one');
  assert.equal(statSync(path).mode & 0o007, 0, 'nobody else reads it');
  writeFileSync(`${path}.tmp`, 'what a crash left, longer than what comes now');
  await writeFileAtomic(path, 'two');
  assert.equal(readFileSync(path, 'utf8'), 'two');
  assert.ok(!existsSync(`${path}.tmp`));
});

test('what fails leaves the old file in place', async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'state.json');
  mkdirSync(path);
  writeFileSync(join(path, 'in-the-way'), '');
  await assert.rejects(writeFileAtomic(path, 'new'));
  assert.ok(existsSync(join(path, 'in-the-way')));
  assert.ok(!existsSync(`${path}.tmp`));
  await assert.rejects(writeFileAtomic(join(directory, 'nowhere', 'x'), 'new'), { code: 'ENOENT' });
});

test('a full disk leaves the old file in place', { skip: skipSmallDisk() }, async () => {
  await withSmallDisk(4 << 20, async (disk) => {
    const path = join(disk.mountPath, 'state.json');
    await writeFileAtomic(path, 'old');
    disk.fill();
    await assert.rejects(writeFileAtomic(path, 'x'.repeat(100_000)), { code: 'ENOSPC' });
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.ok(!existsSync(`${path}.tmp`), 'it would take what little room there is');
  });
});

test('what could not be written does not stay beside the old file', async (t) => {
  const path = join(temporaryDirectory(t), 'state.json');
  writeFileSync(path, 'old');
  symlinkSync('/dev/full', `${path}.tmp`);
  await assert.rejects(writeFileAtomic(path, 'new'), { code: 'ENOSPC' });
  assert.equal(readFileSync(path, 'utf8'), 'old');
  assert.deepEqual(readdirSync(dirname(path)), ['state.json']);
});

test('errors other than absence are not taken for absence', async (t) => {
  const directory = temporaryDirectory(t);
  await assert.rejects(readIfPresent(directory), { code: 'EISDIR' });
  writeFileSync(join(directory, 'file'), '');
  await assert.rejects(readIfPresent(join(directory, 'file', 'below')), { code: 'ENOTDIR' });
  await assert.rejects(syncDirectory(join(directory, 'none')), { code: 'ENOENT' });
  await writeSynced(join(directory, 'plain'), 'text');
  assert.equal(readFileSync(join(directory, 'plain'), 'utf8'), 'text');
});

test('directories are made with all their parents, again and again, and only below the root', async (t) => {
  const root = temporaryDirectory(t);
  const directories = new DurableDirectories(root);
  const path = join(root, 'a', 'b', 'c');
  await directories.create(path);
  await directories.create(path);
  await directories.create(root);
  await directories.sync(path);
  assert.ok(statSync(path).isDirectory());
  writeFileSync(join(root, 'file'), '');
  await assert.rejects(directories.create(join(root, 'file', 'x')), { code: 'ENOTDIR' });
});

/** Whether opening with O_DIRECT works here. */
function takesDirect(directory: string): boolean {
  try {
    closeSync(openSync(join(directory, 'probe'), constants.O_RDWR | constants.O_CREAT | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}

for (const parent of ['/dev/shm', '/tmp']) {
  test(`direct files in ${parent}: made, written, read, never made twice`, (t) => {
    const directory = mkdtempSync(join(parent, 'holdfast-direct-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'pack');
    const area = new Arena(65536 + 65536).allocate(16_384);
    area.bytes.forEach((_, n) => {
      area.bytes[n] = n % 251;
    });
    const fd = openDirect(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
    writeFully(fd, area.bytes, 0);
    writeFully(fd, area.bytes.subarray(0, 4096), 16_384);
    closeQuietly(fd);
    closeQuietly(fd);
    assert.throws(() => openDirect(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL), { code: 'EEXIST' });
    assert.equal(statSync(path).size, 20_480);
    const back = new Arena(65536 + 65536).allocate(32_768);
    const reading = openDirect(path, constants.O_RDONLY);
    t.after(() => closeQuietly(reading));
    assert.equal(readFully(reading, back.bytes, 0), 20_480, 'the file ends before the target');
    assert.deepEqual(back.bytes.subarray(0, 16_384), area.bytes);
    assert.equal(readFully(reading, back.bytes.subarray(0, 4096), 16_384), 4096);
    assert.equal(readFully(reading, back.bytes, 20_480), 0);
    assert.throws(() => openDirect(join(directory, 'none'), constants.O_RDONLY), { code: 'ENOENT' });
    t.diagnostic(
      `O_DIRECT ${takesDirect(directory) ? 'works' : 'is refused'} in ${parent}, type ${statfsSync(parent).type}`,
    );
  });
}

test('where direct I/O is refused, files are opened without', (t) => {
  // Every kernel refuses it for procfs; tmpfs refused it before Linux 6.6.
  const path = '/proc/version';
  assert.throws(() => openSync(path, constants.O_RDONLY | constants.O_DIRECT), { code: 'EINVAL' });
  const fd = openDirect(path, constants.O_RDONLY);
  t.after(() => closeQuietly(fd));
  const bytes = Buffer.alloc(4096);
  const length = readFully(fd, bytes, 0);
  assert.equal(bytes.toString('latin1', 0, length), readFileSync(path, 'latin1'));
});

test('a file of odd length is read to its end', (t: TestContext) => {
  const path = join(temporaryDirectory(t), 'odd');
  writeFileSync(path, Buffer.alloc(5000, 7));
  const { bytes } = new Arena(65536 + 65536).allocate(8192);
  const fd = openDirect(path, constants.O_RDONLY);
  t.after(() => closeQuietly(fd));
  assert.equal(readFully(fd, bytes, 0), 5000);
  assert.equal(bytes[4999], 7);
  assert.equal(bytes[5000], 0);
});

test('a disk that fills up in the middle of a write is said to be full', { skip: skipSmallDisk() }, async () => {
  await withSmallDisk(8 << 20, (disk) => {
    const area = new Arena((16 << 20) + 65536 * 2).allocate(16 << 20);
    const fd = openDirect(join(disk.mountPath, 'pack'), constants.O_WRONLY | constants.O_CREAT);
    assert.throws(() => writeFully(fd, area.bytes, 0), { code: 'ENOSPC' });
    closeQuietly(fd);
  });
});

test('an error of the first write is reported as it is', (t) => {
  const path = join(temporaryDirectory(t), 'read-only');
  writeFileSync(path, '');
  const fd = openSync(path, 'r');
  assert.throws(() => writeFully(fd, Buffer.alloc(10), 0), { code: 'EBADF' });
  closeSync(fd);
});
