import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { OPEN_DIRECTORY } from '../../../../src/agent/tree/file-calls.ts';
import { RestoreLinks } from '../../../../src/agent/tree/restore/hard-links.ts';
import { EntryMaker } from '../../../../src/agent/tree/restore/restore-entry.ts';
import { RestoreNotes } from '../../../../src/agent/tree/restore/restore-notes.ts';
import { Kind } from '../../../../src/chunker/object.ts';
import type { ByteString } from '../../../../src/util/byte-string.ts';
import { type ErrorCode, HoldfastError } from '../../../../src/util/errors.ts';
import { seenTree } from '../seen-tree.ts';
import { calls, TreeObjects } from '../tree-archive.ts';
import { restoreFromMemory } from './memory-restore.ts';
import { RestoreRig } from './restore-rig.ts';

let rig: RestoreRig;
before(async () => {
  rig = await RestoreRig.start();
});
after(async () => await rig.close());

const isRoot = process.getuid?.() === 0;
const sh = (script: string, cwd: string): void => {
  execFileSync('bash', ['-euc', script], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
};

test('a real directory comes back with all it has', {
  skip: !isRoot && 'devices, owners and attributes need root',
}, async () => {
  const source = rig.path('everything');
  mkdirSync(source);
  writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0xff, 0xfe, 0x0a, 0x01])]), 'not UTF-8');
  sh(
    `mkdir -p plain/deep/er empty
    echo small > plain/small; : > plain/nothing
    head -c 300000 /dev/urandom > plain/pieces; head -c 20000000 /dev/urandom > plain/large
    head -c 100000 /dev/urandom > plain/sparse; truncate -s 5M plain/sparse; head -c 70000 /dev/urandom | dd of=plain/sparse bs=4096 seek=500 conv=notrunc status=none
    truncate -s 30M plain/hole; truncate -s 1M plain/small-hole; echo x >> plain/small-hole
    chown 1234:4321 plain/small; chmod 6755 plain/pieces; chmod 1777 empty; chmod 000 plain/nothing; chmod 2750 plain/deep
    setfattr -n user.note -v value plain/small; setfattr -n user.big -v "$(head -c 2000 /dev/zero | tr '\\0' x)" plain/deep; setfattr -n trusted.t -v 1 plain/large
    setfacl -m u:1000:rw,g:7:r plain/small; setfacl -d -m u:1000:rwx plain/deep; setfacl -m u:3:x plain/deep
    setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 plain/pieces
    ln plain/small plain/deep/same; ln plain/small another; ln plain/large plain/deep/large-too; ln plain/pieces empty/p
    ln -s 'a target
with newline' link; ln link link-too; ln -s /nowhere plain/deep/er/dangling
    mkfifo pipe; chmod 640 pipe; mknod null c 1 3; mknod disk b 7 3; chown 5:6 disk
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    touch -d '1969-12-31 23:59:59.5' plain/small; touch -h -d '2001-02-03 04:05:06.123456789' link plain/deep/er pipe socket
    name=$(head -c 255 /dev/zero | tr '\\0' n); mkdir $name; echo in > $name/$name
    echo fixed > fixed; ln fixed fixed-too; chattr +i fixed; echo log > log; chattr +a log; echo d > nodump; chattr +d nodump
    mkdir locked; echo in > locked/file; chattr +i locked
    touch -d '2002-02-02 02:02:02.2' plain/deep plain empty .`,
    source,
  );
  try {
    const archive = await rig.store((objects) => objects.scan(source));
    const notes = await rig.restore(archive, rig.path('restored'), { devices: true });
    assert.deepEqual(seenTree(rig.path('restored')), seenTree(source));
    assert.deepEqual([...notes.plain().kinds.keys()], []);
    assert.equal(notes.entries, (archive.entries ?? 0) + 1, 'the top is one too');
  } finally {
    for (const top of [source, rig.path('restored')]) sh('chattr -ia fixed log locked || true', top);
  }
});

const DATA = Buffer.from('something that is longer than what an entry holds itself. '.repeat(20));

function read(path: string): string {
  return readFileSync(path, 'latin1');
}

async function refused(code: ErrorCode, work: Promise<unknown>): Promise<HoldfastError> {
  let failure: unknown;
  await work.catch((error: unknown) => {
    failure = error;
  });
  assert.ok(failure instanceof HoldfastError, `no error of ours: ${String(failure)}`);
  assert.equal(failure.code, code, failure.message);
  return failure;
}

