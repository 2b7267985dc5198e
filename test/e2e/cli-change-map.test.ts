// Incremental backups with a change map through the command line: right maps, wrong maps, maps of something else.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, newPlace, type Place } from '../cli/holdfast.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

interface Rig extends Place {
  readonly disk: Buffer;
  readonly base: string;
  backup(map?: unknown): Promise<BackupJson & { stderr: string }>;
  /** Restores the newest snapshot and compares it with the disk as it is now. */
  assertRestores(): Promise<void>;
}

async function rig(t: Parameters<typeof newPlace>[0], sizeBytes = 40 * MiB): Promise<Rig> {
  const place = await newPlace(t);
  const disk = pattern(sizeBytes, 1);
  const backup: Rig['backup'] = async (map) => {
    writeFileSync(place.path('disk'), disk);
    if (map !== undefined) writeFileSync(place.path('map.json'), JSON.stringify(map));
    const more = map === undefined ? [] : ['--changed-since', place.path('map.json')];
    const ran = await place.run(
      'backup',
      '--group',
      'vm/101',
      `disk0.img:${place.path('disk')}`,
      ...more,
      '--output-format',
      'json',
    );
    return { ...(JSON.parse(ran.stdout.toString()) as BackupJson), stderr: ran.stderr };
  };
  const assertRestores = async (): Promise<void> => {
    await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'), '--overwrite');
    assert.ok(readFileSync(place.path('out')).equals(disk));
  };
  const { snapshot } = await backup();
  return { ...place, disk, base: snapshot, backup, assertRestores };
}

/** Warnings but for that of two backups within a second. */
const warnings = (stderr: string): string[] =>
  stderr.split('\n').filter((line) => line !== '' && !/check the clock/.test(line));

test('only what the map names is read, in any alignment and order; samples count apart', async (t) => {
  const place = await rig(t);
  const extents = [
    { offset: 30 * MiB + 1, length: 3 },
    { offset: 5 * MiB, length: 64 * KiB },
    { offset: 5 * MiB + 10 * KiB, length: 64 * KiB },
    { offset: 40 * MiB - 1, length: 1 },
    { offset: 100, length: 0 },
  ];
  for (const { offset, length } of extents) place.disk.fill(0x5a, offset, offset + length);
  const result = await place.backup({ base: place.base, disks: { 'disk0.img': extents, 'disk7.img': extents } });
  assert.ok(result.bytesRead > 0 && result.bytesRead < 2 * MiB, `${result.bytesRead} bytes read`);
  assert.ok(result.bytesSampled > 0 && result.bytesSampled <= 256 * KiB);
  assert.ok(result.bytesNew < 2 * MiB);
  assert.deepEqual(warnings(result.stderr), []);
  await place.assertRestores();
  // The same as reading everything.
  const full = await place.backup();
  assert.equal(full.bytesNew, 0);
});

test('a map of nothing: nothing is read, and the snapshot is whole', async (t) => {
  const place = await rig(t);
  const result = await place.backup({ base: place.base, disks: { 'disk0.img': [] } });
  assert.deepEqual([result.bytesRead, result.bytesNew], [0, 0]);
  await place.assertRestores();
});

test('a map that lies about most of the disk is caught, the disk read in full, the restore right', async (t) => {
  const place = await rig(t);
  place.disk.set(pattern(place.disk.length, 99));
  const result = await place.backup({ base: place.base, disks: { 'disk0.img': [{ offset: 0, length: 4096 }] } });
  assert.match(
    result.stderr,
    /warning: disk0\.img: the disk differs at byte \d+ although the change map does not name it; the change map is wrong, so the whole disk is read/,
  );
  assert.equal(result.bytesRead >= place.disk.length, true);
  await place.assertRestores();
});

test('a disk that grew or shrank is right, whatever the map says of its new end', async (t) => {
  const place = await rig(t, 20 * MiB);
  for (const sizeBytes of [33 * MiB + 5, 17 * MiB, 16 * MiB]) {
    const disk = pattern(sizeBytes, 1);
    writeFileSync(place.path('disk'), disk);
    writeFileSync(
      place.path('map.json'),
      JSON.stringify({ base: place.base, disks: { 'disk0.img': [{ offset: 35 * MiB, length: MiB }] } }),
    );
    await place.run(
      'backup',
      '--group',
      'vm/101',
      `disk0.img:${place.path('disk')}`,
      '--changed-since',
      place.path('map.json'),
    );
    await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'), '--overwrite');
    assert.ok(readFileSync(place.path('out')).equals(disk), `${sizeBytes} bytes`);
    // The next one starts from the first base again, which is still one of the newest two.
    await place.run('snapshot', 'forget', 'vm/101/latest');
  }
});

test('a base that is not among the newest two, is of another group, or is gone: a warning and a full read', async (t) => {
  const place = await rig(t, 2 * MiB);
  await place.backup();
  await place.backup();
  for (const base of [place.base, 'vm/102/2026-11-20T02:00:00Z', 'vm/101/1999-01-01T00:00:00Z', 'vm/101/latest']) {
    place.disk[7]++;
    const result = await place.backup({ base, disks: { 'disk0.img': [] } });
    assert.match(
      result.stderr,
      /warning: disk0\.img: read in full, for .* is not one of the group's newest two snapshots/,
    );
    assert.equal(result.bytesRead, place.disk.length);
    await place.assertRestores();
  }
});

test('a map without this disk: a warning and a full read', async (t) => {
  const place = await rig(t, 2 * MiB);
  place.disk[7]++;
  const result = await place.backup({ base: place.base, disks: { 'disk1.img': [] } });
  assert.match(result.stderr, /warning: disk0\.img: read in full, for the change map does not name this disk/);
  await place.assertRestores();
});

test('a map that cannot be read makes no snapshot', async (t) => {
  const place = await rig(t, MiB);
  writeFileSync(place.path('bad.json'), '{"base":"vm/101/latest"}');
  const args = ['backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`, '--changed-since'];
  await place.fails('bad-change-map', ...args, place.path('bad.json'));
  await place.fails('bad-change-map', ...args, place.path('nowhere.json'));
  writeFileSync(place.path('bad.json'), '{"base":"yesterday","disks":{}}');
  await place.fails('bad-name', ...args, place.path('bad.json'));
  assert.equal((await place.json<unknown[]>('snapshot', 'list')).length, 1);
});
