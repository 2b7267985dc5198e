// Native calls that look and read: what they find, byte by byte, and how each failure is answered.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  errnoName,
  OPEN_DIRECTORY,
  OPEN_NEW,
  OPEN_TO_READ,
  readFailures,
  STAT_OUT_BYTES,
} from '../../../src/agent/tree/file-calls.ts';
import { eachXattr } from '../../../src/chunker/directory.ts';
import { FileType, fileType, readStat } from '../../../src/chunker/stat-block.ts';
import { calls, isRoot, name, nameList, scanned, statOf, temporaryDirectory } from './native.ts';

const { EBADF, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO } = constants.errno;
const needsRoot = isRoot ? false : 'needs root';
const raw = (path: string, each: string): Buffer =>
  Buffer.concat([Buffer.from(`${path}/`), Buffer.from(each, 'latin1')]);

test('names are listed as bytes, sorted, with 255 bytes and without UTF-8', (t) => {
  const { path, fd } = temporaryDirectory(t);
  const names = ['b', 'a', 'ab', '\xff', '\xe9', 'A', '.hidden', ' ', '\n', 'n'.repeat(255), '\xc3\xa9'];
  for (const each of names) writeFileSync(raw(path, each), '');
  const sorted = [...names].sort();
  assert.deepEqual(calls.listNames(fd), nameList(...sorted));
  writeFileSync(raw(path, 'c'), '');
  assert.deepEqual(
    calls.listNames(fd),
    nameList(...[...names, 'c'].sort()),
    'the same descriptor lists from the start again',
  );
  assert.deepEqual(
    scanned(fd, ...sorted).map((each) => each.name),
    sorted,
  );
});

test('a directory of many names is listed whole', (t) => {
  const { path, fd } = temporaryDirectory(t);
  const names = Array.from({ length: 5000 }, (_, place) => `${place}-${'x'.repeat(100)}`);
  for (const each of names) writeFileSync(join(path, each), '');
  const listed = calls.listNames(fd) as Buffer;
  assert.deepEqual(listed, nameList(...names.sort()));
});

test('an empty directory has no names, and what is no directory an error', (t) => {
  const { path, fd } = temporaryDirectory(t);
  assert.deepEqual(calls.listNames(fd), Buffer.alloc(0));
  assert.deepEqual(calls.scan(fd, Buffer.alloc(0)), Buffer.alloc(0));
  writeFileSync(join(path, 'f'), '');
  const file = openSync(join(path, 'f'), 'r');
  assert.equal(calls.listNames(file), -ENOTDIR);
  closeSync(file);
  assert.equal(calls.listNames(-5), -EBADF);
});

test('a scan says of each name what it is, and why not', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'file'), 'hello', { mode: 0o640 });
  linkSync(join(path, 'file'), join(path, 'hard'));
  symlinkSync('nowhere/\xe9', join(path, 'link'));
  mkdirSync(join(path, 'dir'));
  execFileSync('mkfifo', [join(path, 'fifo')]);
  const [file, hard, link, dir, fifo, gone, long] = scanned(
    fd,
    'file',
    'hard',
    'link',
    'dir',
    'fifo',
    'gone',
    'g'.repeat(255),
  );
  assert.equal(fileType(file!.stat), FileType.file);
  const stat = readStat(file!.stat);
  const truth = statSync(join(path, 'file'), { bigint: true });
  assert.deepEqual(
    [
      stat.mode,
      stat.uid,
      stat.gid,
      stat.nlink,
      stat.sizeBytes,
      stat.mtimeNs,
      stat.ctimeNs,
      stat.inode,
      stat.major,
      stat.minor,
    ],
    [Number(truth.mode), Number(truth.uid), Number(truth.gid), 2, 5, truth.mtimeNs, truth.ctimeNs, truth.ino, 0, 0],
  );
  const { dev } = statSync(path);
  assert.equal(file!.device, ((dev >> 8) & 0xfff) * 2 ** 32 + ((dev & 0xff) | ((dev >> 12) & 0xfff00)));
  assert.equal(readStat(hard!.stat).inode, stat.inode);
  assert.equal(fileType(link!.stat), FileType.symlink);
  assert.equal(link!.target.toString(), readlinkSync(join(path, 'link')));
  assert.equal(readStat(link!.stat).sizeBytes, 0);
  assert.deepEqual(
    [fileType(dir!.stat), readStat(dir!.stat).nlink, readStat(dir!.stat).sizeBytes],
    [FileType.directory, 1, 0],
  );
  assert.equal(fileType(fifo!.stat), FileType.fifo);
  for (const each of [gone, long])
    assert.deepEqual([each!.errno, each!.stat.every((byte) => byte === 0)], [ENOENT, true]);
  for (const each of [file, hard, link, dir, fifo])
    assert.deepEqual([each!.errno, each!.xattrErrno, each!.isMountPoint], [0, 0, false]);
});

test('names that are cut off are refused', (t) => {
  const { fd } = temporaryDirectory(t);
  assert.equal(calls.scan(fd, Buffer.from([5, 97])), -EINVAL);
});

