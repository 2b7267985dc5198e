// Stores whose files are not what was written: what is whole stays usable, what is not is named, and a backup heals what it can.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, type ListedJson, listed, newPlace, type Place } from '../cli/holdfast.ts';
import { writeSnapshotOf } from '../support/index-snapshot.ts';

const MiB = 1024 * 1024;

type Store = Place & { first: string; second: string };

let template: Store;
const ended: (() => void)[] = [];
before(async () => {
  const place = await newPlace({ after: (end) => ended.push(end) });
  const backup = async (group: string, source: string, time: string): Promise<string> => {
    const args = ['backup', '--group', group, `disk0.img:${place.path(source)}`, '--time', time];
    return (await place.json<BackupJson>(...args)).snapshot;
  };
  writeFileSync(place.path('disk'), pattern(6 * MiB, 1));
  writeFileSync(place.path('other'), pattern(2 * MiB, 2));
  const first = await backup('vm/101', 'disk', '2026-11-20T02:00:00Z');
  const changed = pattern(6 * MiB, 1);
  changed.set(pattern(MiB, 7), MiB);
  writeFileSync(place.path('disk'), changed);
  const second = await backup('vm/101', 'disk', '2026-11-21T02:00:00Z');
  await backup('vm/102', 'other', '2026-11-21T02:00:00Z');
  template = { ...place, first, second };
});
after(() => {
  for (const end of ended) end();
});

/** A store with two snapshots of vm/101 and one of vm/102; the disks differ. */
async function storeOfThree(t: Parameters<typeof newPlace>[0]): Promise<Store> {
  const place = await newPlace(t, { create: false });
  cpSync(template.directory, place.directory, { recursive: true });
  return { ...place, first: template.first, second: template.second };
}

const packPaths = (place: Place): string[] =>
  readdirSync(join(place.repository, 'packs'))
    .sort()
    .map((name) => join(place.repository, 'packs', name));

/** Packs of a kind (1 data, 2 metadata), largest first. */
function packsOfKind(place: Place, kind: number): string[] {
  return packPaths(place)
    .filter((path) => readFileSync(path)[10] === kind)
    .sort((a, b) => statSync(b).size - statSync(a).size);
}

/** Flips a bit in the payload of every record of a kind in a pack (its record's header is 56 bytes after the magic). */
function spoilRecords(path: string, kind: number): number {
  const bytes = readFileSync(path);
  let spoilt = 0;
  for (let at = bytes.indexOf('HDFR'); at >= 0; at = bytes.indexOf('HDFR', at + 1)) {
    if (bytes[at + 5] !== kind) continue;
    bytes[at + 56 + 32 * bytes.readUInt32LE(at + 8) + 2] ^= 1;
    spoilt++;
  }
  writeFileSync(path, bytes);
  return spoilt;
}

test('a truncated pack: a warning, what it still holds can be restored, what it lost is named, a backup heals it', async (t) => {
  const place = await storeOfThree(t);
  const [largest] = packsOfKind(place, 1);
  truncateSync(largest, statSync(largest).size / 2);
  assert.equal((await listed(place)).length, 3);
  const other = await place.run('restore', 'vm/102/latest', 'disk0.img', place.path('out'));
  assert.match(other.stderr, /warning: .*\.pack is truncated or its footer is damaged/);
  assert.ok(readFileSync(place.path('out')).equals(pattern(2 * MiB, 2)));
  const lost = await place.try(['restore', place.first, 'disk0.img', place.path('lost')]);
  assert.ok([26, 27].includes(lost.code as number), lost.stderr);
  assert.match(lost.stderr, /object [0-9a-f]{16}…/);
  assert.deepEqual(
    readdirSync(place.directory).filter((name) => name === 'lost'),
    [],
    'half a disk is not left behind',
  );
  const healing = await place.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  assert.ok(healing.bytesNew > MiB, `${healing.bytesNew} bytes stored again`);
  await place.run('restore', place.second, 'disk0.img', place.path('healed'));
  assert.ok(readFileSync(place.path('healed')).equals(readFileSync(place.path('disk'))));
});

test('an empty pack and one that is no pack: warnings, and everything else goes on', async (t) => {
  const place = await storeOfThree(t);
  writeFileSync(join(place.repository, 'packs', `${'a'.repeat(32)}.pack`), '');
  writeFileSync(join(place.repository, 'packs', `${'b'.repeat(32)}.pack`), pattern(50_000, 3));
  writeFileSync(join(place.repository, 'packs', 'notes.txt'), 'x');
  const ran = await place.run('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  assert.equal(
    ran.stderr.match(/warning: .* is not a pack, or its header is damaged: ignored/g)?.length,
    2,
    ran.stderr,
  );
  await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'));
  assert.ok(readFileSync(place.path('out')).equals(readFileSync(place.path('disk'))));
});

