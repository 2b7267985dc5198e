// Sources and targets that cannot be what was meant, and clocks.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pattern, without } from '../agent/nbd/servers.ts';
import { clockAt } from '../support/server/program-clock.ts';
import { type BackupJson, isRoot, type ListedJson, listed, messageOf, newPlace, type Place } from './holdfast.ts';

const MiB = 1024 * 1024;

/** Nothing may be seen of a backup that failed. */
async function assertNothing(place: Place): Promise<void> {
  assert.deepEqual(await listed(place), []);
  assert.deepEqual(
    readdirSync(join(place.repository, 'packs')).filter((name) => name.endsWith('.open')),
    [],
  );
}

test('sources that are missing, or no disks and no files', async (t) => {
  const place = await newPlace(t);
  mkdirSync(place.path('directory'));
  execFileSync('mkfifo', [place.path('fifo')]);
  symlinkSync(place.path('nowhere'), place.path('dangling'));
  const backup = ['backup', '--group', 'vm/101'];
  for (const path of ['nowhere', 'dangling']) {
    assert.match(
      await place.fails('not-found', ...backup, `disk0.img:${place.path(path)}`),
      /there is no disk .*check the path/,
    );
    assert.match(
      await place.fails('not-found', ...backup, `a.conf:${place.path(path)}`),
      /there is no file .*check the path/,
    );
  }
  assert.match(
    await place.fails('bad-argument', ...backup, `disk0.img:${place.path('directory')}`),
    /is a directory, not a disk/,
  );
  assert.match(await place.fails('source-failed', ...backup, `a.conf:${place.path('directory')}`), /EISDIR/);
  assert.match(await place.fails('bad-argument', ...backup, `disk0.img:${place.path('fifo')}`), /is a fifo/);
  assert.match(await place.fails('bad-argument', ...backup, 'disk0.img:/dev/zero'), /is a character device/);
  await assertNothing(place);
  // Found before anything is stored: the good disk beside it costs nothing.
  writeFileSync(place.path('disk'), pattern(MiB, 1));
  await place.fails('not-found', ...backup, `disk0.img:${place.path('disk')}`, `disk1.img:${place.path('nowhere')}`);
  assert.deepEqual(readdirSync(join(place.repository, 'packs')), []);
});

test('a source that the user may not read', async (t) => {
  const place = await newPlace(t, { create: false });
  const made = await place.try(['datastore', 'create'], { asNobody: true });
  assert.equal(made.code, 0, made.stderr);
  writeFileSync(place.path('secret'), 'x');
  chmodSync(place.path('secret'), 0);
  for (const name of ['disk0.img', 'a.conf']) {
    const args = ['backup', '--group', 'vm/101', `${name}:${place.path('secret')}`, '--output-format', 'json'];
    assert.match(
      messageOf(await place.try(args, { asNobody: true }), 'source-failed'),
      /secret.*EACCES|EACCES.*secret/,
    );
  }
});

test('small files: the largest, one byte more, and those that never end or say no size', async (t) => {
  const place = await newPlace(t);
  const most = 16 * MiB + 65_536;
  writeFileSync(place.path('large'), pattern(most, 1));
  await place.run('backup', '--group', 'vm/101', `a.log:${place.path('large')}`);
  await place.run('restore', 'vm/101/latest', 'a.log', place.path('out'));
  assert.ok(readFileSync(place.path('out')).equals(pattern(most, 1)));
  truncateSync(place.path('large'), most + 1);
  for (const path of [place.path('large'), '/dev/zero']) {
    assert.match(await place.fails('too-large', 'backup', '--group', 'vm/101', `a.log:${path}`), /name it \.img/);
  }
  await place.run('backup', '--group', 'vm/102', 'version.log:/proc/version');
  const ran = await place.run('restore', 'vm/102/latest', 'version.log', '-');
  assert.equal(ran.stdout.toString(), readFileSync('/proc/version', 'utf8'));
});

