// A store that suffered: an altered footer, a flipped byte, state files gone bad. Repair finds what is there, lists what is lost, and
// the next backup heals it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { newPlace, type Place } from '../cli/holdfast.ts';

const MIB = 1 << 20;

interface Report {
  readonly files: { file: string }[];
  readonly packs: { problem: string; records: number }[];
  readonly verified: { damaged: { snapshot: string; archive: string; ranges: { offset: number; length: number }[] }[] };
}

/** Bytes that do not compress, the same for the same seed. */
function noise(bytes: number, seed: number): Buffer {
  const words = new Uint32Array(bytes / 4);
  let state = seed;
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[at] = state ^ (state >>> 13);
  }
  return Buffer.from(words.buffer);
}

async function placeWithDisk(t: TestContext): Promise<{ place: Place; disk: Buffer; args: string[] }> {
  const place = await newPlace(t);
  const disk = noise(4 * MIB, 1);
  writeFileSync(place.path('disk.img'), disk);
  const args = ['backup', '--group', 'vm/101', `disk0.img:${place.path('disk.img')}`];
  await place.run(...args, '--workers', '1');
  return { place, disk, args };
}

/** The largest pack: the one with the data. */
function dataPack(place: Place): string {
  const packs = join(place.repository, 'packs');
  const paths = readdirSync(packs).map((name) => join(packs, name));
  return paths.sort((a, b) => readFileSync(b).length - readFileSync(a).length)[0] as string;
}

function alter(path: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
}

const restored = async (place: Place): Promise<Buffer> =>
  (await place.run('restore', 'vm/101/latest', 'disk0.img', '-')).stdout;

test('a whole store: nothing to repair', async (t) => {
  const { place } = await placeWithDisk(t);
  const report = await place.json<Report>('datastore', 'repair');
  assert.deepEqual([report.files, report.packs, report.verified.damaged], [[], [], []]);
});

test('an altered footer and bad state files: all is found again', async (t) => {
  const { place, disk, args } = await placeWithDisk(t);
  alter(dataPack(place), (bytes) => {
    bytes[bytes.length - 10]! ^= 1;
  });
  for (const name of ['holder.json', 'quarantine.json']) writeFileSync(join(place.repository, name), '{');
  await place.fails('datastore-damaged', ...args);
  const plan = await place.json<Report>('datastore', 'repair', '--dry-run');
  assert.deepEqual(plan.files.map(({ file }) => file).sort(), ['holder.json', 'quarantine.json']);
  assert.equal(plan.verified, null, 'the packs come later');
  await place.fails('datastore-damaged', ...args);
  const report = await place.json<Report>('datastore', 'repair');
  assert.equal(report.packs.length, 1);
  assert.ok((report.packs[0]?.records ?? 0) > 10);
  assert.deepEqual(report.verified.damaged, []);
  assert.ok((await restored(place)).equals(disk));
  assert.deepEqual((await place.json<Report>('datastore', 'repair')).packs, []);
  await place.run(...args);
  await place.run('datastore', 'gc', '--audit');
});

test('a flipped byte below an altered footer: the lost range is named, the rest is exported, a backup heals', async (t) => {
  const { place, disk, args } = await placeWithDisk(t);
  alter(dataPack(place), (bytes) => {
    bytes[2 * MIB]! ^= 1;
    bytes[bytes.length - 10]! ^= 1;
  });
  const ran = await place.try(['datastore', 'repair', '--output-format', 'json']);
  assert.equal(ran.code, 27, ran.stderr);
  const { verified } = JSON.parse(ran.stdout.toString()) as Report;
  assert.equal(verified.damaged.length, 1);
  const [damage] = verified.damaged as [Report['verified']['damaged'][number]];
  assert.equal(damage.archive, 'disk0.img');
  assert.equal(damage.ranges.length, 1);
  const [range] = damage.ranges as [{ offset: number; length: number }];
  assert.ok(range.length <= 256 * 1024, 'one chunk');
  await place.fails('object-missing', 'restore', 'vm/101/latest', 'disk0.img', place.path('refused.img'));
  const exported = await place.try([
    'restore',
    'vm/101/latest',
    'disk0.img',
    place.path('part.img'),
    '--damaged',
    'zero',
  ]);
  assert.notEqual(exported.code, 0, 'the exit code says that something is missing');
  const expected = Buffer.from(disk);
  expected.fill(0, range.offset, range.offset + range.length);
  assert.ok(readFileSync(place.path('part.img')).equals(expected));
  await place.run(...args);
  assert.ok((await restored(place)).equals(disk));
  assert.deepEqual((await place.json<Report>('datastore', 'repair')).verified.damaged, []);
});

test('repair of what is no datastore, or of one that nobody may write, says so', async (t) => {
  const place = await newPlace(t, { create: false });
  await place.fails('datastore-foreign', 'datastore', 'repair');
});