test('a pack of another store: a warning, and nothing in it counts', async (t) => {
  const [place, foreign] = [await storeOfThree(t), await newPlace(t)];
  const disk = pattern(3 * MiB, 77);
  writeFileSync(foreign.path('disk'), disk);
  await foreign.run('backup', '--group', 'vm/101', `disk0.img:${foreign.path('disk')}`);
  for (const path of packPaths(foreign))
    copyFileSync(path, join(place.repository, 'packs', path.slice(path.lastIndexOf('/') + 1)));
  const ran = await place.try([
    'backup',
    '--group',
    'vm/103',
    `disk0.img:${foreign.path('disk')}`,
    '--output-format',
    'json',
  ]);
  assert.equal(ran.stderr.match(/warning: .* belongs to another datastore/g)?.length, 2, ran.stderr);
  const { bytesNew } = JSON.parse(ran.stdout.toString()) as BackupJson;
  assert.ok(bytesNew >= disk.length, 'its objects were not taken for known');
});

test('a disk that holds our own packs and a whole store is data like any other', async (t) => {
  const place = await storeOfThree(t);
  const disk = Buffer.concat(packPaths(place).map((path) => readFileSync(path)));
  writeFileSync(place.path('packs.raw'), Buffer.concat([disk, Buffer.alloc(123), disk]));
  await place.run('backup', '--group', 'vm/104', `disk0.img:${place.path('packs.raw')}`, '--compression-level', '1');
  // Without its footer the pack has to be scanned: records that lie in the guest's data must not be found.
  for (const path of packsOfKind(place, 1)) truncateSync(path, statSync(path).size - 64);
  for (const snapshot of ['vm/104/latest', place.second, 'vm/102/latest']) {
    await place.run('restore', snapshot, 'disk0.img', place.path('out'), '--overwrite');
    const expected = snapshot.startsWith('vm/104') ? 'packs.raw' : snapshot.startsWith('vm/102') ? 'other' : 'disk';
    assert.ok(readFileSync(place.path('out')).equals(readFileSync(place.path(expected))), snapshot);
  }
});

const edits: Record<string, (text: string) => string> = {
  'a note was written': (text) => text.replace(/"notes": ""/, '"notes": "by hand"'),
  'the protection was changed': (text) => text.replace('"protected": false', '"protected": true'),
  'the digest is gone': (text) => text.replace(/"digest"/, '"digests"'),
  'it is cut off': (text) => text.slice(0, text.length / 2),
  'it is empty': () => '',
  'it is something else': () => '[1, 2, 3]\n',
};

test('a manifest edited by hand: list warns, restore and show refuse, all else works, forget ends it', async (t) => {
  const place = await storeOfThree(t);
  const path = join(place.repository, 'snapshots', ...place.second.split('/'), 'manifest.json');
  const before = readFileSync(path, 'utf8');
  const edited = before.replace(/"sizeBytes": 6291456/, '"sizeBytes": 6291457');
  assert.notEqual(edited, before);
  writeFileSync(path, edited);
  const ran = await place.run('snapshot', 'list', '--output-format', 'json');
  const rows = JSON.parse(ran.stdout.toString()) as ListedJson[];
  assert.match(ran.stderr, /^warning: .*manifest\.json was damaged or edited by hand/);
  const bad = rows.find((row) => row.snapshot === place.second) as ListedJson;
  assert.deepEqual([bad.damaged, bad.bytes, bad.sequence], [true, null, null]);
  assert.match(bad.error as string, /put the original back.*or forget this snapshot/);
  assert.equal(rows.filter((row) => row.error === null).length, 2);
  assert.match((await place.run('snapshot', 'list')).stdout.toString(), / \? +damaged\n/);
  await place.fails('manifest-altered', 'restore', place.second, 'disk0.img', place.path('out'));
  await place.fails('manifest-altered', 'snapshot', 'show', place.second);
  await place.fails('manifest-altered', 'snapshot', 'note', place.second, 'x');
  await place.run('restore', place.first, 'disk0.img', place.path('out'));
  const next = await place.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  assert.equal(next.sequence, 3, 'the numbers do not go back');
  await place.run('snapshot', 'forget', place.second);
  assert.ok(!(await listed(place)).includes(place.second));
});

