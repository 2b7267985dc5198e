// Image formats of QEMU through the command line: the guest's bytes come back, and the same guest in another format is known already.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { pattern, tool, without } from '../agent/nbd/servers.ts';
import { type BackupJson, newPlace, type Place } from '../cli/holdfast.ts';

const MiB = 1024 * 1024;
const skip = without('qemu-img', 'setpriv');

/** A raw disk of 96 MiB with data here and there, at odd places too. */
function makeRaw(place: Place): string {
  const path = place.path('raw');
  execFileSync('truncate', ['-s', '96M', path]);
  const fd = openSync(path, 'r+');
  for (const [offset, length, seed] of [
    [0, 3 * MiB, 1],
    [16 * MiB - 5000, 10_000, 2],
    [40 * MiB + 123, 7 * MiB, 3],
    [96 * MiB - 512, 512, 4],
  ]) {
    writeSync(fd, pattern(length, seed), 0, length, offset);
  }
  closeSync(fd);
  return path;
}

async function backup(place: Place, group: string, source: string, ...more: string[]): Promise<BackupJson> {
  return await place.json<BackupJson>('backup', '--group', group, `disk0.img:${source}`, ...more);
}

for (const [format, options] of [
  ['qcow2', []],
  ['qcow2', ['-c']],
  ['qcow2', ['-o', 'cluster_size=4k,lazy_refcounts=on']],
  ['vmdk', []],
  ['vmdk', ['-o', 'subformat=streamOptimized']],
  ['vdi', []],
  ['vhdx', []],
] as const) {
  test(`${format} ${options.join(' ')}: restored as qemu-img converts it, and known after the raw one`, {
    skip,
  }, async (t) => {
    const place = await newPlace(t);
    const raw = makeRaw(place);
    const image = place.path(`disk.${format}`);
    tool('qemu-img', 'convert', '-f', 'raw', '-O', format, ...options, raw, image);
    const first = await backup(place, 'vm/101', raw);
    const second = await backup(place, 'vm/102', image);
    assert.deepEqual([second.bytesNew, second.objectsNew], [0, 0], 'everything is known, pages and lists too');
    assert.equal(second.bytesLogical, first.bytesLogical);
    // QEMU does not tell the holes of vhdx.
    if (format !== 'vhdx') assert.ok(second.bytesRead < 40 * MiB, `${second.bytesRead} bytes read: holes are known`);
    await place.run('restore', 'vm/102/latest', 'disk0.img', place.path('out'));
    tool('qemu-img', 'convert', '-f', format, '-O', 'raw', image, place.path('converted'));
    execFileSync('cmp', [place.path('out'), place.path('converted')]);
    execFileSync('cmp', [place.path('out'), raw]);
    assert.ok(statSync(place.path('out')).blocks * 512 < 20 * MiB, 'holes come back as holes');
  });
}

test('a qcow2 overlay is the disk that a guest would see', { skip }, async (t) => {
  const place = await newPlace(t);
  const raw = makeRaw(place);
  const overlay = place.path('overlay.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', raw, '-F', 'raw', overlay);
  tool('qemu-io', '-f', 'qcow2', '-c', 'write -P 0x5a 50M 1M', '-c', 'write -z 0 1M', overlay);
  await backup(place, 'vm/101', overlay);
  await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'));
  tool('qemu-img', 'convert', '-O', 'raw', overlay, place.path('converted'));
  execFileSync('cmp', [place.path('out'), place.path('converted')]);
});

test('a raw disk on which a guest wrote a qcow2 header is backed up as what the user says it is', {
  skip,
}, async (t) => {
  const place = await newPlace(t);
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', place.path('trap'), '1M');
  assert.match(
    await place.fails('source-failed', 'backup', '--group', 'vm/101', `disk0.img:${place.path('trap')}`),
    /raw:.* or qcow2:/,
  );
  await backup(place, 'vm/101', `raw:${place.path('trap')}`);
  const { stdout } = await place.run('restore', 'vm/101/latest', 'disk0.img', '-');
  assert.ok(stdout.equals(readFileSync(place.path('trap'))));
});

test('an image that is damaged, or in use by a guest, is refused with QEMU’s own words', { skip }, async (t) => {
  const place = await newPlace(t);
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', place.path('bad.qcow2'), '10M');
  const fd = openSync(place.path('bad.qcow2'), 'r+');
  writeSync(fd, Buffer.alloc(8, 0xff), 0, 8, 40);
  closeSync(fd);
  assert.match(
    await place.fails('source-failed', 'backup', '--group', 'vm/101', `disk0.img:${place.path('bad.qcow2')}`),
    /QEMU cannot open/,
  );
  assert.deepEqual(await place.json('snapshot', 'list'), []);
});

test('a change map on a qcow2 image, read over NBD', { skip }, async (t) => {
  const place = await newPlace(t);
  const raw = makeRaw(place);
  const image = place.path('disk.qcow2');
  tool('qemu-img', 'convert', '-O', 'qcow2', raw, image);
  const base = (await backup(place, 'vm/101', image)).snapshot;
  tool('qemu-io', '-f', 'qcow2', '-c', 'write -P 0x33 41M 64k', '-c', 'write -P 0x44 80M 1000k', image);
  const changed = [
    { offset: 41 * MiB, length: 65_536 },
    { offset: 80 * MiB, length: 1_024_000 },
  ];
  execFileSync('sh', [
    '-c',
    'printf "%s" "$1" > "$0"',
    place.path('map'),
    JSON.stringify({ base, disks: { 'disk0.img': changed } }),
  ]);
  const result = await backup(place, 'vm/101', image, '--changed-since', place.path('map'));
  assert.ok(result.bytesRead < 4 * (65_536 + 1_024_000), `${result.bytesRead} bytes read`);
  await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'));
  tool('qemu-img', 'convert', '-O', 'raw', image, place.path('converted'));
  execFileSync('cmp', [place.path('out'), place.path('converted')]);
});
