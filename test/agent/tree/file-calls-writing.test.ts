// Native calls that make files and set what they have: all of it arrives, what cannot be set is told by kind, nothing goes through a
// symbolic link, and rights never go to somebody else.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Metadata, readFailures } from '../../../src/agent/tree/file-calls.ts';
import { eachXattr, encodeXattrs } from '../../../src/chunker/directory.ts';
import { FileType } from '../../../src/chunker/stat-block.ts';
import { calls, isRoot, NO_XATTRS, name, scanned, statBlock, statOf, temporaryDirectory } from './native.ts';

const { EEXIST, EINVAL, ENAMETOOLONG, ENOENT, ENOTEMPTY, EOPNOTSUPP, EPERM } = constants.errno;
const needsRoot = isRoot ? false : 'needs root';
const FILE = FileType.file;
const ACL = Buffer.from(
  '0200000001000600ffffffff02000700d204000004000400ffffffff10000700ffffffff20000000ffffffff',
  'hex',
);
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');

const xattrs = (attributes: Record<string, Buffer | string>): Buffer =>
  encodeXattrs(Object.entries(attributes).map(([each, value]) => ({ name: name(each), value: Buffer.from(value) })));

test('a new file has its data, mode, time and attributes', (t) => {
  const { path, fd } = temporaryDirectory(t);
  const data = Buffer.from('data of a file');
  const attributes = xattrs({ 'user.k': 'v', 'user.empty': '' });
  const stat = statBlock(FILE | 0o4751);
  assert.equal(calls.writeFile(fd, name('n\xe9w'), data, stat, attributes, Metadata.all), 0);
  const { mode, mtimeNs, sizeBytes } = statOf(fd, 'n\xe9w');
  assert.deepEqual([mode, mtimeNs, sizeBytes], [FILE | 0o4751, 1_234_567_890_123_456_789n, data.length]);
  assert.deepEqual(readFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from('n\xe9w', 'latin1')])), data);
  assert.deepEqual(Buffer.from(scanned(fd, 'n\xe9w')[0]!.xattrs), attributes);
});

test('times before 1970 and beyond 2038 are set', (t) => {
  const { fd } = temporaryDirectory(t);
  for (const mtimeNs of [-1n, -1_000_000_001n, 5_000_000_000_000_000_001n]) {
    assert.equal(
      calls.writeFile(fd, name('f'), Buffer.alloc(0), statBlock(FILE | 0o600, { mtimeNs }), NO_XATTRS, Metadata.all),
      0,
    );
    assert.equal(statOf(fd, 'f').mtimeNs, mtimeNs);
    assert.equal(calls.remove(fd, name('f'), false), 0);
  }
});

test('a file is never written over, nor through a link', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'there'), 'old');
  symlinkSync('target', join(path, 'link'));
  for (const each of ['there', 'link'])
    assert.equal(
      calls.writeFile(fd, name(each), Buffer.from('new'), statBlock(FILE), NO_XATTRS, Metadata.all),
      -EEXIST,
    );
  assert.equal(readFileSync(join(path, 'there'), 'utf8'), 'old');
  assert.deepEqual(readdirSync(path).sort(), ['link', 'there']);
  assert.equal(
    calls.writeFile(fd, name('n'.repeat(256)), Buffer.alloc(0), statBlock(FILE), NO_XATTRS, 0),
    -ENAMETOOLONG,
  );
  assert.equal(calls.writeFile(fd, name('x'), Buffer.alloc(0), new Uint8Array(67), NO_XATTRS, 0), -EINVAL);
});

test('only what is wanted is set', (t) => {
  const { fd } = temporaryDirectory(t);
  const attributes = xattrs({ 'user.k': 'v' });
  assert.equal(calls.writeFile(fd, name('f'), Buffer.alloc(0), statBlock(FILE | 0o777), attributes, Metadata.times), 0);
  const { mode, mtimeNs } = statOf(fd, 'f');
  assert.deepEqual([mode, mtimeNs], [FILE | 0o600, 1_234_567_890_123_456_789n]);
  assert.equal(scanned(fd, 'f')[0]!.xattrs.length, 0);
});

test('owner, ACL, capability and attributes arrive together', { skip: needsRoot }, (t) => {
  const { fd } = temporaryDirectory(t);
  const attributes = xattrs({
    'security.capability': CAPABILITY,
    'system.posix_acl_access': ACL,
    'trusted.t': 'x',
    'user.a': 'b',
  });
  const stat = statBlock(FILE | 0o6670, { uid: 1001, gid: 1002, attributes: 0x50 });
  assert.equal(calls.writeFile(fd, name('f'), Buffer.from('x'), stat, attributes, Metadata.all), 0);
  const [one] = scanned(fd, 'f');
  assert.deepEqual([...eachXattr(one!.xattrs)], [...eachXattr(attributes)]);
  const { mode, uid, gid, attributes: bits, mtimeNs } = statOf(fd, 'f');
  assert.deepEqual([mode, uid, gid, bits, mtimeNs], [FILE | 0o6670, 1001, 1002, 0x50, 1_234_567_890_123_456_789n]);
  assert.equal(calls.remove(fd, name('f'), false), -EPERM, 'it is immutable');
});

