// The backup of file trees: what is stored of each kind of file, what is read again, and what is said of what could not be read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Content, Mark, parsePieces } from '../../../../src/chunker/directory.ts';
import { FileType, fileType, readStat } from '../../../../src/chunker/stat-block.ts';
import { toBytes } from '../../../../src/util/byte-string.ts';
import { isRoot } from '../../../cli/holdfast.ts';
import { entryAt, TreeRig } from './tree-rig.ts';

/** Time stamps older than this are certain: the backup takes two seconds for granularity. */
const CERTAIN_MS = 2100;

const run = (command: string, ...words: string[]): string => execFileSync(command, words, { encoding: 'utf8' });

/** A kind of skip that says why. */
function needsRoot(t: TestContext): boolean {
  if (!isRoot) t.skip('mounting needs root');
  return isRoot;
}

test('each kind of file has its type, metadata and content', async (t) => {
  const rig = await TreeRig.start(t);
  const { source } = rig;
  const at = (name: string): string => join(source, name);
  writeFileSync(at('empty'), '');
  writeFileSync(at('tiny'), 'a'.repeat(512));
  writeFileSync(at('small'), randomBytes(513));
  writeFileSync(at('large'), randomBytes(9 * 1024 * 1024));
  writeFileSync(at('zeros'), Buffer.alloc(300_000));
  symlinkSync('no/where', at('link'));
  mkdirSync(at('deep/er'), { recursive: true });
  writeFileSync(at('deep/er/file'), 'below');
  chmodSync(at('tiny'), 0o4755);
  utimesSync(at('small'), 1_000_000_000.123, -12.5);
  run('mkfifo', at('fifo'));
  run('setfattr', '-n', 'user.colour', '-v', 'green', at('tiny'));
  run('setfacl', '-m', 'u:1234:r', at('small'));
  if (isRoot) run('mknod', at('device'), 'b', '7', '300');

  const { archive, warnings } = await rig.backup();
  const entries = await rig.entries(archive);
  const names = readdirSync(source, { recursive: true }) as string[];
  assert.deepEqual([...entries.keys()].sort(), ['', ...names].sort());
  assert.deepEqual(warnings, []);
  assert.equal(archive.entries, names.length + 1);
  for (const [path, entry] of entries) {
    const there = lstatSync(join(source, path), { bigint: true });
    const stat = readStat(entry.stat);
    assert.equal(BigInt(stat.mode), there.mode, path);
    assert.deepEqual([BigInt(stat.uid), BigInt(stat.gid)], [there.uid, there.gid]);
    assert.equal(stat.mtimeNs, there.mtimeNs, path);
    assert.equal(stat.ctimeNs, there.ctimeNs, path);
    assert.equal(stat.inode, there.ino);
    if (there.isFile()) {
      assert.equal(BigInt(stat.sizeBytes), there.size, path);
      assert.ok((await rig.content(entry)).equals(readFileSync(join(source, path))), path);
    }
  }
  assert.equal(entryAt(entries, 'tiny').content, Content.inline);
  assert.equal(entryAt(entries, 'small').content, Content.pieces);
  assert.equal(entryAt(entries, 'large').content, Content.list);
  assert.equal(toBytes(entryAt(entries, 'link').name).toString(), 'link');
  assert.equal(Buffer.from(entryAt(entries, 'link').contentBytes).toString(), readlinkSync(at('link')));
  assert.match(Buffer.from(entryAt(entries, 'tiny').xattrs).toString('latin1'), /user\.colourgreen/);
  assert.match(Buffer.from(entryAt(entries, 'small').xattrs).toString('latin1'), /system\.posix_acl_access/);
  assert.equal(fileType(entryAt(entries, 'fifo').stat), FileType.fifo);
  if (isRoot) {
    const { major, minor } = readStat(entryAt(entries, 'device').stat);
    assert.deepEqual([major, minor], [7, 300]);
  }
  const sizes = names.map((name) => lstatSync(at(name))).filter((stat) => stat.isFile());
  assert.equal(
    archive.sizeBytes,
    sizes.reduce((sum, stat) => sum + stat.size, 0),
  );
});