test('a link is never followed: not by a scan, a stat, an open or a read', (t) => {
  const { path, fd } = temporaryDirectory(t);
  mkdirSync(join(path, 'dir'));
  writeFileSync(join(path, 'file'), 'secret');
  symlinkSync('dir', join(path, 'to-dir'));
  symlinkSync('file', join(path, 'to-file'));
  assert.equal(fileType(scanned(fd, 'to-file')[0]!.stat), FileType.symlink);
  assert.equal(statOf(fd, 'to-file').mode & 0o170000, FileType.symlink);
  assert.ok([-ELOOP, -ENOTDIR].includes(calls.open(fd, name('to-dir'), OPEN_DIRECTORY, 0)));
  assert.equal(calls.open(fd, name('to-file'), OPEN_TO_READ, 0), -ELOOP);
  assert.equal(calls.readFile(fd, name('to-file'), Buffer.alloc(10), new Uint8Array(STAT_OUT_BYTES)), -ELOOP);
  assert.equal(calls.open(fd, name('to-file'), OPEN_NEW, 0o600), -EEXIST);
});

test('opening: a file, a directory, a path, and what is not there', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'f'), 'x');
  const opened = calls.open(fd, name('f'), OPEN_TO_READ, 0);
  assert.ok(opened > 2);
  closeSync(opened);
  const top = calls.open(-1, name(path), OPEN_DIRECTORY, 0);
  assert.ok(top > 2);
  closeSync(top);
  assert.equal(calls.open(fd, name('f'), OPEN_DIRECTORY, 0), -ENOTDIR);
  assert.equal(calls.open(fd, name('g'), OPEN_TO_READ, 0), -ENOENT);
  assert.equal(calls.open(fd, name('n'.repeat(256)), OPEN_TO_READ, 0), -ENAMETOOLONG);
  assert.equal(calls.open(-1, name(`/${'./'.repeat(3000)}tmp`), OPEN_DIRECTORY, 0), -ENAMETOOLONG);
  const created = calls.open(fd, name('new'), OPEN_NEW, 0o640);
  writeSync(created, 'abc');
  closeSync(created);
  assert.equal(statOf(fd, 'new').sizeBytes, 3);
  assert.equal(calls.open(fd, name('new'), OPEN_NEW, 0o640), -EEXIST);
});

test('a FIFO that nobody writes to does not stop a reader', (t) => {
  const { path, fd } = temporaryDirectory(t);
  execFileSync('mkfifo', [join(path, 'fifo')]);
  const out = new Uint8Array(STAT_OUT_BYTES);
  assert.equal(calls.readFile(fd, name('fifo'), Buffer.alloc(10), out), 0);
  assert.equal(fileType(out), FileType.fifo);
});

test('reading gives what fits and the stat block of after the reading', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'f'), 'hello');
  const out = new Uint8Array(STAT_OUT_BYTES);
  const target = Buffer.alloc(8, '.');
  assert.equal(calls.readFile(fd, name('f'), target, out), 5);
  assert.equal(target.toString(), 'hello...');
  assert.deepEqual(readStat(out), statOf(fd, 'f'));
  assert.equal(calls.readFile(fd, name('f'), target.subarray(0, 3), out), 3);
  assert.equal(readStat(out).sizeBytes, 5);
  assert.equal(calls.readFile(fd, name('f'), new Uint8Array(0), out), 0);
  assert.equal(calls.readFile(fd, name('gone'), target, out), -ENOENT);
  assert.equal(calls.readFile(fd, name('f'), target, new Uint8Array(STAT_OUT_BYTES - 1)), -EINVAL);
  mkdirSync(join(path, 'd'));
  assert.equal(calls.readFile(fd, name('d'), target, out), -EISDIR);
});

test('reading does not change the access time, for the owner', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'f'), 'x');
  // Older than a day: even with relatime a read would set it.
  utimesSync(join(path, 'f'), 1000, 2000);
  calls.readFile(fd, name('f'), Buffer.alloc(1), new Uint8Array(STAT_OUT_BYTES));
  assert.equal(statSync(join(path, 'f')).atimeMs, 1_000_000);
});

test("a file of another owner is read, too: O_NOATIME is the owner's alone", { skip: needsRoot }, (t) => {
  const { path, fd: _ } = temporaryDirectory(t);
  execFileSync('chmod', ['755', path]);
  writeFileSync(join(path, 'f'), 'readable', { mode: 0o644 });
  const script = `
    const { loadFileCalls, OPEN_TO_READ, OPEN_DIRECTORY } = await import(${JSON.stringify(new URL('../../../src/agent/tree/file-calls.ts', import.meta.url).href)});
    const calls = loadFileCalls();
    process.setgid(65534); process.setgroups([]); process.setuid(65534);
    const top = calls.open(-1, ${JSON.stringify(path)}, OPEN_DIRECTORY, 0);
    const out = new Uint8Array(76), target = new Uint8Array(8);
    console.log(calls.open(top, 'f', OPEN_TO_READ, 0) > 2, calls.readFile(top, 'f', target, out), Buffer.from(target).toString());`;
  const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.equal(said, 'true 8 readable\n');
});

