// From a flipped byte to a whole store: verify names it, restore refuses or writes zeros, a backup heals it, all by the command line.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, messageOf, newPlace, type Place, type Ran, start } from '../cli/holdfast.ts';

const MIB = 1 << 20;
const DISK_BYTES = 36 * MIB;

interface Range {
  readonly offset: number;
  readonly length: number;
}
interface VerifyJson {
  readonly packsRead: number;
  readonly packsSkipped: number;
  readonly bytesRead: number;
  readonly damaged: readonly { ns: string; snapshot: string; archive: string; ranges: Range[] }[];
  readonly packsDamaged: readonly unknown[];
  readonly unreferencedDamaged: number | null;
  readonly durationMs: number;
}

type Damaged = Place & { disk: Buffer; snapshot: string };

/** A store with one snapshot of a disk of three pages and of a small file. */
async function storeOfOne(t: TestContext): Promise<Damaged> {
  const place = await newPlace(t);
  const disk = pattern(DISK_BYTES, 1);
  disk.fill(0, 20 * MIB, 24 * MIB);
  writeFileSync(place.path('disk'), disk);
  writeFileSync(place.path('a.conf'), 'cores: 4\n');
  const { snapshot } = await place.json<BackupJson>(...backupArgs(place));
  return { ...place, disk, snapshot };
}

const backupArgs = (place: Place): string[] => [
  'backup',
  '--group',
  'vm/101',
  `disk0.img:${place.path('disk')}`,
  `a.conf:${place.path('a.conf')}`,
];

/** Flips a bit inside of the nth record of a kind (1 data, 2 page, 3 list, 5 blob). */
function spoil(place: Place, kind: number, nth = 0): void {
  let seen = 0;
  for (const name of readdirSync(join(place.repository, 'packs')).sort()) {
    const path = join(place.repository, 'packs', name);
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf('HDFR'); at >= 0; at = bytes.indexOf('HDFR', at + 1)) {
      if (bytes[at + 5] !== kind || seen++ !== nth) continue;
      bytes[at + 56 + 32 * bytes.readUInt32LE(at + 8) + 2]! ^= 1;
      writeFileSync(path, bytes);
      return;
    }
  }
  assert.fail(`there is no record ${nth} of kind ${kind}`);
}

/** Runs a verification that must find damage. */
async function verifyBad(place: Place, ...more: string[]): Promise<VerifyJson> {
  const ran = await place.try(['datastore', 'verify', '--output-format', 'json', ...more]);
  assert.equal(ran.code, 27, ran.stderr);
  messageOf({ ...ran, stdout: Buffer.alloc(0) }, 'object-damaged');
  return JSON.parse(ran.stdout.toString()) as VerifyJson;
}

/** Outside of the ranges the bytes are the disk's, inside they are zeros. */
function isDiskBut(disk: Buffer, bytes: Buffer, ranges: readonly Range[]): void {
  const expected = Buffer.from(disk);
  for (const { offset, length } of ranges) expected.fill(0, offset, offset + length);
  assert.ok(bytes.equals(expected));
}

