// What every command prints, in each format. Programs are built on the members that are named here.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, holdfast, type ListedJson, newPlace, type Place, type Ran } from './holdfast.ts';

const MiB = 1024 * 1024;
const FORMATS = ['text', 'json', 'json-pretty'] as const;
const LABEL = /^vm\/101\/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

/** The result of a command, once as text and twice as JSON, which must say the same but for times. */
function sameJson(a: Ran, b: Ran): Record<string, unknown> {
  const drop = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value, (key, member) => (key === 'durationMs' ? 0 : member)));
  const [compact, pretty] = [a, b].map((ran) => ran.stdout.toString());
  assert.equal(compact.trimEnd().split('\n').length, 1, 'json is one line');
  assert.ok(pretty.split('\n').length > 2 || pretty.trim() === '[]', 'json-pretty has lines');
  assert.deepEqual(drop(JSON.parse(compact)), drop(JSON.parse(pretty)));
  return JSON.parse(compact);
}

describe('the commands', () => {
  const ended: (() => void)[] = [];
  let place: Place;
  let disk: Buffer;
  before(async () => {
    place = await newPlace({ after: (end) => ended.push(end) });
    disk = Buffer.concat([pattern(2 * MiB, 1), Buffer.alloc(3 * MiB), pattern(MiB + 77, 2)]);
    writeFileSync(place.path('disk0.raw'), disk);
    writeFileSync(place.path('disk1.raw'), pattern(300_000, 3));
    writeFileSync(place.path('101.conf'), 'cores: 4\n');
  });
  after(() => {
    for (const end of ended) end();
  });

  const backupArgs = (): string[] => [
    ...['backup', '--group', 'vm/101', `disk0.img:${place.path('disk0.raw')}`],
    ...[`disk1.img:${place.path('disk1.raw')}`, `qemu-server.conf:${place.path('101.conf')}`],
  ];

  test('datastore create', async () => {
    const results = FORMATS.map((format) => place.path(`created-${format}`));
    for (const [at, format] of FORMATS.entries()) {
      const { code, stdout, stderr } = await holdfast([
        'datastore',
        'create',
        '--repository',
        results[at],
        '--output-format',
        format,
      ]);
      assert.equal(code, 0, stderr);
      const text = stdout.toString();
      if (format === 'text')
        assert.match(text, /^datastore +\/.*\nid +[0-9a-f]{32}\naverage chunk +64\.0 KiB\nmemory +\d+ MiB/);
      else {
        const value = JSON.parse(text);
        assert.equal(value.repository, results[at]);
        assert.match(value.store, /^[0-9a-f]{32}$/);
        assert.equal(value.averageChunkBytes, 65_536);
        assert.ok(value.indexBytesPerTerabyte > 5e8 && value.indexBytesPerTerabyte < 1e9);
      }
    }
    const large = await holdfast([
      'datastore',
      'create',
      '--repository',
      place.path('large'),
      '--chunk-average',
      '256k',
      '--output-format=json',
    ]);
    assert.equal(JSON.parse(large.stdout.toString()).averageChunkBytes, 262_144);
  });

  test('backup: several disks and a configuration; the second finds everything known', async () => {
    const first = await place.json<BackupJson>(...backupArgs());
    assert.match(first.snapshot, LABEL);
    assert.equal(first.sequence, 1);
    assert.equal(first.bytesLogical, disk.length + 300_000 + 9);
    assert.ok(first.bytesRead >= disk.length - 3 * MiB && first.bytesRead <= first.bytesLogical);
    assert.ok(first.bytesNew >= 3 * MiB + 300_000 && first.bytesNew < 4 * MiB);
    assert.ok(first.bytesStored >= first.bytesNew * 0.9, 'noise does not compress');
    assert.ok(first.objectsNew > 10);
    for (const name of ['bytesSampled', 'objectsAdopted'] as const) assert.equal(first[name], 0);
    const second = await place.json<BackupJson>(...backupArgs());
    assert.equal(second.sequence, 2);
    assert.ok(second.snapshot > first.snapshot);
    assert.deepEqual([second.objectsNew, second.bytesNew], [0, 0]);
    assert.ok(second.bytesStored < 10_000, 'a manifest, no more');
    const text = (await place.run(...backupArgs())).stdout.toString();
    assert.match(
      text,
      /^snapshot +vm\/101\/\S+Z\nsize +6\.\d+ MiB\nread +.*\nnew +0 B in 0 objects \(\d+ known\)\nstored +.*\ntime +/,
    );
    const [a, b] = [
      await place.try([...backupArgs(), '--output-format=json']),
      await place.try([...backupArgs(), '--output-format', 'json-pretty']),
    ];
    assert.deepEqual(Object.keys(JSON.parse(a.stdout.toString())), Object.keys(JSON.parse(b.stdout.toString())));
  });

  test('backup of a small file alone', async () => {
    const result = await place.json<BackupJson>('backup', '--group', 'ct/200', `pct.conf:${place.path('101.conf')}`);
    assert.match(result.snapshot, /^ct\/200\//);
    assert.equal(result.bytesLogical, 9);
    await place.run('restore', 'ct/200/latest', 'pct.conf', place.path('pct.conf'));
    assert.equal(readFileSync(place.path('pct.conf'), 'utf8'), 'cores: 4\n');
  });

  test('snapshot list', async () => {
    const rows = sameJson(
      await place.try(['snapshot', 'list', '--output-format', 'json']),
      await place.try(['snapshot', 'list', '--output-format', 'json-pretty']),
    ) as unknown as ListedJson[];
    assert.ok(rows.length >= 5);
    assert.deepEqual(
      rows.map((row) => row.time),
      rows.map((row) => row.time).sort((a, b) => a - b),
      'oldest first',
    );
    const row = rows.find((candidate) => candidate.snapshot.startsWith('vm/101/')) as ListedJson;
    assert.deepEqual(row.archives, ['disk0.img', 'disk1.img', 'qemu-server.conf']);
    assert.equal(row.bytes, disk.length + 300_000 + 9);
    assert.deepEqual(
      [row.protected, row.suspectClock, row.damaged, row.notes, row.error],
      [false, false, false, '', null],
    );
    const onlyOne = await place.json<ListedJson[]>('snapshot', 'list', 'ct/200');
    assert.deepEqual(
      onlyOne.map((candidate) => candidate.archives),
      [['pct.conf']],
    );
    assert.deepEqual(await place.json('snapshot', 'list', 'vm/999'), []);
    const [header, line] = (await place.run('snapshot', 'list', 'ct/200')).stdout.toString().split('\n');
    assert.match(header, /^snapshot +size +stored +unique +archives +marks +notes$/);
    assert.match(line, /^ct\/200\/\S+Z +9 B +\d\S* \S+ +\? {2}pct\.conf$/);
  });

  test('snapshot show, of latest and of a label', async () => {
    const shown = sameJson(
      await place.try(['snapshot', 'show', 'vm/101/latest', '--output-format', 'json']),
      await place.try(['snapshot', 'show', 'vm/101/latest', '--output-format', 'json-pretty']),
    );
    assert.match(shown.snapshot as string, LABEL);
    assert.equal(shown.backup, 'vm/101');
    const archives = shown.archives as { name: string; kind: string; sizeBytes: number; root: string }[];
    assert.deepEqual(
      archives.map(({ name, kind }) => [name, kind]),
      [
        ['disk0.img', 'image'],
        ['disk1.img', 'image'],
        ['qemu-server.conf', 'blob'],
      ],
    );
    assert.equal(archives[0].sizeBytes, disk.length);
    assert.deepEqual(await place.json('snapshot', 'show', shown.snapshot as string), shown);
    const text = (await place.run('snapshot', 'show', 'vm/101/latest')).stdout.toString();
    assert.match(text, /^snapshot +vm\/101\/.*\nsequence +\d+\nowner +root@pam\nbase +vm\/101\//);
    assert.match(text, /\narchive +kind +size +root\ndisk0\.img +image +6\.00 MiB +[0-9a-f]{64}\n/);
    // A label is a moment: any way to write it will do.
    const seconds = String(Date.parse((shown.snapshot as string).slice('vm/101/'.length)) / 1000);
    assert.deepEqual(await place.json('snapshot', 'show', `vm/101/${seconds}`), shown);
  });

  test('restore', async () => {
    const target = place.path('restored.raw');
    const value = await place.json<Record<string, unknown>>('restore', 'vm/101/latest', 'disk0.img', target);
    assert.match(value.snapshot as string, LABEL);
    assert.deepEqual([value.archive, value.target, value.bytes], ['disk0.img', target, disk.length]);
    assert.equal(typeof value.durationMs, 'number');
    assert.ok(readFileSync(target).equals(disk));
    const text = await place.run('restore', 'vm/101/latest', 'disk1.img', place.path('disk1.out'));
    assert.match(
      text.stdout.toString(),
      /^restored +disk1\.img of vm\/101\/.*\nto +\/.*disk1\.out\nsize +293 KiB\ntime +/,
    );
    assert.ok(readFileSync(place.path('disk1.out')).equals(pattern(300_000, 3)));
  });

  test('snapshot note, and taking it away', async () => {
    const value = await place.json<{ notes: string }>(
      'snapshot',
      'note',
      'vm/101/latest',
      'before the update\nsecond line',
    );
    assert.equal(value.notes, 'before the update\nsecond line');
    const [row] = (await place.json<ListedJson[]>('snapshot', 'list', 'vm/101')).slice(-1);
    assert.equal(row.notes, 'before the update\nsecond line');
    assert.match((await place.run('snapshot', 'list')).stdout.toString(), / before the update\n/);
    assert.match(
      (await place.run('snapshot', 'note', 'vm/101/latest', '')).stdout.toString(),
      /^vm\/101\/\S+Z: not protected\n$/,
    );
  });

  test('snapshot protect keeps from forget; --off lets go; forget removes', async () => {
    const labels = (await place.json<ListedJson[]>('snapshot', 'list', 'vm/101')).map((row) => row.snapshot);
    const last = labels.at(-1) as string;
    assert.deepEqual(await place.json('snapshot', 'protect', last), { snapshot: last, protected: true, notes: '' });
    assert.match((await place.run('snapshot', 'list')).stdout.toString(), / protected( clock\?)?\n/);
    assert.match(await place.fails('protected', 'snapshot', 'forget', last), /protect \S+ --off/);
    assert.deepEqual(await place.json('snapshot', 'protect', last, '--off'), {
      snapshot: last,
      protected: false,
      notes: '',
    });
    assert.deepEqual(await place.json('snapshot', 'forget', last), { snapshot: last, forgotten: true });
    assert.deepEqual(
      (await place.json<ListedJson[]>('snapshot', 'list', 'vm/101')).map((row) => row.snapshot),
      labels.slice(0, -1),
    );
    await place.fails('not-found', 'snapshot', 'forget', last);
    assert.match(
      (await place.run('snapshot', 'forget', 'vm/101/latest')).stdout.toString(),
      /^vm\/101\/\S+Z is forgotten\n$/,
    );
  });

  test('datastore status', async () => {
    const value = await place.json<Record<string, unknown>>('datastore', 'status');
    assert.deepEqual(
      [value.repository, value.namespaces, value.groups, value.unfinishedSessions],
      [place.repository, 1, 2, 0],
    );
    assert.ok(
      (value.snapshots as number) >= 4 && (value.packs as number) >= 2 && (value.packBytes as number) > 3 * MiB,
    );
    const text = (await place.run('datastore', 'status')).stdout.toString();
    assert.match(text, /\ngroups +2\nsnapshots +\d+\npacks +\d+ \(3\.\d+ MiB\)\nunfinished sessions +0\n/);
  });

  test('datastore unlock has nothing to do', async () => {
    assert.deepEqual(await place.json('datastore', 'unlock'), { repository: place.repository, held: false });
    assert.match((await place.run('datastore', 'unlock')).stdout.toString(), /not held by anybody/);
  });

  test('a number of threads and a level are taken', async () => {
    for (const more of [
      ['--workers', '1'],
      ['--workers', '3', '--compression-level', '3'],
    ]) {
      const result = await place.json<BackupJson>(...backupArgs(), ...more);
      assert.equal(result.bytesNew, 0);
      await place.run(
        'restore',
        'vm/101/latest',
        'disk0.img',
        place.path('workers.out'),
        '--overwrite',
        ...more.slice(0, 2),
      );
      assert.ok(readFileSync(place.path('workers.out')).equals(disk));
    }
  });
});