test('holes stay holes, and data that is zeros stays data', async (t) => {
  const rig = await TreeRig.start(t);
  const fd = openSync(join(rig.source, 'sparse'), 'w');
  writeSync(fd, Buffer.alloc(8192, 7), 0, 8192, 65536);
  writeSync(fd, Buffer.alloc(65536), 0, 65536, 1_048_576);
  ftruncateSync(fd, 10_000_000);
  closeSync(fd);
  const entry = entryAt(await rig.entries((await rig.backup()).archive), 'sparse');
  assert.equal(entry.content, Content.pieces);
  const pieces = parsePieces(entry.contentBytes);
  assert.deepEqual(
    pieces.map(({ length, isHole }) => (isHole ? -length : length)),
    [-65536, 8192, -(1_048_576 - 73728), 65536, -(10_000_000 - 1_114_112)],
  );
  assert.ok((await rig.content(entry)).equals(readFileSync(join(rig.source, 'sparse'))));
});

test('a hole beyond 2 GiB goes into a list', async (t) => {
  const rig = await TreeRig.start(t);
  const fd = openSync(join(rig.source, 'sparse'), 'w');
  writeSync(fd, 'end', 5 * 2 ** 30);
  closeSync(fd);
  const { archive, bytesRead } = await rig.backup();
  const entry = entryAt(await rig.entries(archive), 'sparse');
  assert.equal(entry.content, Content.list);
  assert.ok(bytesRead < 10 * 2 ** 30);
  assert.equal(readStat(entry.stat).sizeBytes, 5 * 2 ** 30 + 3);
});

test('what did not change is not read, and the snapshot is the same', async (t) => {
  const rig = await TreeRig.start(t);
  mkdirSync(join(rig.source, 'a'));
  for (let place = 0; place < 50; place++) writeFileSync(join(rig.source, 'a', `f${place}`), randomBytes(5000));
  await sleep(CERTAIN_MS);
  const first = await rig.backup();
  assert.equal(first.bytesRead, 250_000);
  const second = await rig.backup();
  assert.deepEqual([second.bytesRead, second.objectsNew, second.archive.root], [0, 0, first.archive.root]);
  const third = await rig.backup({ changeDetection: 'data' });
  assert.deepEqual([third.bytesRead, third.archive.root], [250_000, first.archive.root]);
});

test('a change is read whatever was done to hide it', async (t) => {
  const rig = await TreeRig.start(t);
  const names = ['rewritten', 'swapped', 'mode', 'owner', 'attribute', 'linked', 'untouched'];
  for (const name of names) writeFileSync(join(rig.source, name), `${name} before`.padEnd(1000, '.'));
  await sleep(CERTAIN_MS);
  await rig.backup();
  const at = (name: string): string => join(rig.source, name);
  const { mtime, atime } = lstatSync(at('rewritten'));
  writeFileSync(at('rewritten'), 'rewritten after'.padEnd(1000, '.'));
  utimesSync(at('rewritten'), atime, mtime);
  writeFileSync(at('new'), 'swapped after'.padEnd(1000, '.'));
  utimesSync(at('new'), atime, lstatSync(at('swapped')).mtime);
  renameSync(at('new'), at('swapped'));
  chmodSync(at('mode'), 0o600);
  run('setfattr', '-n', 'user.a', '-v', '1', at('attribute'));
  linkSync(at('linked'), at('other'));
  const { archive, bytesRead } = await rig.backup();
  const entries = await rig.entries(archive);
  for (const name of readdirSync(rig.source))
    assert.ok((await rig.content(entryAt(entries, name))).equals(readFileSync(at(name))), name);
  // All but 'owner' and 'untouched'; 'linked' is read under one of its names.
  assert.equal(bytesRead, 5000);
});

test('a file that changed while its time stamps stood still is read next time', async (t) => {
  const rig = await TreeRig.start(t);
  writeFileSync(join(rig.source, 'fresh'), 'x'.repeat(1000));
  const first = await rig.backup();
  assert.equal(entryAt(await rig.entries(first.archive), 'fresh').marks & Mark.racy, Mark.racy);
  await sleep(CERTAIN_MS);
  const second = await rig.backup();
  assert.equal(second.bytesRead, 1000);
  assert.equal(entryAt(await rig.entries(second.archive), 'fresh').marks & Mark.racy, 0);
  assert.equal((await rig.backup()).bytesRead, 0);
});