test('paths and patterns select; directories above are made with what they had', async () => {
  const archive = await rig.store((objects) =>
    objects.directory('', [
      objects.directory('etc', [
        objects.directory('ssh', [objects.file('sshd.conf', ['ssh']), objects.file('key', ['secret'])], {
          mode: 0o40710,
        }),
        objects.file('hosts', ['127.0.0.1']),
        objects.file('a.conf', [DATA], { nlink: 2, inode: 77n }),
      ]),
      objects.directory('var', [objects.file('b.conf', ['b']), objects.file('log', ['l'])]),
      objects.directory('none', [objects.file('x', ['x'])]),
      objects.file('c.conf', [DATA], { nlink: 2, inode: 77n }),
    ]),
  );
  await rig.restore(archive, rig.path('by-path'), { paths: ['etc/ssh/', '/var/log', 'c.conf'] });
  assert.deepEqual(Object.keys(seenTree(rig.path('by-path'))).sort(), [
    ...['', 'c.conf', 'etc', 'etc/ssh', 'etc/ssh/key', 'etc/ssh/sshd.conf', 'var', 'var/log'],
  ]);
  assert.equal(read(rig.path('by-path/c.conf')), DATA.toString());
  assert.equal(seenTree(rig.path('by-path'))['etc/ssh']!.mode, '40710');
  assert.equal(seenTree(rig.path('by-path')).etc!.mtimeNs, 1_600_000_000_123_456_789n);

  await rig.restore(archive, rig.path('by-pattern'), { patterns: ['*.conf', 'none/**'] });
  const seen = seenTree(rig.path('by-pattern'));
  assert.deepEqual(Object.keys(seen).sort(), [
    ...['', 'c.conf', 'etc', 'etc/a.conf', 'etc/ssh', 'etc/ssh/sshd.conf', 'none', 'none/x', 'var', 'var/b.conf'],
  ]);
  assert.equal(seen['etc/a.conf']!.linkOf, 'c.conf', 'both names were selected: still one file');

  await refused('not-found', rig.restore(archive, rig.path('no-path'), { paths: ['etc/ssh', 'etc/nothing'] }));
  assert.ok(!existsSync(rig.path('no-path')), 'nothing was made');
});

test('what is there stays, is kept or is replaced, by the rule', async () => {
  const archive = await rig.store((objects) =>
    objects.directory('', [
      objects.directory('dir', [objects.file('inside', ['new'])], { mode: 0o40711 }),
      objects.file('file', [DATA]),
      objects.file('inline', ['new']),
      objects.link('link', 'new-target'),
      objects.file('one', ['linked'], { nlink: 2, inode: 9n }),
      objects.file('two', ['linked'], { nlink: 2, inode: 9n }),
      objects.file('sparse', [DATA, 100_000, DATA]),
    ]),
  );
  const prepare = (name: string): string => {
    const target = rig.path(name);
    mkdirSync(join(target, 'dir'), { recursive: true, mode: 0o700 });
    for (const file of ['dir/inside', 'file', 'one', 'two', 'sparse', 'other'])
      writeFileSync(join(target, file), 'old');
    linkSync(join(target, 'file'), join(target, 'file-too'));
    symlinkSync('old-target', join(target, 'link'));
    return target;
  };
  const refusing = prepare('refuse');
  assert.match((await refused('target-unfit', rig.restore(archive, refusing))).message, /--overwrite/);
  for (const file of ['dir/inside', 'file', 'one', 'two', 'sparse', 'other'])
    assert.equal(read(join(refusing, file)), 'old');

  const keeping = prepare('keep');
  const kept = await rig.restore(archive, keeping, { existing: 'keep' });
  for (const file of ['dir/inside', 'file', 'one', 'two', 'sparse', 'other'])
    assert.equal(read(join(keeping, file)), 'old');
  assert.equal(read(join(keeping, 'inline')), 'new');
  assert.equal(kept.count('kept'), 6);
  assert.equal(seenTree(keeping).dir!.mode, '40700', 'a directory that was there keeps what it has');

  const replacing = prepare('replace');
  await rig.restore(archive, replacing, { existing: 'replace' });
  const seen = seenTree(replacing);
  assert.equal(read(join(replacing, 'dir/inside')), 'new');
  assert.equal(read(join(replacing, 'file')), DATA.toString());
  assert.equal(read(join(replacing, 'file-too')), 'old', 'the other name of the old file is not written through');
  assert.equal(read(join(replacing, 'other')), 'old', 'what the archive does not have stays');
  assert.equal(readlinkSync(join(replacing, 'link')), 'new-target');
  assert.equal(seen.two!.linkOf, 'one');
  assert.equal(seen.dir!.mode, '40711');
  assert.equal(seen.sparse!.size, 2 * DATA.length + 100_000);
  assert.deepEqual(
    Object.keys(seen).filter((path) => path.includes('holdfast')),
    [],
    'nothing unfinished is left',
  );
  const again = await rig.restore(archive, replacing, { existing: 'replace' });
  assert.deepEqual(Object.keys(seenTree(replacing)), Object.keys(seen), 'also where both names are one file already');
  assert.equal(again.entries, 9);
});