test('what cannot be set is told by kind, with the first errno, and the rest is set', (t) => {
  const { fd } = temporaryDirectory(t);
  const attributes = xattrs({ 'nowhere.x': 'v', 'system.posix_acl_access': Buffer.from('00'), 'user.k': 'v' });
  const result = calls.writeFile(
    fd,
    name('f'),
    Buffer.alloc(0),
    statBlock(FILE | 0o640, { attributes: 0x4 }),
    attributes,
    Metadata.all,
  );
  const { kinds, errno } = readFailures(result);
  assert.equal(
    kinds & (Metadata.xattrs | Metadata.acls | Metadata.times | Metadata.mode),
    Metadata.xattrs | Metadata.acls,
  );
  assert.equal(errno, EOPNOTSUPP);
  assert.equal(statOf(fd, 'f').mode, FILE | 0o640);
  assert.deepEqual(
    [...eachXattr(scanned(fd, 'f')[0]!.xattrs)].map((each) => each.name as string),
    ['user.k'],
  );
});

test('attributes that are cut off set nothing beyond their end', (t) => {
  const { fd } = temporaryDirectory(t);
  const whole = xattrs({ 'user.a': 'b', 'user.c': 'd' });
  calls.writeFile(fd, name('f'), Buffer.alloc(0), statBlock(FILE | 0o600), whole.subarray(0, -1), Metadata.all);
  assert.deepEqual(
    [...eachXattr(scanned(fd, 'f')[0]!.xattrs)].map((each) => each.name as string),
    ['user.a'],
  );
});

test('set-id bits are left out when the owner cannot be set', { skip: needsRoot }, (t) => {
  const { path } = temporaryDirectory(t);
  execFileSync('chmod', ['777', path]);
  const script = `
    const { loadFileCalls, OPEN_DIRECTORY } = await import(${JSON.stringify(new URL('../../../src/agent/tree/file-calls.ts', import.meta.url).href)});
    const { writeStat } = await import(${JSON.stringify(new URL('../../../src/chunker/stat-block.ts', import.meta.url).href)});
    const calls = loadFileCalls();
    process.setgid(65534); process.setgroups([]); process.setuid(65534);
    const top = calls.open(-1, ${JSON.stringify(path)}, OPEN_DIRECTORY, 0);
    for (const uid of [0, 65534]) {
      const stat = writeStat({ mode: 0o106755, uid, gid: 65534, nlink: 1, sizeBytes: 0, mtimeNs: 0n, ctimeNs: 0n, inode: 0n, major: 0, minor: 0, attributes: 0 });
      console.log(calls.writeFile(top, 'f' + uid, new Uint8Array(0), stat, new Uint8Array(0), 63));
    }`;
  const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const [foreign, own] = said
    .trim()
    .split('\n')
    .map((each) => readFailures(Number(each)));
  assert.deepEqual(
    [foreign, own],
    [
      { kinds: Metadata.owner, errno: EPERM },
      { kinds: 0, errno: 0 },
    ],
  );
  assert.equal(statSync(join(path, 'f0')).mode & 0o7777, 0o755);
  assert.equal(statSync(join(path, 'f65534')).mode & 0o7777, 0o6755);
});

test('metadata of a descriptor, and of a name', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'f'), '');
  const file = openSync(join(path, 'f'), 'r+');
  const attributes = xattrs({ 'user.k': 'v' });
  assert.equal(calls.setMetadata(fd, name('ignored'), file, statBlock(FILE | 0o641), attributes, Metadata.all), 0);
  closeSync(file);
  assert.deepEqual([statOf(fd, 'f').mode, statOf(fd, 'f').mtimeNs], [FILE | 0o641, 1_234_567_890_123_456_789n]);
  assert.equal(scanned(fd, 'f')[0]!.xattrs.length, attributes.length);
  mkdirSync(join(path, 'd'));
  assert.equal(
    calls.setMetadata(
      fd,
      name('d'),
      -1,
      statBlock(FileType.directory | 0o1770),
      attributes,
      Metadata.all & ~Metadata.attributes,
    ),
    0,
  );
  assert.equal(statOf(fd, 'd').mode, FileType.directory | 0o1770);
  const { kinds, errno } = readFailures(
    calls.setMetadata(fd, name('gone'), -1, statBlock(FILE), NO_XATTRS, Metadata.all),
  );
  assert.deepEqual([kinds, errno], [Metadata.owner | Metadata.mode | Metadata.times, ENOENT]);
  assert.equal(calls.setMetadata(fd, name('d'), -1, new Uint8Array(10), NO_XATTRS, 0), -EINVAL);
});