test('a new name in a large directory changes one part', async (t) => {
  const rig = await TreeRig.start(t);
  const big = join(rig.source, 'big');
  mkdirSync(big);
  for (let place = 0; place < 9000; place++) writeFileSync(join(big, `name-${place}`), String(place));
  await sleep(CERTAIN_MS);
  const first = await rig.backup();
  const names = [...(await rig.entries(first.archive)).keys()].filter((path) => path.startsWith('big/'));
  assert.deepEqual(
    names,
    readdirSync(big)
      .map((name) => `big/${name}`)
      .sort(),
  );
  writeFileSync(join(big, 'name-4567a'), 'new');
  const second = await rig.backup();
  assert.equal((await rig.entries(second.archive)).size, 9003);
  // The part, perhaps the one before it that gave up a name, the index, the top, the root.
  assert.ok(second.objectsNew <= 5, `${second.objectsNew} objects are new`);
});

test('a tree deeper than any path, and names that are no text', async (t) => {
  const rig = await TreeRig.start(t);
  // Neither Node nor a shell can make it: each path is longer than the kernel takes.
  const deep = `for (1..60) { mkdir $ARGV[1]; chdir $ARGV[1] or die } open F, '>', 'file'; print F "bottom\n"`;
  run('perl', '-e', `chdir $ARGV[0]; ${deep}`, rig.source, 'd'.repeat(200));
  const odd = `open F, '>', "latin-\\xe9"; print F 'x'; open F, '>', "new\\nline"; print F 'y'`;
  run('perl', '-e', `chdir $ARGV[0]; ${odd}`, rig.source);
  const { archive, warnings } = await rig.backup();
  assert.deepEqual(warnings, []);
  const entries = await rig.entries(archive);
  const deepest = [...entries.keys()].reduce((a, b) => (b.length > a.length ? b : a));
  assert.equal(deepest.length, 60 * 201 + 4);
  assert.equal(String(await rig.content(entryAt(entries, deepest))), 'bottom\n');
  assert.equal(String(await rig.content(entryAt(entries, 'latin-\xe9'))), 'x');
  assert.equal(String(await rig.content(entryAt(entries, 'new\nline'))), 'y');
});

test('other file systems and bind mounts are not entered unless asked, and loops never', async (t) => {
  if (!needsRoot(t)) return;
  const rig = await TreeRig.start(t);
  const at = (name: string): string => join(rig.source, name);
  for (const name of ['tmpfs', 'bind', 'loop', 'plain']) mkdirSync(at(name));
  writeFileSync(at('plain/file'), 'plain');
  const mount = (name: string, ...words: string[]): void => {
    run('mount', ...words, at(name));
    rig.mounts.push(at(name));
  };
  mount('tmpfs', '-t', 'tmpfs', 'none');
  mount('bind', '--bind', at('plain'));
  mount('loop', '--bind', rig.source);
  writeFileSync(at('tmpfs/file'), 'other');

  const outside = await rig.entries((await rig.backup()).archive);
  assert.deepEqual([...outside.keys()].sort(), ['', 'bind', 'loop', 'plain', 'plain/file', 'tmpfs']);
  for (const name of ['bind', 'loop', 'tmpfs']) {
    assert.equal(entryAt(outside, name).content, Content.none);
    assert.equal(entryAt(outside, name).marks, Mark.mountPoint);
  }
  const included = await rig.entries((await rig.backup({ includeDev: [at('tmpfs')] })).archive);
  assert.equal(String(await rig.content(entryAt(included, 'tmpfs/file'))), 'other');
  assert.deepEqual(
    ['tmpfs', 'plain'].map((name) => entryAt(included, name).marks),
    [Mark.entered, 0],
  );
  const all = await rig.backup({ includeDev: undefined });
  const everything = await rig.entries(all.archive);
  assert.equal(String(await rig.content(entryAt(everything, 'bind/file'))), 'plain');
  assert.equal(entryAt(everything, 'loop').content, Content.unreadable);
  assert.match(all.warnings.join('\n'), /loop is not entered: it is mounted inside itself/);
  assert.equal(all.archive.warnings?.count, 1);
});