test('the rule changed leaves content of the same size and time, and sets the rest', async () => {
  const mtimeNs = 1_500_000_000_000_000_001n;
  const archive = await rig.store((objects) =>
    objects.directory('', [
      objects.file('same', [DATA], { mtimeNs, mode: 0o100600 }),
      objects.file('sparse', [DATA, 50_000], { mtimeNs }),
      objects.file('large', [Buffer.alloc(9_000_000, 7)], { mtimeNs }),
      objects.file('other', [DATA], { mtimeNs: 5n }),
    ]),
  );
  const target = rig.path('changed');
  await rig.restore(archive, target);
  const marked: Record<string, bigint> = {};
  for (const name of ['same', 'sparse', 'large', 'other']) {
    chmodSync(join(target, name), 0o640);
    marked[name] = statSync(join(target, name), { bigint: true }).ino;
  }
  utimesSync(join(target, 'other'), 3, 3);
  await rig.restore(archive, target, { existing: 'changed' });
  for (const name of ['same', 'sparse', 'large'])
    assert.equal(statSync(join(target, name), { bigint: true }).ino, marked[name], name);
  assert.notEqual(statSync(join(target, 'other'), { bigint: true }).ino, marked.other);
  assert.equal(seenTree(target).same!.mode, '100600');
  assert.deepEqual(Object.keys(seenTree(target)).sort(), ['', 'large', 'other', 'same', 'sparse']);
});