test('any other edit of a manifest is seen as well, and putting the original back is the way out', async (t) => {
  const place = await storeOfThree(t);
  const path = join(place.repository, 'snapshots', ...place.second.split('/'), 'manifest.json');
  const before = readFileSync(path, 'utf8');
  for (const [what, edit] of Object.entries(edits)) {
    assert.notEqual(edit(before), before, what);
    writeFileSync(path, edit(before));
    await place.fails('manifest-altered', 'restore', place.second, 'disk0.img', place.path('out'));
  }
  assert.equal((await listed(place)).length, 3);
  writeFileSync(path, before);
  await place.run('restore', place.second, 'disk0.img', place.path('out'));
});

test('a snapshot directory without a manifest is no snapshot', async (t) => {
  const place = await storeOfThree(t);
  mkdirSync(join(place.repository, 'snapshots/vm/101/2026-11-25T00:00:00Z'));
  writeFileSync(join(place.repository, 'snapshots/vm/101/2026-11-25T00:00:00Z/manifest.json.tmp'), '{}');
  assert.deepEqual(await listed(place, 'vm/101'), [place.first, place.second]);
  await place.run('restore', place.second, 'disk0.img', place.path('out'));
});

test('without its index, or with a damaged one, a store is what it was', async (t) => {
  const place = await storeOfThree(t);
  const index = writeSnapshotOf(place.repository);
  const good = readFileSync(index);
  for (const spoil of [
    () => renameSync(index, place.path('away')),
    () => writeFileSync(index, ''),
    () => writeFileSync(index, pattern(good.length, 5)),
    () => writeFileSync(index, Buffer.from(good).fill(0xff, good.length - 100)),
  ]) {
    spoil();
    await place.run('restore', place.second, 'disk0.img', place.path('out'), '--overwrite');
    assert.ok(readFileSync(place.path('out')).equals(readFileSync(place.path('disk'))));
  }
  assert.equal(
    (await place.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`)).bytesNew,
    0,
  );
});

test('one small file out of a large store comes back, whether its index is loaded or looked up on disk', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('disk'), pattern(20 * MiB, 1));
  writeFileSync(place.path('a.conf'), 'content');
  const archives = [`disk0.img:${place.path('disk')}`, `a.conf:${place.path('a.conf')}`];
  await place.run('backup', '--group', 'vm/101', ...archives);
  writeSnapshotOf(place.repository);
  for (const [name, content] of [
    ['a.conf', 'content'],
    ['disk0.img', pattern(20 * MiB, 1)],
  ] as const) {
    const ran = await place.run('restore', 'vm/101/latest', name, '-');
    assert.ok(ran.stdout.equals(Buffer.from(content)), name);
  }
});

for (const [kind, what] of [
  [2, 'pages'],
  [3, 'the list of pages'],
] as const) {
  test(`${what} of the base without a good copy: with a change map the next backup goes through and heals the disk`, async (t) => {
    const place = await newPlace(t);
    const disk = pattern(33 * MiB, 1);
    writeFileSync(place.path('disk'), disk);
    const args = ['backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`];
    const base = (await place.json<BackupJson>(...args)).snapshot;
    let spoilt = 0;
    for (const path of packsOfKind(place, 2)) spoilt += spoilRecords(path, kind);
    assert.ok(spoilt > 0);
    disk[5] ^= 1;
    writeFileSync(place.path('disk'), disk);
    writeFileSync(place.path('map'), JSON.stringify({ base, disks: { 'disk0.img': [{ offset: 0, length: 4096 }] } }));
    const ran = await place.run(...args, '--changed-since', place.path('map'), '--output-format', 'json');
    if (kind === 3) assert.match(ran.stderr, /warning: disk0\.img: .*the whole disk is read/);
    // Whatever the first run could not know, the second does: what is damaged is read again although nothing changed.
    await place.run(...args);
    await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'));
    assert.ok(readFileSync(place.path('out')).equals(disk));
  });
}

test('a data record that is damaged on disk is found at restore, and only that disk fails', async (t) => {
  const place = await storeOfThree(t);
  for (const path of packsOfKind(place, 1).slice(0, 1)) spoilRecords(path, 1);
  const message = await place.fails('object-damaged', 'restore', place.first, 'disk0.img', place.path('out'));
  assert.match(message, /the stored object [0-9a-f]{16}… is damaged/);
  await place.run('restore', 'vm/102/latest', 'disk0.img', place.path('out'));
});
