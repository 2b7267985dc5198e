// Trees through the program: what a backup made of a directory is restored, and other programs find no difference.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { isRoot, messageOf, NOBODY, newPlace } from '../cli/holdfast.ts';

interface RestoredJson {
  readonly entries: number;
  readonly notes: Record<string, { count: number; first: { path: string; detail?: string }[] }>;
}

const sh = (script: string, cwd: string): string =>
  execFileSync('bash', ['-euc', script], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

test('rsync, getfattr and getfacl see no difference', {
  skip: !isRoot && 'owners and devices need root',
}, async (t) => {
  const place = await newPlace(t);
  const source = place.path('source');
  mkdirSync(source);
  sh(
    `mkdir -p a/b c; echo x > a/x; ln a/x c/x; head -c 3000000 /dev/urandom > a/b/big; truncate -s 12M a/b/big
    ln -s ../x a/b/link; mkfifo a/pipe; mknod c/null c 1 3; chown 12:34 a/x; chmod 4711 a/x; setfacl -m u:9:r a/x; setfacl -d -m g:8:rx c
    setfattr -n user.k -v v a/b; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 a/b/big
    touch -d '2020-02-02 02:02:02.123456789' a c .; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("a/socket")'`,
    source,
  );
  await place.run('backup', '--group', 'host/web', `root.tree:${source}`);
  const restored = await place.json<RestoredJson>(
    ...['restore', 'host/web/latest', 'root.tree', place.path('out'), '--devices'],
  );
  assert.deepEqual(restored.notes, {});
  assert.equal(sh('rsync -aHAXn --delete --itemize-changes source/ out/', place.directory), '');
  const dump =
    'getfattr -hR -d -m - . | sort; getfacl -Rpn . | sort; stat -c "%n %a %u %g %Y %F %t %T" $(find . | sort)';
  assert.equal(sh(dump, place.path('out')), sh(dump, source));
});

test('options that cannot be meant, and what is left out, are told', async (t) => {
  const place = await newPlace(t);
  const source = place.path('source');
  mkdirSync(`${source}/etc`, { recursive: true });
  writeFileSync(`${source}/etc/hosts`, 'one');
  writeFileSync(place.path('x.conf'), 'conf');
  await place.run('backup', '--group', 'host/web', `root.tree:${source}`, `x.conf:${place.path('x.conf')}`);
  const restore = ['restore', 'host/web/latest'];
  assert.match(await place.fails('bad-argument', ...restore, 'root.tree', '-'), /directory/);
  assert.match(await place.fails('bad-argument', ...restore, 'x.conf', place.path('y'), '--devices'), /no file tree/);
  assert.match(
    await place.fails('not-found', ...restore, 'root.tree', place.path('o'), '--path', 'etc/none'),
    /etc\/none/,
  );
  assert.ok(!existsSync(place.path('o')));
  await place.run(...restore, 'root.tree', place.path('o'), '--path', '/etc/hosts');
  assert.equal(readFileSync(place.path('o/etc/hosts'), 'utf8'), 'one');
  assert.match(await place.fails('target-unfit', ...restore, 'root.tree', place.path('o')), /etc\/hosts exists/);
  writeFileSync(place.path('o/etc/hosts'), 'another');
  await place.run(...restore, 'root.tree', place.path('o'), '--overwrite');
  assert.equal(readFileSync(place.path('o/etc/hosts'), 'utf8'), 'one');
  await place.fails('target-unfit', ...restore, 'root.tree', place.path('x.conf'));
});

test('a user who is not root restores what it may', { skip: !isRoot && 'starts as root' }, async (t) => {
  const place = await newPlace(t);
  const source = place.path('source');
  mkdirSync(source);
  sh(
    'echo x > set-id; chmod 6755 set-id; chown 0:0 set-id; mknod null c 1 3; mkdir closed; echo in > closed/in; chmod 500 closed',
    source,
  );
  await place.run('backup', '--group', 'host/web', `root.tree:${source}`);
  sh('chmod -R a+rX store', place.directory);
  mkdirSync(place.path('mine'));
  chownSync(place.path('mine'), NOBODY, NOBODY);
  const args = ['restore', 'host/web/latest', 'root.tree', place.path('mine/out'), '--output-format', 'json'];
  const ran = await place.try(args, { asNobody: true });
  assert.equal(ran.code, 0, ran.stderr);
  const { notes } = JSON.parse(ran.stdout.toString()) as RestoredJson;
  assert.equal(notes.owner!.count, 4);
  assert.equal(notes.device!.count, 1);
  assert.equal(sh('stat -c "%a %u" set-id closed', place.path('mine/out')), `755 ${NOBODY}\n500 ${NOBODY}\n`);
  assert.equal(sh('cat closed/in', place.path('mine/out')), 'in\n');
  const devices = await place.try([...args, '--existing', 'keep', '--devices'], { asNobody: true });
  assert.match(messageOf({ ...devices, stdout: Buffer.alloc(0) }, 'target-failed'), /1 entries .* could not be made/);
});

test('a target without extended attributes, ACLs and file attributes', { skip: !isRoot && 'mounts' }, async (t) => {
  const place = await newPlace(t);
  const [source, target] = [place.path('source'), place.path('ramfs')];
  mkdirSync(source);
  mkdirSync(target);
  sh(
    'echo x > file; ln file same; setfattr -n user.k -v v file; setfacl -m u:9:r file; chown 5:5 file; echo y > n; chattr +d n',
    source,
  );
  try {
    sh('mount -t ramfs none ramfs', place.directory);
  } catch {
    t.skip('no ramfs here');
    return;
  }
  try {
    await place.run('backup', '--group', 'host/web', `root.tree:${source}`);
    const restored = await place.json<RestoredJson>('restore', 'host/web/latest', 'root.tree', `${target}/out`);
    const counts = Object.entries(restored.notes).map(([kind, { count }]) => [kind, count]);
    assert.deepEqual(counts, [
      ['xattrs', 1],
      ['acls', 1],
      ['attributes', 1],
    ]);
    assert.equal(sh('rsync -aHn --delete --itemize-changes source/ ramfs/out/', place.directory), '');
  } finally {
    sh('umount ramfs', place.directory);
  }
});