test('data and holes are found; a sparse file is known as such', (t) => {
  const { path, fd } = temporaryDirectory(t);
  const file = openSync(join(path, 'sparse'), 'w+');
  writeSync(file, Buffer.alloc(65_536, 1), 0, 65_536, 1024 * 1024);
  truncateSync(join(path, 'sparse'), 4 * 1024 * 1024);
  assert.equal(calls.seek(file, 0, false), 1024 * 1024);
  assert.equal(calls.seek(file, 1024 * 1024, true), 1024 * 1024 + 65_536);
  assert.equal(calls.seek(file, 2 * 1024 * 1024, false), -ENXIO);
  closeSync(file);
  assert.equal(calls.seek(-1, 0, false), -EBADF);
  writeFileSync(join(path, 'dense'), Buffer.alloc(8192, 1));
  assert.deepEqual(
    scanned(fd, 'sparse', 'dense').map((each) => each.isSparse),
    [true, false],
  );
});

test('a device has its numbers, another file none', { skip: needsRoot }, (t) => {
  const { path, fd } = temporaryDirectory(t);
  execFileSync('mknod', [join(path, 'null'), 'c', '1', '3']);
  execFileSync('mknod', [join(path, 'disk'), 'b', '259', '70000']);
  const [character, block] = scanned(fd, 'null', 'disk').map((each) => readStat(each.stat));
  assert.deepEqual([character!.mode & 0o170000, character!.major, character!.minor], [FileType.characterDevice, 1, 3]);
  assert.deepEqual([block!.mode & 0o170000, block!.major, block!.minor], [FileType.blockDevice, 259, 70_000]);
});

test('a mount point is marked', (t) => {
  const root = openSync('/', 'r');
  t.after(() => closeSync(root));
  const [proc, etc] = scanned(root, 'proc', 'etc');
  assert.deepEqual([proc!.isMountPoint, etc!.isMountPoint], [true, false]);
  assert.notEqual(proc!.device, etc!.device);
});

test('the stat of the descriptor itself is that of an empty name', (t) => {
  const { path, fd } = temporaryDirectory(t);
  assert.equal(statOf(fd, '').inode, BigInt(fstatSync(fd).ino));
  assert.equal(statOf(fd, '').inode, statSync(path, { bigint: true }).ino);
  assert.equal(calls.stat(fd, name('gone'), new Uint8Array(STAT_OUT_BYTES)), -ENOENT);
  assert.equal(calls.stat(fd, name(''), new Uint8Array(10)), -EINVAL);
});

test('attributes, ACLs and capabilities are read sorted, and other names of the system are left out', {
  skip: needsRoot,
}, (t) => {
  const { path, fd } = temporaryDirectory(t);
  const file = join(path, 'f');
  writeFileSync(file, '');
  execFileSync('setfattr', ['-n', 'user.b', '-v', '0xff00fe', file]);
  execFileSync('setfattr', ['-n', 'user.a', file]);
  execFileSync('setfattr', ['-n', 'trusted.t', '-v', 'x', file]);
  execFileSync('setfattr', ['-n', 'security.capability', '-v', '0x0100000200200000000000000000000000000000', file]);
  execFileSync('setfacl', ['-m', 'u:1234:rwx', file]);
  mkdirSync(join(path, 'd'));
  execFileSync('setfacl', ['-d', '-m', 'g:77:r', join(path, 'd')]);
  const [one, directory] = scanned(fd, 'f', 'd');
  const attributes = [...eachXattr(one!.xattrs)];
  assert.deepEqual(
    attributes.map((each) => each.name as string),
    ['security.capability', 'system.posix_acl_access', 'trusted.t', 'user.a', 'user.b'],
  );
  assert.equal(attributes.at(-1)?.value.toString('hex'), 'ff00fe');
  assert.equal(attributes.at(-2)?.value.length, 0);
  assert.ok(attributes[1]?.value.includes(Buffer.from([0xd2, 0x04, 0, 0])));
  assert.deepEqual(
    [...eachXattr(directory!.xattrs)].map((each) => each.name as string),
    ['system.posix_acl_default'],
  );
});

test('a list of attributes beyond a kilobyte is read whole', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'f'), '');
  const names = Array.from({ length: 12 }, (_, place) => `user.${String(place).padStart(2, '0')}${'n'.repeat(120)}`);
  for (const each of names) execFileSync('setfattr', ['-n', each, '-v', 'v', join(path, 'f')]);
  const [one] = scanned(fd, 'f');
  assert.deepEqual(
    [...eachXattr(one!.xattrs)].map((each) => each.name as string),
    names,
  );
  assert.equal(one!.xattrErrno, 0);
});

test('errors have names, and failures come apart into kinds and the first errno', () => {
  assert.equal(errnoName(-ENOENT), 'ENOENT');
  assert.equal(errnoName(ENOENT), 'ENOENT');
  assert.deepEqual(readFailures((13 << 8) | 5), { kinds: 5, errno: 13 });
  assert.deepEqual(readFailures(0), { kinds: 0, errno: 0 });
});