test('what cannot be read is named, and the rest is backed up', async (t) => {
  const rig = await TreeRig.start(t);
  // A file of sysfs that can be written only: opening it works, reading it is EIO. The others there are shorter than they say.
  const source = '/sys/bus/platform';
  const { archive, warnings } = await rig.backup({}, source);
  const entries = await rig.entries(archive);
  const probe = entryAt(entries, 'drivers_probe');
  assert.equal(probe.content, Content.unreadable);
  assert.notEqual(probe.errno, 0);
  assert.match(warnings.join('\n'), /root\.tree: drivers_probe cannot be read \((EIO|EACCES)\)/);
  assert.equal(archive.warnings?.count, warnings.length);
  const shorter = await rig.content(entryAt(entries, 'drivers_autoprobe'));
  assert.deepEqual(shorter, readFileSync(join(source, 'drivers_autoprobe')));
});

test('a tree that changes all the time is backed up, and what changed is said', async (t) => {
  const rig = await TreeRig.start(t);
  mkdirSync(join(rig.source, 'busy'));
  for (let place = 0; place < 2000; place++) writeFileSync(join(rig.source, 'busy', `f${place}`), 'x'.repeat(2000));
  let isOver = false;
  const busy = (async () => {
    for (let round = 0; !isOver; round++) {
      const name = join(rig.source, 'busy', `f${round % 2000}`);
      appendFileSync(name, 'more');
      rmSync(join(rig.source, 'busy', `f${(round * 7 + 1) % 2000}`), { force: true });
      writeFileSync(join(rig.source, 'busy', `new${round}`), 'new');
      await new Promise(setImmediate);
    }
  })();
  const { archive, warnings } = await rig.backup();
  isOver = true;
  await busy;
  const entries = await rig.entries(archive);
  for (const [path, entry] of entries) {
    if (entry.content === Content.directory) continue;
    assert.equal((await rig.content(entry)).length, readStat(entry.stat).sizeBytes, path);
  }
  for (const warning of warnings)
    assert.match(warning, /vanished while|changed each time|cannot be looked at \(ENOENT\)|and \d+ warnings more/);
});

test('exclude files and patterns leave out what they name', async (t) => {
  const rig = await TreeRig.start(t);
  const at = (name: string): string => join(rig.source, name);
  for (const name of ['keep', 'keep/cache', 'skip', 'keep/deep']) mkdirSync(at(name));
  for (const name of ['a.tmp', 'keep/b.tmp', 'keep/cache/c', 'skip/d', 'keep/deep/e.bak', 'keep/deep/f'])
    writeFileSync(at(name), name);
  writeFileSync(at('keep/.holdfastexclude'), '*.bak\n/cache\n');
  const { ExcludeRules } = await import('../../../../src/agent/tree/select/exclude.ts');
  const exclude = ExcludeRules.compile(['*.tmp', '/skip']).toJSON();
  const entries = await rig.entries((await rig.backup({ exclude })).archive);
  assert.deepEqual([...entries.keys()].sort(), ['', 'keep', 'keep/.holdfastexclude', 'keep/deep', 'keep/deep/f']);
});

test('one byte before a large file makes little new', async (t) => {
  const rig = await TreeRig.start(t);
  const bytes = randomBytes(48 * 1024 * 1024);
  writeFileSync(join(rig.source, 'large'), bytes);
  await rig.backup();
  writeFileSync(join(rig.source, 'large'), Buffer.concat([Buffer.of(1), bytes]));
  const { bytesNew } = await rig.backup();
  assert.ok(bytesNew < 1024 * 1024, `${bytesNew} bytes are new`);
});

test('a top that is no directory is refused before anything is stored', async (t) => {
  const rig = await TreeRig.start(t);
  writeFileSync(join(rig.source, 'file'), '');
  await assert.rejects(rig.backup({}, join(rig.source, 'file')), { code: 'source-failed', message: /no directory/ });
  await assert.rejects(rig.backup({}, join(rig.source, 'missing')), { code: 'source-failed', message: /ENOENT/ });
});

test('an aborted backup leaves no snapshot', async (t) => {
  const rig = await TreeRig.start(t);
  for (let place = 0; place < 300; place++) mkdirSync(join(rig.source, `d${place}`));
  const abort = new AbortController();
  setImmediate(() => abort.abort(new Error('enough')));
  await assert.rejects(rig.backup({}, rig.source, abort.signal), /enough/);
  assert.equal((await rig.backup()).archive.entries, 301);
});
