// Block devices, by loop devices: as source and as target.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { pattern, tool } from '../agent/nbd/servers.ts';
import { newPlace, type Place } from '../cli/holdfast.ts';

const MiB = 1024 * 1024;

/** A loop device over a new file; undefined where that is not allowed. */
function loopDevice(t: TestContext, path: string, sizeBytes: number): string | undefined {
  execFileSync('truncate', ['-s', String(sizeBytes), path]);
  const { status, stdout } = spawnSync('losetup', ['--find', '--show', path], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const device = stdout.trim();
  t.after(() => spawnSync('losetup', ['--detach', device]));
  return device;
}

async function storeOf(t: TestContext, disk: Uint8Array): Promise<Place> {
  const place = await newPlace(t);
  writeFileSync(place.path('disk'), disk);
  await place.run('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  return place;
}

const restore = (target: string, ...more: string[]): string[] => [
  'restore',
  'vm/101/latest',
  'disk0.img',
  target,
  ...more,
];

test('a device with old data, once that is meant, holds exactly the disk: holes are written as zeros', async (t) => {
  const disk = Buffer.concat([
    pattern(5 * MiB, 1),
    Buffer.alloc(20 * MiB),
    pattern(2 * MiB + 512, 2),
    Buffer.alloc(MiB),
  ]);
  const place = await storeOf(t, disk);
  const device = loopDevice(t, place.path('loop'), 40 * MiB);
  if (device === undefined) return t.skip('no loop devices here');
  const before = pattern(40 * MiB, 9);
  writeFileSync(device, before);
  assert.match(await place.fails('target-unfit', ...restore(device)), /holds data; give --overwrite/);
  assert.ok(readFileSync(device).equals(before), 'nothing was written');
  await place.run(...restore(device, '--overwrite'));
  const after = readFileSync(device);
  assert.ok(after.subarray(0, disk.length).equals(disk));
  assert.ok(
    after.subarray(disk.length).equals(before.subarray(disk.length)),
    'what lies behind the disk is left as it was',
  );
});

test('an empty device of the right size is taken; one a sector too small is refused', async (t) => {
  const disk = Buffer.concat([pattern(MiB, 1), Buffer.alloc(10 * MiB)]);
  const place = await storeOf(t, disk);
  const [small, right] = [
    loopDevice(t, place.path('small'), disk.length - 512),
    loopDevice(t, place.path('right'), disk.length),
  ];
  if (small === undefined || right === undefined) return t.skip('no loop devices here');
  assert.match(
    await place.fails('target-unfit', ...restore(small)),
    /has 11533824 bytes, disk0\.img needs 11534336; take a larger device/,
  );
  assert.match(await place.fails('target-unfit', ...restore(small, '--overwrite')), /take a larger device/);
  await place.run(...restore(right));
  assert.ok(readFileSync(right).equals(disk));
});

test('a device that holds something at its end only is not empty', async (t) => {
  const place = await storeOf(t, pattern(MiB, 1));
  const device = loopDevice(t, place.path('loop'), 8 * MiB);
  if (device === undefined) return t.skip('no loop devices here');
  execFileSync('dd', ['if=/dev/urandom', `of=${device}`, 'bs=512', 'count=1', `seek=${8 * 2048 - 1}`, 'status=none']);
  await place.fails('target-unfit', ...restore(device));
});

test('a mounted device is refused, with --overwrite too', async (t) => {
  const place = await storeOf(t, pattern(MiB, 1));
  const device = loopDevice(t, place.path('loop'), 16 * MiB);
  if (device === undefined) return t.skip('no loop devices here');
  tool('mkfs.ext4', '-q', device);
  tool('mkdir', place.path('mnt'));
  if (spawnSync('mount', [device, place.path('mnt')]).status !== 0) return t.skip('mounts are not allowed here');
  t.after(() => spawnSync('umount', [place.path('mnt')]));
  const message = await place.fails('target-unfit', ...restore(device, '--overwrite'));
  spawnSync('umount', [place.path('mnt')]);
  assert.match(message, /in use/);
});

test('a device is backed up as it is, an image header on it included', async (t) => {
  const place = await newPlace(t);
  const device = loopDevice(t, place.path('loop'), 24 * MiB);
  if (device === undefined) return t.skip('no loop devices here');
  const disk = pattern(24 * MiB, 6);
  disk.write('QFI\xfb\0\0\0\x03', 0, 'latin1');
  writeFileSync(device, disk);
  await place.run('backup', '--group', 'vm/101', `disk0.img:${device}`);
  assert.ok((await place.run(...restore('-'))).stdout.equals(disk));
});

test('where data is lost a device gets zeros, whatever stood there', async (t) => {
  const disk = pattern(18 * MiB, 1);
  const place = await storeOf(t, disk);
  const device = loopDevice(t, place.path('loop'), 20 * MiB);
  if (device === undefined) return t.skip('no loop devices here');
  writeFileSync(device, pattern(20 * MiB, 9));
  const packs = readdirSync(`${place.repository}/packs`).map((name) => `${place.repository}/packs/${name}`);
  for (const path of packs) {
    const bytes = readFileSync(path);
    const at = bytes.indexOf('HDFR');
    // One chunk, or one page or list, of every pack.
    bytes[at + 60 + 32 * bytes.readUInt32LE(at + 8)]! ^= 1;
    writeFileSync(path, bytes);
  }
  const ran = await place.try(restore(device, '--overwrite', '--damaged', 'zero', '--output-format', 'json'));
  assert.equal(ran.code, 27, ran.stderr);
  const { damaged } = JSON.parse(ran.stdout.toString()) as { damaged: { offset: number; length: number }[] };
  assert.ok(damaged.length > 0);
  for (const { offset, length } of damaged) disk.fill(0, offset, offset + length);
  assert.ok(readFileSync(device).subarray(0, disk.length).equals(disk));
});
