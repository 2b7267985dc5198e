// The commands of space accounting and limits, as processes of their own.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseSize } from '../../src/cli/parse-size.ts';
import { listed, newPlace } from './holdfast.ts';

const MIB = 1024 * 1024;

interface Diff {
  readonly extents: readonly { offset: number; length: number; kind: string }[];
  readonly count: number;
  readonly bytes: Record<string, number>;
  readonly bytesAfter: number;
}

test('diff, account and status of two backups of a disk', async (t) => {
  const place = await newPlace(t);
  const disk = randomBytes(5 * MIB);
  const backup = async () => {
    writeFileSync(place.path('disk'), disk);
    return (await place.json<{ snapshot: string }>('backup', '--group', 'vm/1', `disk0.img:${place.path('disk')}`))
      .snapshot;
  };
  const first = await backup();
  randomBytes(4096).copy(disk, MIB);
  disk.fill(0, 3 * MIB, 4 * MIB);
  const second = await backup();
  const diff = await place.json<Diff>('snapshot', 'diff', first, second);
  const covers = (offset: number, length: number, kind: string): boolean =>
    diff.extents.some(
      (each) => each.kind === kind && each.offset <= offset && each.offset + each.length >= offset + length,
    );
  assert.ok(covers(MIB, 4096, 'changed'));
  assert.deepEqual(
    diff.extents.filter(({ kind }) => kind === 'zeroed'),
    [{ offset: 3 * MIB, length: MIB, kind: 'zeroed' }],
  );
  assert.deepEqual([diff.count, diff.bytes.zeroed, diff.bytesAfter], [diff.extents.length, MIB, disk.length]);
  assert.ok((diff.bytes.changed as number) < 2 * MIB);
  const text = (await place.run('snapshot', 'diff', first, second)).stdout.toString();
  assert.match(text, / 3145728 +1048576 {2}zeroed\n[\s\S]*1\.00 MiB zeroed, 0 B added, 0 B removed\n$/);
  assert.equal((await place.json<Diff>('snapshot', 'diff', second, second, 'disk0.img')).count, 0);
  await place.fails('not-found', 'snapshot', 'diff', first, second, 'disk9.img');

  await place.run('datastore', 'account');
  const rows = await place.json<{ bytesUnique: number; bytesStored: number }[]>('snapshot', 'list');
  assert.ok((rows[0]?.bytesUnique as number) > MIB && (rows[0]?.bytesUnique as number) < 2 * MIB);
  const { space } = await place.json<{ space: Record<string, number> }>('datastore', 'status');
  assert.deepEqual([space.snapshotsSince, space.bytesPending], [0, 0]);
  const { reductionRatio, dedupRatio, compressionRatio } = space as Record<string, number>;
  assert.ok(Math.abs((compressionRatio as number) - 1) < 0.02, 'noise does not compress');
  assert.ok((dedupRatio as number) > 1.3, 'two snapshots that share most');
  assert.ok(Math.abs((dedupRatio as number) * (compressionRatio as number) - (reductionRatio as number)) < 1e-9);
});

test('quotas and modes: set, shown, met, and cleared', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('disk'), randomBytes(3 * MIB));
  const backup = ['backup', '--group', 'vm/1', '--ns', 'a/b', `disk0.img:${place.path('disk')}`];
  await place.run('datastore', 'quota', 'set', '1M', '--ns', 'a');
  assert.match(await place.fails('quota-exceeded', ...backup), /namespace a uses \d+ of its quota of 1048576 bytes/);
  assert.deepEqual(await listed(place, '--ns', 'a/b'), []);
  const quotas = await place.json('datastore', 'quota', 'show');
  assert.deepEqual(quotas, [{ name: 'namespace a', quotaBytes: MIB, usedBytes: 0 }]);
  await place.run('datastore', 'quota', 'clear', '--ns', 'a');
  await place.fails('not-found', 'datastore', 'quota', 'clear', '--ns', 'a');
  await place.run(...backup);
  await place.run('datastore', 'set', '--maintenance', 'read-only', '--message', 'new disks');
  assert.match(await place.fails('datastore-maintenance', ...backup), /new disks/);
  await place.fails('datastore-maintenance', 'datastore', 'gc');
  assert.equal((await listed(place, '--ns', 'a/b')).length, 1);
  await place.run('datastore', 'set', '--maintenance', 'offline');
  await place.fails('datastore-maintenance', 'snapshot', 'list');
  await place.run('datastore', 'status');
  await place.run('datastore', 'set', '--maintenance', 'none', '--low-space-limit', '7P');
  assert.match(await place.fails('disk-full', ...backup), /--low-space-limit/);
  await place.run('datastore', 'set', '--low-space-limit', 'default');
  await place.run(...backup);
  await place.fails('bad-argument', 'datastore', 'set');
  await place.fails('bad-argument', 'datastore', 'set', '--maintenance', 'asleep');
});

test('sizes are read as people write them', () => {
  const sizes: [string, number][] = [
    ['0', 0],
    ['17', 17],
    ['1K', 1024],
    ['1.5MiB', 1.5 * MIB],
    ['2 gb', 2048 * MIB],
  ];
  for (const [text, bytes] of sizes) assert.equal(parseSize(text, 'x'), bytes);
  for (const text of ['', '-1', '1X', 'G', '1e3', '9000P'])
    assert.throws(() => parseSize(text, 'x'), { code: 'bad-argument' });
});