test('a symbolic link in the target is never written through', async () => {
  const outside = rig.path('outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'victim'), 'untouched');
  const archive = await rig.store((objects) =>
    objects.directory('', [
      objects.directory('dir', [
        objects.file('victim', ['evil']),
        objects.directory('deep', [objects.file('x', [DATA])]),
      ]),
      objects.file('victim', ['evil']),
      objects.file('large', [Buffer.alloc(9_000_000, 7)]),
    ]),
  );
  for (const existing of ['refuse', 'keep', 'changed', 'replace'] as const) {
    const target = rig.path(`through-${existing}`);
    mkdirSync(target);
    symlinkSync(outside, join(target, 'dir'));
    symlinkSync(join(outside, 'victim'), join(target, 'victim'));
    symlinkSync(join(outside, 'new'), join(target, 'large'));
    const work = rig.restore(archive, target, { existing });
    if (existing === 'refuse') await refused('target-unfit', work);
    else await work;
    assert.equal(read(join(outside, 'victim')), 'untouched');
    assert.deepEqual(readdirSync(outside), ['victim']);
    const replaced = existing === 'changed' || existing === 'replace';
    assert.equal(lstatSync(join(target, 'dir')).isDirectory(), replaced);
    assert.equal(lstatSync(join(target, 'victim')).isFile(), replaced);
    if (replaced) assert.equal(read(join(target, 'dir/victim')), 'evil');
  }
});

test('an immutable file replaces another', { skip: !isRoot && 'file attributes need root' }, async () => {
  const objects = new TreeObjects();
  const root = objects.root(objects.directory('', [objects.file('fixed', ['new'], { attributes: 0x10 })]));
  const target = rig.path('immutable');
  mkdirSync(target);
  writeFileSync(join(target, 'fixed'), 'old');
  try {
    await restoreFromMemory(objects, root, target, { existing: 'replace' });
    assert.equal(read(join(target, 'fixed')), 'new');
    assert.equal(seenTree(target).fixed!.attributes, 0x10);
    assert.deepEqual(unfinished(target), []);
  } finally {
    sh('chattr -i *', target);
  }
});

test('a directory that is not empty does not make room for a file', async () => {
  const archive = await rig.store((objects) =>
    objects.directory('', [objects.file('full', ['x']), objects.link('empty', 'x')]),
  );
  const target = rig.path('directories');
  mkdirSync(join(target, 'full/with'), { recursive: true });
  mkdirSync(join(target, 'empty'));
  assert.match(
    (await refused('target-unfit', rig.restore(archive, target, { existing: 'replace' }))).message,
    /not empty/,
  );
  assert.deepEqual(Object.keys(seenTree(target)).sort(), ['', 'empty', 'full', 'full/with']);
});

test('a lost piece ends the restore, or stands as zeros where it was', async () => {
  const pieces = [DATA, Buffer.alloc(64 * 1024, 1), Buffer.from('lost'.repeat(500)), DATA];
  const objects = new TreeObjects();
  const root = objects.root(
    objects.directory('', [
      objects.file('a', [DATA]),
      objects.directory('d', [objects.file('broken', pieces)]),
      objects.file('large', [...Array.from({ length: 100 }, () => DATA), Buffer.from('lost'.repeat(400)), DATA]),
      objects.directory('n', [objects.file('named', [DATA])], { mtimeNs: 1n }),
      objects.file('z', [DATA]),
    ]),
  );
  objects.lose(({ kind, payload }) => kind === Kind.data && Buffer.from(payload).toString('latin1', 0, 4) === 'lost');
  const error = await refused('object-damaged', restoreFromMemory(objects, root, rig.path('lost-refused')));
  assert.match(error.message, /(d\/broken: 2000|large: 1600) bytes at/);
  for (const name of ['d/broken', 'large'])
    assert.ok(!existsSync(rig.path(`lost-refused/${name}`)), 'a file that is not whole has no name');
  assert.deepEqual(unfinished(rig.path('lost-refused')), []);

  objects.lose(({ kind, payload }) => kind === Kind.directory && Buffer.from(payload).includes('named'));
  const notes = await restoreFromMemory(objects, root, rig.path('lost-zeros'), { zeroLost: true });
  const lost = notes.examples('lost').map(({ path, offset, length }) => [path, offset, length]);
  assert.deepEqual(lost.sort(), [
    ['d/broken', DATA.length + 65536, 2000],
    ['large', 100 * DATA.length, 1600],
    ['n', undefined, undefined],
  ]);
  const expected = Buffer.concat([pieces[0]!, pieces[1]!, Buffer.alloc(2000), pieces[3]!]);
  assert.ok(readFileSync(rig.path('lost-zeros/d/broken')).equals(expected));
  assert.equal(read(rig.path('lost-zeros/z')), DATA.toString());
  assert.equal(seenTree(rig.path('lost-zeros')).n!.mtimeNs, 1n, 'what is known of a lost directory is restored');
});

test('a directory that is lost is named', async () => {
  const objects = new TreeObjects();
  const inner = objects.directory('inner', [objects.file('named', ['x'])]);
  const root = objects.root(objects.directory('', [objects.directory('outer', [inner])]));
  objects.lose(({ kind, payload }) => kind === Kind.directory && Buffer.from(payload).includes('named'));
  const error = await refused('object-missing', restoreFromMemory(objects, root, rig.path('lost-directory')));
  assert.match(error.message, /directory outer\/inner is lost/);
});

test('a part of a large directory that is lost does not take the other parts with it', async () => {
  const objects = new TreeObjects();
  const files = Array.from({ length: 3000 }, (_, place) => objects.file(`file-${place}`, [`content ${place}`]));
  const root = objects.root(objects.directory('', files));
  const parts = [...objects.objects.values()].filter(
    ({ kind, payload }) => kind === Kind.directory && payload.length > 10_000,
  );
  assert.ok(parts.length > 3, 'it has parts');
  objects.lose((object) => object === parts[1]);
  const notes = await restoreFromMemory(objects, root, rig.path('lost-part'), { zeroLost: true });
  const restored = readdirSync(rig.path('lost-part')).length;
  assert.equal(notes.count('lost'), 1);
  assert.equal(notes.entries, restored + 1);
  assert.ok(restored > 2000 && restored < 3000, `${restored}`);
});

test('hard links whose number is not what the archive says, and too many for memory, become files', async () => {
  const objects = new TreeObjects();
  const linked = (name: string, inode: bigint, nlink: number) => objects.file(name, [DATA], { inode, nlink });
  const root = objects.root(
    objects.directory('', [
      linked('a', 1n, 2),
      linked('b', 1n, 2),
      linked('c', 1n, 2),
      linked('d', 5n, 1000),
      linked('e', 5n, 1000),
    ]),
  );
  await restoreFromMemory(objects, root, rig.path('link-counts'));
  const seen = seenTree(rig.path('link-counts'));
  assert.deepEqual(
    ['a', 'b', 'c', 'd', 'e'].map((name) => seen[name]!.linkOf),
    ['a', 'a', 'c', 'd', 'd'],
  );
});

test('links are bounded: beyond the bound each name is a file, and noted', () => {
  const objects = new TreeObjects();
  const target = rig.path('bounded');
  mkdirSync(target);
  const fd = calls.open(-1, target as ByteString, OPEN_DIRECTORY, 0);
  const notes = new RestoreNotes();
  const maker = new EntryMaker(calls, { existing: 'refuse', devices: false, zeroLost: false }, notes);
  const links = new RestoreLinks(maker, fd, 1);
  const at = { fd, path: '' as ByteString };
  let ended = 0;
  for (const [name, inode] of [
    ['a', 1n],
    ['b', 2n],
    ['c', 2n],
    ['d', 1n],
  ] as const) {
    const entry = objects.file(name, ['x'], { inode, nlink: 2 });
    links.take({ at, entry, write: (free, then) => then(maker.file(at, free, Buffer.from('x'))), end: () => ended++ });
  }
  links.finish();
  links.close();
  calls.close(fd);
  const seen = seenTree(target);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => seen[name]!.linkOf),
    ['a', 'b', 'c', 'a'],
  );
  assert.deepEqual(
    notes.examples('copied').map(({ path }) => path),
    ['b', 'c'],
  );
  assert.equal(ended, 4);
});