test('disks of odd sizes, and of none', async (t) => {
  const place = await newPlace(t);
  const sizes = [0, 1, 511, 4095, 4097, MiB + 1, 16 * MiB, 16 * MiB + 1];
  for (const size of sizes) writeFileSync(place.path(`disk${size}`), pattern(size + 4, 3).subarray(0, size));
  await place.run(
    'backup',
    '--group',
    'vm/101',
    ...sizes.map((size) => `disk${size}.img:${place.path(`disk${size}`)}`),
  );
  for (const size of sizes) {
    await place.run('restore', 'vm/101/latest', `disk${size}.img`, place.path('out'), '--overwrite');
    assert.ok(readFileSync(place.path('out')).equals(readFileSync(place.path(`disk${size}`))), `${size} bytes`);
  }
});

test('restore refuses a target that holds something, and says how to mean it', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('disk'), pattern(MiB, 1));
  await place.run('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  const restore = ['restore', 'vm/101/latest', 'disk0.img'];
  const target = place.path('target');
  writeFileSync(target, 'precious');
  assert.match(await place.fails('target-unfit', ...restore, target), /not empty \(8 bytes\).*--overwrite/);
  assert.equal(readFileSync(target, 'utf8'), 'precious');
  // Larger than the disk, and other bytes where the disk has holes.
  writeFileSync(target, pattern(3 * MiB, 9));
  await place.run(...restore, target, '--overwrite');
  assert.ok(readFileSync(target).equals(pattern(MiB, 1)));
  writeFileSync(place.path('empty'), '');
  await place.run(...restore, place.path('empty'));
  assert.ok(readFileSync(place.path('empty')).equals(pattern(MiB, 1)));
  for (const path of [place.directory, '/dev/null']) {
    assert.match(await place.fails('target-unfit', ...restore, path), /neither a file nor a block device/);
  }
  assert.match(await place.fails('target-failed', ...restore, place.path('no/such/directory')), /ENOENT/);
  assert.match(await place.fails('target-failed', ...restore, join(place.path('disk'), 'x')), /ENOTDIR/);
});

test('a target that may not be written, or is full, is named; a file that was begun is gone again', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('disk'), pattern(4 * MiB, 1));
  await place.run('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  chmodSync(place.repository, 0o755);
  mkdirSync(place.path('closed'));
  chmodSync(place.path('closed'), 0o555);
  execFileSync('chmod', ['-R', 'a+rX', place.repository]);
  const args = ['restore', 'vm/101/latest', 'disk0.img', place.path('closed/out'), '--output-format', 'json'];
  messageOf(await place.try(args, { asNobody: true }), 'target-failed');
  // A limit on the size of files stands for a full disk.
  const limited = await place.try(
    ['restore', 'vm/101/latest', 'disk0.img', place.path('out'), '--output-format', 'json'],
    {
      through: ['sh', '-c', 'ulimit -f 1024; trap "" XFSZ; exec "$@"', 'sh'],
    },
  );
  assert.match(messageOf(limited, 'target-failed'), /no space left/);
  assert.ok(!existsSync(place.path('out')));
});

