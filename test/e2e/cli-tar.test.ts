// Tar archives in and out of the program, with GNU tar at the other end: every kind of file, and everything that is known of it.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BackupJson, isRoot, newPlace, type Place, start } from '../cli/holdfast.ts';

const skip = isRoot ? false : 'only root makes devices and owners, and unpacks them';
const ALL = ['--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner'];

/** Runs a shell line in bash, in a directory; its output. */
function sh(directory: string, line: string): string {
  return execFileSync('bash', ['-ec', line], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] }).toString('latin1');
}

/** A tree of every kind of file that tar can hold. */
function makeTree(place: Place, plain = false): string {
  const directory = place.path('src');
  mkdirSync(directory);
  writeFileSync(join(directory, 'big'), randomBytes(5_000_000));
  sh(
    directory,
    `
    mkdir -p a/b d1; echo hello > a/f1; head -c 3000 /dev/urandom > a/b/f2; : > empty; head -c 300000 /dev/zero > zeros
    ln a/f1 a/hl; ln a/f1 z; echo world > h1; ln h1 h2; touch -r a/f1 h1; ln -s a/f1 sl; ln sl sl2; mkfifo fifo; mknod cdev c 1 3; mknod bdev b 259 300
    ln -s /nonexistent/$(printf 'x%.0s' $(seq 150)) long
    truncate -s 100M sparse; echo data | dd of=sparse bs=1 seek=50000000 conv=notrunc status=none
    head -c 100000 /dev/urandom | dd of=sparse bs=4096 seek=100 conv=notrunc status=none; truncate -s 1M hole
    mkdir $(printf 'd%.0s' $(seq 200)); echo deep > $(printf 'd%.0s' $(seq 200))/$(printf 'f%.0s' $(seq 250))
    mkdir many; for i in $(seq 700); do echo $i > many/$i; done
    chmod 4755 empty; chown -h 5:6 sl; touch -h -d @1000000000 sl`,
  );
  if (!plain)
    sh(
      directory,
      String.raw`
      printf x > $'bad\xff\xfename'; printf y > 'üñí'; printf z > $'new\nline'; ln -s $'t\xff' bl
      printf q > $'bad\xff\xfe'$(printf 'L%.0s' $(seq 200))
      setfattr -n user.foo -v bar a/f1; setfattr -n user.bin -v 0x00ff0a3d80 a/f1; setfattr -n 'user.k=v%1' -v 1 a/f1
      setfattr -n user.empty a/f1; setfattr -n trusted.t -v x big
      setfacl -m u:1234:rwx,g:77:r a/b/f2; setfacl -d -m u:99:rx d1; cp /bin/true cap; setcap cap_net_raw+ep cap
      chown 70000:3000000000 a/b; touch -d '1960-01-02 03:04:05.123456789' a/b/f2; touch -d '2100-01-02 03:04:05.5' big`,
    );
  return directory;
}

/** Everything that ls, stat, getfattr, getfacl and sha256sum say of a tree; inode numbers as the names that share them. */
function listing(directory: string, fraction = true): string {
  return sh(
    directory,
    String.raw`export LC_ALL=C
    find . -printf '%p %y %m %U %G ${fraction ? '%T@' : '%Ts'} %n %l\n' | sort
    find . -type f -links +1 -printf '%i %p\n' | sort -k2 | awk '{ if (!($1 in first)) first[$1] = $2; print $2, first[$1] }'
    find . -type c -o -type b | sort | xargs -r stat -c '%n %t %T'
    find . -type f -print0 | sort -z | xargs -0 sha256sum
    find . ! -type l -print0 | sort -z | xargs -0 getfattr -m - -d -e hex 2>/dev/null
    getfacl -Rnp . 2>/dev/null`,
  );
}

/** Unpacks into a new directory, in the C locale, where a name is bytes. */
function unpack(place: Place, archive: Buffer, locale = 'C'): string {
  const directory = place.path('out');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const { status, stderr } = spawnSync('tar', [...ALL, '-C', directory, '-xpf', '-'], {
    input: archive,
    env: { ...process.env, LC_ALL: locale },
  });
  assert.equal(status, 0, stderr.toString());
  return directory;
}

async function exported(place: Place, ...args: string[]): Promise<Buffer> {
  return (await place.run('restore', 'ct/1/latest', 'root.tree', '--tar', '-', ...args)).stdout;
}

test('a tar archive of every kind of file goes in, and what comes out unpacks to the same tree', {
  skip,
}, async (t) => {
  const place = await newPlace(t);
  const source = makeTree(place);
  const wanted = listing(source);
  sh(place.directory, `tar ${ALL.join(' ')} --sparse --format=posix -C src -cf in.tar .`);
  await place.run('backup', '--group', 'ct/1', `root.tree:tar:${place.path('in.tar')}`);
  const archive = await exported(place);
  assert.equal(archive.length % 10240, 0, 'whole records, as tar writes them');
  assert.ok(archive.length < 20_000_000, 'holes take no room');
  for (const locale of ['C', 'C.UTF-8']) assert.equal(listing(unpack(place, archive, locale)), wanted, locale);
  const blocks = (path: string): number => Number(sh(place.directory, `stat -c %b ${path}`));
  for (const name of ['sparse', 'hole']) assert.ok(blocks(`out/${name}`) <= blocks(`src/${name}`), `${name} is sparse`);
  assert.ok(blocks('out/zeros') >= 300_000 / 512, 'zeros that were no hole are none');
});