test('stopped in the middle: only whole files, nothing unfinished', async () => {
  const objects = new TreeObjects();
  const files = Array.from({ length: 30 }, (_, place) =>
    objects.file(`f${place}`, [Buffer.alloc(9_000_000, place + 1)]),
  );
  const root = objects.root(objects.directory('', [objects.directory('d', files)]));
  const stop = new AbortController();
  const target = rig.path('stopped');
  const work = restoreFromMemory(objects, root, target, {}, stop.signal);
  setTimeout(() => stop.abort(new HoldfastError('aborted', 'stopped')), 30);
  await refused('aborted', work);
  assert.deepEqual(unfinished(target), []);
  const there = existsSync(join(target, 'd')) ? readdirSync(join(target, 'd')) : [];
  assert.ok(there.length < 30);
  for (const name of there) assert.equal(statSync(join(target, 'd', name)).size, 9_000_000);
});

test('paths longer than the system takes, names of every byte, and thousands of levels', async () => {
  const objects = new TreeObjects();
  const every = Array.from({ length: 255 }, (_, place) => String.fromCharCode(place + 1)).filter(
    (byte) => byte !== '/' && byte !== '.',
  );
  let directory = objects.directory('x'.repeat(200), [objects.file('end', [DATA])]);
  for (let level = 0; level < 600; level++)
    directory = objects.directory(level === 599 ? '' : 'y'.repeat(level % 20 === 0 ? 250 : 20), [
      directory,
      objects.file('side', ['s']),
    ]);
  const root = objects.root({ ...directory, name: '' as ByteString });
  const target = rig.path('deep');
  await restoreFromMemory(objects, root, target);
  const seen = Object.keys(seenTree(target));
  assert.ok(Math.max(...seen.map((path) => path.length)) > 15_000);
  assert.equal(seen.length, 1 + 600 + 1 + 600);

  const odd = new TreeObjects();
  const oddRoot = odd.root(
    odd.directory(
      '',
      every.map((byte) => odd.file(byte, [byte])),
    ),
  );
  await restoreFromMemory(odd, oddRoot, rig.path('odd'));
  assert.deepEqual(Object.keys(seenTree(rig.path('odd'))).sort(), ['', ...every].sort());
});

/** Names of files that a restore has not finished. */
function unfinished(target: string): string[] {
  return Object.keys(seenTree(target)).filter((path) => path.includes('.holdfast-partial'));
}