for (const [kind, nth, what] of [
  [1, 7, 'a chunk'],
  [2, 1, 'a page'],
  [3, 0, 'the list of pages'],
] as const) {
  for (const how of ['in full', 'with an empty change map'] as const) {
    test(`${what} goes bad: it is named, and a backup ${how} heals it, in the old snapshot too`, async (t) => {
      const place = await storeOfOne(t);
      assert.equal((await place.json<VerifyJson>('datastore', 'verify')).damaged.length, 0);
      const verified = async () =>
        (await place.json<{ verified: { damaged: boolean } | null }>('snapshot', 'show', place.snapshot)).verified;
      assert.equal((await verified())?.damaged, false);
      spoil(place, kind, nth);
      const { damaged, packsDamaged, unreferencedDamaged } = await verifyBad(place);
      assert.deepEqual([packsDamaged.length, unreferencedDamaged], [0, kind === 1 ? 0 : null]);
      assert.deepEqual(
        damaged.map(({ ns, snapshot, archive }) => [ns, snapshot, archive]),
        [['', place.snapshot, 'disk0.img']],
      );
      const { ranges } = damaged[0]!;
      assert.equal((await verified())?.damaged, true);
      if (kind === 3) assert.deepEqual(ranges, [{ offset: 0, length: DISK_BYTES }]);
      if (kind === 2)
        assert.ok(ranges.length === 1 && ranges[0]!.length <= 16 * MIB && ranges[0]!.offset % (16 * MIB) === 0);
      if (kind === 1) assert.ok(ranges.length === 1 && ranges[0]!.length <= 256 * 1024);

      const map = JSON.stringify({ base: place.snapshot, disks: { 'disk0.img': [] } });
      writeFileSync(place.path('map'), map);
      const args = how === 'in full' ? [] : ['--changed-since', place.path('map')];
      const healed = await place.json<BackupJson>(...backupArgs(place), ...args);
      if (how !== 'in full' && kind === 1) assert.ok(healed.bytesRead < 4 * MIB, `${healed.bytesRead} bytes read`);
      const after = await place.json<VerifyJson>('datastore', 'verify');
      assert.deepEqual([after.damaged, after.unreferencedDamaged], [[], 0]);
      for (const snapshot of [place.snapshot, healed.snapshot]) {
        await place.run('datastore', 'verify', '--snapshot', snapshot);
        const { stdout } = await place.run('restore', snapshot, 'disk0.img', '-');
        assert.ok(stdout.equals(place.disk), snapshot);
      }
    });
  }
}

test('restore refuses what is damaged, and with --damaged zero gives the rest and says what is lost', async (t) => {
  const place = await storeOfOne(t);
  // Far enough from each other that they do not touch.
  spoil(place, 1, 5);
  spoil(place, 1, 40);
  let { ranges } = (await verifyBad(place)).damaged[0]!;
  assert.equal(ranges.length, 2);
  await place.fails('object-damaged', 'restore', place.snapshot, 'disk0.img', place.path('out'));
  await place.fails('object-damaged', 'restore', place.snapshot, 'disk0.img', place.path('out'), '--damaged', 'refuse');
  const says = (ran: Ran): void => {
    assert.equal(ran.code, 27);
    for (const { offset, length } of ranges)
      assert.match(ran.stderr, new RegExp(`^warning: disk0\\.img: ${length} bytes at ${offset} are lost`, 'm'));
    assert.equal(ran.stderr.match(/^warning: /gm)?.length, ranges.length);
  };
  const toFile = await place.try([
    'restore',
    place.snapshot,
    'disk0.img',
    place.path('out'),
    '--damaged',
    'zero',
    '--output-format',
    'json',
  ]);
  says(toFile);
  const said = JSON.parse(toFile.stdout.toString()) as { damaged: Range[]; bytes: number };
  assert.deepEqual([said.damaged, said.bytes], [ranges, DISK_BYTES]);
  isDiskBut(place.disk, readFileSync(place.path('out')), ranges);
  spoil(place, 2, 1);
  ranges = (await verifyBad(place)).damaged[0]!.ranges;
  assert.ok(ranges.some(({ length }) => length >= 4 * MIB));
  const toPipe = await place.try(['restore', place.snapshot, 'disk0.img', '-', '--damaged', 'zero']);
  says(toPipe);
  isDiskBut(place.disk, toPipe.stdout, ranges);
  const json = await place.try([
    'restore',
    place.snapshot,
    'disk0.img',
    '-',
    '--damaged',
    'zero',
    '--output-format',
    'json',
  ]);
  const error = JSON.parse(json.stderr.trimEnd().split('\n').at(-1)!) as { error: { data: { damaged: Range[] } } };
  assert.deepEqual(error.error.data.damaged, ranges);
  const whole = await place.run('restore', place.snapshot, 'a.conf', '-', '--damaged', 'zero');
  assert.equal(whole.stdout.toString(), 'cores: 4\n');
  // What was on a target before must not show where data is lost.
  writeFileSync(place.path('full'), Buffer.alloc(DISK_BYTES + 5000, 0xee));
  says(
    await place.try(['restore', place.snapshot, 'disk0.img', place.path('full'), '--damaged', 'zero', '--overwrite']),
  );
  isDiskBut(place.disk, readFileSync(place.path('full')), ranges);
});