test('a directory that was backed up comes out as tar, and its tar archive brings no new contents', {
  skip,
}, async (t) => {
  const place = await newPlace(t);
  const source = makeTree(place);
  await place.run('backup', '--group', 'ct/1', `root.tree:${source}`);
  assert.equal(listing(unpack(place, await exported(place))), listing(source));
  sh(place.directory, `tar ${ALL.join(' ')} --sparse --format=posix -C src -cf in.tar .`);
  const again = await place.json<BackupJson>('backup', '--group', 'ct/1', `root.tree:tar:${place.path('in.tar')}`);
  assert.ok(again.bytesNew < 400_000, `${again.bytesNew} bytes are new: directories and nothing else`);
});

test('every form that GNU tar writes has one meaning', { skip }, async (t) => {
  const place = await newPlace(t);
  const source = makeTree(place, true);
  const wanted = listing(source, false);
  for (const form of [
    'gnu',
    'posix --sparse-version=0.0',
    'posix --sparse-version=0.1',
    'posix --sparse-version=1.0',
  ]) {
    sh(place.directory, `tar --numeric-owner --sparse --format=${form} -C src -cf in.tar .`);
    await place.run('backup', '--group', 'ct/1', `root.tree:tar:${place.path('in.tar')}`);
    assert.equal(listing(unpack(place, await exported(place)), false), wanted, form);
  }
});

test('zstd, gzip and lzop go in, zstd comes out, and another compression is named', { skip }, async (t) => {
  const place = await newPlace(t);
  const source = makeTree(place, true);
  const wanted = listing(source, false);
  for (const program of ['zstd', 'gzip', 'lzop']) {
    const path = place.path(`any-name-${program}`);
    sh(place.directory, `tar --numeric-owner -C src -cf ${path} --${program} .`);
    const piped = await place.try(['backup', '--group', 'ct/1', 'root.tree:tar:-'], { stdin: readFileSync(path) });
    assert.equal(piped.code, 0, piped.stderr);
    const target = place.path(`out-${program}.tar.zst`);
    await place.run('restore', 'ct/1/latest', 'root.tree', '--tar', target);
    sh(place.directory, `zstd -qt ${target}; rm -rf out; mkdir out; tar --zstd --numeric-owner -C out -xpf ${target}`);
    assert.equal(listing(place.path('out'), false), wanted, program);
    assert.match(
      await place.fails('target-unfit', 'restore', 'ct/1/latest', 'root.tree', '--tar', target),
      /--overwrite/,
    );
    for (const bytes of [100, 3000]) {
      writeFileSync(place.path('cut'), readFileSync(path).subarray(0, -bytes));
      await place.fails('source-failed', 'backup', '--group', 'ct/2', `root.tree:tar:${place.path('cut')}`);
    }
  }
  assert.equal((await place.json<unknown[]>('snapshot', 'list')).length, 3, 'what was cut off made no snapshot');
  for (const magic of ['fd377a585a00', '425a6839']) {
    writeFileSync(place.path('other'), Buffer.from(magic, 'hex'));
    assert.match(
      await place.fails('bad-argument', 'backup', '--group', 'ct/2', `root.tree:tar:${place.path('other')}`),
      / -dc FILE \|/,
    );
  }
  await place.fails('not-found', 'backup', '--group', 'ct/2', `root.tree:tar:${place.path('missing')}`);
});

test('a part of a tree, and wrong wishes', { skip }, async (t) => {
  const place = await newPlace(t);
  const source = makeTree(place, true);
  copyFileSync('/bin/true', place.path('disk'));
  await place.run('backup', '--group', 'ct/1', `root.tree:${source}`, `disk.img:${place.path('disk')}`);
  const below = (directory: string): string =>
    sh(directory, 'find . -printf "%p %y %s %m\n" | sort; sha256sum f1 hl b/f2');
  assert.equal(below(unpack(place, await exported(place, '--path', 'a'))), below(join(source, 'a')));
  const one = await exported(place, '--path', '/a/b/f2/');
  assert.equal(execFileSync('tar', ['-tf', '-'], { input: one }).toString(), './f2\n');
  assert.match(
    await place.fails('not-found', 'restore', 'ct/1/latest', 'root.tree', '--tar', '-', '--path', 'a/x'),
    /\/a\/x is not/,
  );
  await place.fails('bad-argument', 'restore', 'ct/1/latest', 'disk.img', '--tar', '-');
  await place.fails('bad-argument', 'restore', 'ct/1/latest', 'root.tree');
  await place.fails('bad-argument', 'restore', 'ct/1/latest', 'root.tree', '--tar', '-', '--damaged', 'zero');
  await place.fails('bad-argument', 'backup', '--group', 'ct/1', 'root.tree:tar:');
  await place.fails('bad-argument', 'restore', 'ct/1/latest', 'root.tree', place.path('x'), '--tar', place.path('y'));
  await place.fails('target-failed', 'restore', 'ct/1/latest', 'root.tree', '--tar', place.path('no/such/x.tar'));
});

test('a reader that goes away ends the export quietly', { skip }, async (t) => {
  const place = await newPlace(t);
  const source = makeTree(place, true);
  await place.run('backup', '--group', 'ct/1', `root.tree:${source}`);
  const { child, ended } = start([
    'restore',
    'ct/1/latest',
    'root.tree',
    '--tar',
    '-',
    '--output-format',
    'json',
    '--repository',
    place.repository,
  ]);
  child.stdout?.once('data', () => child.stdout?.destroy());
  const ran = await ended;
  // As for any command whose reader goes away.
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(ran.stderr, '');
});