test('metadata never goes through a link that took the place of a file', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'victim'), '', { mode: 0o600 });
  symlinkSync('victim', join(path, 'fifo'));
  const before = statOf(fd, 'victim');
  const stat = statBlock(FileType.fifo | 0o666, { ...(isRoot && { uid: 1001 }) });
  calls.setMetadata(fd, name('fifo'), -1, stat, xattrs({ 'user.k': 'v' }), Metadata.all);
  assert.deepEqual(statOf(fd, 'victim'), before);
  assert.equal(scanned(fd, 'victim')[0]!.xattrs.length, 0);
});

test('a link has its target, owner and time; its mode is nobody’s', (t) => {
  const { path, fd } = temporaryDirectory(t);
  assert.equal(calls.makeSymlink(fd, name('l'), name('../\xe9/x')), 0);
  assert.deepEqual(readlinkSync(join(path, 'l'), 'buffer'), Buffer.from('../\xe9/x', 'latin1'));
  const owner = isRoot ? { uid: 1001, gid: 1002 } : {};
  const stat = statBlock(FileType.symlink | 0o777, owner);
  assert.equal(calls.setMetadata(fd, name('l'), -1, stat, NO_XATTRS, Metadata.all), 0);
  const { mtimeNs, uid, gid } = statOf(fd, 'l');
  assert.equal(mtimeNs, 1_234_567_890_123_456_789n);
  if (isRoot) assert.deepEqual([uid, gid], [1001, 1002]);
  assert.equal(calls.makeSymlink(fd, name('l'), name('x')), -EEXIST);
  assert.equal(calls.makeSymlink(fd, name('m'), name('')), -ENOENT);
  assert.equal(calls.makeSymlink(fd, name('m'), name('x'.repeat(5000))), -ENAMETOOLONG);
});

test('directories, FIFOs, sockets and hard links are made and removed', (t) => {
  const { path, fd } = temporaryDirectory(t);
  assert.equal(calls.makeDirectory(fd, name('d'), 0o700), 0);
  assert.equal(calls.makeDirectory(fd, name('d'), 0o700), -EEXIST);
  assert.equal(statOf(fd, 'd').mode, FileType.directory | 0o700);
  assert.equal(calls.makeNode(fd, name('fifo'), FileType.fifo | 0o600, 0, 0), 0);
  assert.equal(calls.makeNode(fd, name('socket'), FileType.socket | 0o600, 0, 0), 0);
  assert.deepEqual(
    [statOf(fd, 'fifo').mode, statOf(fd, 'socket').mode],
    [FileType.fifo | 0o600, FileType.socket | 0o600],
  );
  writeFileSync(join(path, 'd', 'f'), '');
  const inner = openSync(join(path, 'd'), 'r');
  t.after(() => closeSync(inner));
  assert.equal(calls.makeLink(fd, name('hard'), inner, name('f')), 0);
  assert.equal(statOf(fd, 'hard').inode, statOf(inner, 'f').inode);
  assert.equal(calls.makeLink(fd, name('hard'), inner, name('f')), -EEXIST);
  assert.equal(calls.makeLink(fd, name('other'), inner, name('gone')), -ENOENT);
  assert.equal(calls.remove(fd, name('d'), true), -ENOTEMPTY);
  assert.ok(calls.remove(fd, name('d'), false) < 0);
  assert.equal(calls.remove(inner, name('f'), false), 0);
  assert.equal(calls.remove(fd, name('d'), true), 0);
  assert.equal(calls.remove(fd, name('d'), true), -ENOENT);
  for (const each of ['fifo', 'socket', 'hard']) assert.equal(calls.remove(fd, name(each), false), 0);
  assert.deepEqual(calls.listNames(fd), Buffer.alloc(0));
});

test('a hard link to a link is one to the link itself', (t) => {
  const { path, fd } = temporaryDirectory(t);
  writeFileSync(join(path, 'f'), '');
  symlinkSync('f', join(path, 'l'));
  assert.equal(calls.makeLink(fd, name('again'), fd, name('l')), 0);
  assert.equal(statOf(fd, 'again').mode & 0o170000, FileType.symlink);
});

test('devices are made with large numbers', { skip: needsRoot }, (t) => {
  const { fd } = temporaryDirectory(t);
  assert.equal(calls.makeNode(fd, name('b'), FileType.blockDevice | 0o600, 259, 1_000_000), 0);
  assert.deepEqual([statOf(fd, 'b').major, statOf(fd, 'b').minor], [259, 1_000_000]);
});