test('holes stay holes from disk to disk', async (t) => {
  const place = await newPlace(t);
  const path = place.path('sparse');
  writeFileSync(path, pattern(65_536, 1));
  truncateSync(path, 256 * MiB);
  const result = await place.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${path}`);
  assert.ok(result.bytesRead <= MiB, `${result.bytesRead} bytes read of a sparse file`);
  await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'));
  assert.equal(statSync(place.path('out')).size, 256 * MiB);
  assert.ok(statSync(place.path('out')).blocks * 512 <= MiB, `${statSync(place.path('out')).blocks} blocks`);
  execFileSync('cmp', [path, place.path('out')]);
});

test('--time names the snapshot: RFC 3339 with any offset, or Unix seconds', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  const backup = async (time: string) =>
    (await place.json<BackupJson>('backup', '--group', 'vm/1', `a.conf:${place.path('a.conf')}`, '--time', time))
      .snapshot;
  assert.equal(await backup('0'), 'vm/1/1970-01-01T00:00:00Z');
  assert.equal(await backup('1795140000'), 'vm/1/2026-11-20T02:00:00Z');
  assert.equal(await backup('2026-11-20T04:00:00.900+01:00'), 'vm/1/2026-11-20T03:00:00Z');
  assert.equal(await backup('2026-11-20T03:00:01Z'), 'vm/1/2026-11-20T03:00:01Z');
  for (const time of [
    '',
    'now',
    '-1',
    '2026-11-20',
    '2026-11-20 02:00:00',
    '2026-11-20T25:00:00Z',
    '1e9',
    '99999999999999',
  ]) {
    await place.fails('bad-name', 'backup', '--group', 'vm/1', `a.conf:${place.path('a.conf')}`, '--time', time);
  }
  assert.equal((await listed(place)).length, 4);
});

test('a time that is not after the last one: the backup is made one second later, with a warning', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  const backup = (time: string) =>
    place.try([
      'backup',
      '--group',
      'vm/1',
      `a.conf:${place.path('a.conf')}`,
      '--time',
      time,
      '--output-format',
      'json',
    ]);
  await backup('2026-11-20T02:00:00Z');
  for (const [time, label] of [
    ['2026-11-20T02:00:00Z', 'vm/1/2026-11-20T02:00:01Z'],
    ['2020-01-01T00:00:00Z', 'vm/1/2026-11-20T02:00:02Z'],
  ]) {
    const { code, stdout, stderr } = await backup(time);
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout.toString()).snapshot, label);
    assert.match(stderr, /^warning: --time .* was asked for, but the group's last snapshot is of .*\n$/);
  }
  const rows = await place.json<ListedJson[]>('snapshot', 'list');
  assert.deepEqual(
    rows.map((row) => [row.sequence, row.suspectClock]),
    [
      [1, false],
      [2, true],
      [3, true],
    ],
  );
  // Forgetting the newest does not give its label again.
  await place.run('snapshot', 'forget', 'vm/1/latest');
  assert.equal(
    JSON.parse((await backup('2020-01-01T00:00:00Z')).stdout.toString()).snapshot,
    'vm/1/2026-11-20T02:00:03Z',
  );
});

test('no clock refuses a backup: in the past, far in the future, and back again', {
  skip: without('faketime'),
}, async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'a');
  const labels: string[] = [];
  for (const [clock, warning] of [
    ['2000-01-01T00:00:00Z', /cannot be: check it/],
    ['2026-11-20T02:00:00Z', /^$/],
    ['2099-01-01T00:00:00Z', /far after anything known|check it/],
    ['2026-11-21T02:00:00Z', /but the group's last snapshot is of 2099/],
  ] as const) {
    const args = ['backup', '--group', 'vm/1', `a.conf:${place.path('a.conf')}`, '--output-format', 'json'];
    const ran = await place.try(args, { env: clockAt(Date.parse(clock)) });
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stderr, warning, clock);
    labels.push(JSON.parse(ran.stdout.toString()).snapshot);
  }
  assert.deepEqual(
    labels.map((label) => label.slice(5, 15)),
    ['2000-01-01', '2026-11-20', '2099-01-01', '2099-01-01'],
  );
  assert.deepEqual(await listed(place), labels);
  assert.deepEqual(
    (await place.json<ListedJson[]>('snapshot', 'list')).map((row) => row.suspectClock),
    [true, false, true, true],
  );
  await place.run('restore', 'vm/1/latest', 'a.conf', place.path('out'));
});

test('root is needed for nothing', { skip: isRoot ? false : 'runs as it is' }, async (t) => {
  const place = await newPlace(t, { create: false });
  writeFileSync(place.path('disk'), pattern(MiB, 1));
  for (const args of [
    ['datastore', 'create'],
    ['backup', '--group', 'vm/1', `disk0.img:${place.path('disk')}`],
    ['restore', 'vm/1/latest', 'disk0.img', place.path('out')],
    ['snapshot', 'forget', 'vm/1/latest'],
  ]) {
    const ran = await place.try(args, { asNobody: true });
    assert.equal(ran.code, 0, ran.stderr);
  }
  assert.ok(readFileSync(place.path('out')).equals(pattern(MiB, 1)));
});
