// Disks from standard input, and restores to standard output.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, listed, messageOf, newPlace, PROGRAM, start } from './holdfast.ts';

const MiB = 1024 * 1024;

test('0 bytes, 1 byte and 40 MiB go in through a pipe and come back, to a file and to a pipe', async (t) => {
  const place = await newPlace(t);
  const large = Buffer.concat([pattern(17 * MiB, 1), Buffer.alloc(6 * MiB), pattern(17 * MiB, 2)]);
  for (const content of [Buffer.alloc(0), Buffer.from('x'), large]) {
    const ran = await place.try(['backup', '--group', 'vm/101', 'disk0.img:-', '--output-format', 'json'], {
      stdin: content,
    });
    assert.equal(ran.code, 0, ran.stderr);
    const result = JSON.parse(ran.stdout.toString()) as BackupJson;
    assert.deepEqual([result.bytesLogical, result.bytesRead], [content.length, content.length]);
    await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'), '--overwrite');
    assert.ok(readFileSync(place.path('out')).equals(content));
    const piped = await place.run('restore', 'vm/101/latest', 'disk0.img', '-');
    assert.ok(piped.stdout.equals(content), 'only the disk is on stdout');
    assert.equal(piped.stderr, '');
  }
  const again = await place.try(['backup', '--group', 'vm/101', 'disk0.img:-', '--output-format', 'json'], {
    stdin: large,
  });
  assert.equal(JSON.parse(again.stdout.toString()).bytesNew, 0);
});

test('a disk restored to a pipe has zeros where it has holes', async (t) => {
  const place = await newPlace(t);
  const path = place.path('sparse');
  execFileSync('truncate', ['-s', String(50 * MiB + 3), path]);
  await place.run('backup', '--group', 'vm/101', `disk0.img:${path}`);
  const ran = await place.run('restore', 'vm/101/latest', 'disk0.img', '-');
  assert.ok(ran.stdout.equals(Buffer.alloc(50 * MiB + 3)));
});

test('a stream beside a disk and a file in one snapshot', async (t) => {
  const place = await newPlace(t);
  execFileSync('truncate', ['-s', '5M', place.path('disk')]);
  const args = ['backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`, 'dump.img:-', 'a.conf:/etc/hostname'];
  const ran = await place.try(args, { stdin: pattern(3 * MiB, 4) });
  assert.equal(ran.code, 0, ran.stderr);
  const piped = await place.run('restore', 'vm/101/latest', 'dump.img', '-');
  assert.ok(piped.stdout.equals(pattern(3 * MiB, 4)));
});

test('a stream does not stand in for an image of the base: with a change map it is read whole', async (t) => {
  const place = await newPlace(t);
  const first = await place.try(['backup', '--group', 'vm/101', 'disk0.img:-', '--output-format', 'json'], {
    stdin: pattern(MiB, 1),
  });
  const base = (JSON.parse(first.stdout.toString()) as BackupJson).snapshot;
  execFileSync('sh', [
    '-c',
    'printf "%s" "$1" > "$0"',
    place.path('map'),
    JSON.stringify({ base, disks: { 'disk0.img': [] } }),
  ]);
  const second = await place.try(['backup', '--group', 'vm/101', 'disk0.img:-', '--changed-since', place.path('map')], {
    stdin: pattern(MiB, 2),
  });
  assert.equal(second.code, 0, second.stderr);
  const piped = await place.run('restore', 'vm/101/latest', 'disk0.img', '-');
  assert.ok(piped.stdout.equals(pattern(MiB, 2)));
});

test('a reader that goes away ends a restore quietly', async (t) => {
  const place = await newPlace(t);
  await place.try(['backup', '--group', 'vm/101', 'disk0.img:-'], { stdin: pattern(20 * MiB, 1) });
  const script = '"$0" "$1" restore vm/101/latest disk0.img - | head -c 1 | wc -c; echo $PIPESTATUS';
  const env = { ...process.env, HOLDFAST_REPOSITORY: place.repository };
  const out = execFileSync('bash', ['-c', script, process.execPath, PROGRAM], {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.equal(out, '1\n0\n');
});

test('what cannot be printed is an error: a full disk below standard output', async (t) => {
  const place = await newPlace(t);
  await place.try(['backup', '--group', 'vm/101', 'disk0.img:-'], { stdin: pattern(5 * MiB, 1) });
  for (const args of [
    ['restore', 'vm/101/latest', 'disk0.img', '-'],
    ['snapshot', 'list'],
  ]) {
    const ran = await place.try([...args, '--output-format', 'json'], {
      through: ['sh', '-c', 'exec "$@" > /dev/full', 'sh'],
    });
    assert.match(messageOf(ran, 'target-failed'), /no space left for standard output/);
    assert.equal(ran.stderr.trimEnd().split('\n').length, 1, ran.stderr);
  }
});

test('an error that has nothing to do with standard input does not wait for it', async (t) => {
  const place = await newPlace(t);
  const { child, ended } = start(['backup', '--group', 'vm/101', 'disk0.img:-', 'disk1.img:/nowhere'], {
    env: { HOLDFAST_REPOSITORY: place.repository },
  });
  t.after(() => void child.kill('SIGKILL'));
  assert.equal((await ended).code, 4);
  assert.deepEqual(await listed(place), []);
});