test('a lost list, and a lost small file, are zeros from end to end', async (t) => {
  const place = await storeOfOne(t);
  spoil(place, 3);
  spoil(place, 5);
  const { damaged } = await verifyBad(place);
  assert.deepEqual(damaged.map(({ archive }) => archive).sort(), ['a.conf', 'disk0.img']);
  for (const [archive, bytes] of [
    ['disk0.img', DISK_BYTES],
    ['a.conf', 9],
  ] as const) {
    const ran = await place.try(['restore', place.snapshot, archive, '-', '--damaged', 'zero']);
    assert.equal(ran.code, 27);
    assert.ok(ran.stdout.equals(Buffer.alloc(bytes)));
    assert.match(ran.stderr, new RegExp(`warning: ${archive}: ${bytes} bytes at 0 are lost`));
  }
});

test('a second run within the limit reads nothing; usage errors are told before anything is opened', async (t) => {
  const place = await storeOfOne(t);
  const first = await place.json<VerifyJson>('datastore', 'verify', '--rate-limit', '2000', '--workers', '1');
  const bytes = readdirSync(join(place.repository, 'packs')).reduce(
    (sum, name) => sum + statSync(join(place.repository, 'packs', name)).size,
    0,
  );
  assert.ok(first.bytesRead > bytes * 0.9 && first.bytesRead <= bytes, `${first.bytesRead} of ${bytes}`);
  const second = await place.json<VerifyJson>('datastore', 'verify', '--outdated-after', '30d');
  assert.deepEqual([second.packsRead, second.bytesRead, second.packsSkipped], [0, 0, first.packsRead]);
  for (const args of [
    ['--outdated-after', '30'],
    ['--outdated-after', 'd'],
    ['--rate-limit', '0'],
    ['--rate-limit', 'x'],
  ])
    await place.fails('bad-argument', 'datastore', 'verify', ...args);
  await place.fails('bad-name', 'datastore', 'verify', '--snapshot', 'x');
  await place.fails('not-found', 'datastore', 'verify', '--snapshot', 'vm/9/latest');
  const text = (await place.run('datastore', 'verify', '--snapshot', 'vm/101/latest')).stdout.toString();
  assert.match(text, /^read +\d/);
});

test('a run that is killed goes on where it was', async (t) => {
  const place = await storeOfOne(t);
  for (let night = 1; night < 4; night++) {
    writeFileSync(place.path('disk'), pattern(6 * MIB, 10 + night));
    await place.run(...backupArgs(place));
  }
  const packs = readdirSync(join(place.repository, 'packs')).length;
  const state = join(place.repository, 'verify.json');
  // Slow enough that proofs are saved, every 5 s, before the end.
  const args = ['datastore', 'verify', '--rate-limit', '4', '--workers', '1'];
  const run = start(args, { env: { HOLDFAST_REPOSITORY: place.repository } });
  while (!existsSync(state)) await sleep(50);
  run.child.kill('SIGKILL');
  assert.equal((await run.ended).code, undefined);
  const rest = await place.json<VerifyJson>('datastore', 'verify', '--outdated-after', '1h');
  assert.ok(rest.packsSkipped > 0, 'what was proved is not read again');
  assert.equal(rest.packsSkipped + rest.packsRead, packs);
});

test('while a backup holds the datastore, it verifies for others, and damage is told all the same', async (t) => {
  const place = await storeOfOne(t);
  spoil(place, 1, 3);
  const options = { env: { HOLDFAST_REPOSITORY: place.repository } };
  const backup = start(['backup', '--group', 'host/a', 'dump.img:-', '--output-format', 'json'], options);
  backup.child.stdin?.write(pattern(3 * MIB, 4));
  while (readdirSync(join(place.repository, 'sessions')).length === 0) await sleep(20);
  const { damaged } = await verifyBad(place);
  assert.deepEqual([damaged.length, damaged[0]?.snapshot], [1, place.snapshot]);
  backup.child.stdin?.end();
  assert.equal((await backup.ended).code, 0);
  await verifyBad(place, '--snapshot', place.snapshot);
  await place.run('datastore', 'verify', '--snapshot', 'host/a/latest');
});
