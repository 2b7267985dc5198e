// How much is read to get one small file out of a snapshot of more than 100,000: counted by the kernel (rchar), not timed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { newPlace, type Place } from '../cli/holdfast.ts';

const MIB = 1024 * 1024;
const DIRECTORIES = 101;
const FILES = 1000;

/** Bytes that the program read by read calls, its own start left out, and what it printed. */
async function counted(place: Place, ...args: string[]): Promise<{ bytes: number; stdout: Buffer }> {
  // The counters of a shell include those of the processes that it has waited for.
  const through = ['sh', '-c', '"$@"; code=$?; cat /proc/$$/io >&2; exit $code', 'sh'];
  const rchar = async (words: readonly string[]): Promise<{ bytes: number; stdout: Buffer }> => {
    const ran = await place.try(words, { through });
    assert.equal(ran.code, 0, ran.stderr);
    return { bytes: Number(/rchar: (\d+)/.exec(ran.stderr)?.[1]), stdout: ran.stdout };
  };
  // Its help loads the same bundles.
  const idle = await rchar([...args.slice(0, 2), '--help']);
  const { bytes, stdout } = await rchar(args);
  return { bytes: bytes - idle.bytes, stdout };
}

test('one file of 10 KiB out of 101,000, and the list of its directory, read less than 1 MiB', async (t) => {
  const place = await newPlace(t);
  const wanted = randomBytes(10_240);
  const filler = randomBytes(MIB);
  for (let d = 0; d < DIRECTORIES; d++) {
    mkdirSync(place.path(`tree/d${d}`), { recursive: true });
    for (let f = 0; f < FILES; f++) {
      const start = (d * FILES + f) * 9;
      writeFileSync(place.path(`tree/d${d}/f${f}`), filler.subarray(start, start + 600 + (f % 7)));
    }
  }
  writeFileSync(place.path('tree/d55/wanted'), wanted);
  await place.run('backup', '--group', 'ct/1', `root.tree:${place.path('tree')}`);
  const cat = await counted(place, 'snapshot', 'cat', 'ct/1/latest', 'root.tree', 'd55/wanted');
  assert.ok(cat.stdout.equals(wanted));
  assert.ok(cat.bytes > wanted.length && cat.bytes < MIB, `cat read ${cat.bytes} bytes`);
  const files = await counted(place, 'snapshot', 'files', 'ct/1/latest', 'root.tree', 'd55', '--output-format', 'json');
  assert.equal((JSON.parse(files.stdout.toString()) as { count: number }).count, FILES + 2);
  assert.ok(files.bytes < MIB, `files read ${files.bytes} bytes`);

  // Two nights later, without a new index snapshot.
  for (let night = 0; night < 2; night++) {
    for (let f = 0; f < FILES; f++) writeFileSync(place.path(`tree/d${night}/f${f}`), randomBytes(600));
    await place.run('backup', '--group', 'ct/1', `root.tree:${place.path('tree')}`);
  }
  const later = await counted(place, 'snapshot', 'cat', 'ct/1/latest', 'root.tree', 'd55/wanted');
  assert.ok(later.stdout.equals(wanted));
  assert.ok(later.bytes < MIB, `cat read ${later.bytes} bytes`);
  const listing = await place.json<{ snapshot: string }[]>('snapshot', 'list');
  const [old, fresh] = [listing[1]?.snapshot as string, listing[2]?.snapshot as string];
  const diff = await counted(place, 'snapshot', 'diff', old, fresh, '--output-format', 'json');
  const { sums } = JSON.parse(diff.stdout.toString()) as { sums: Record<string, { count: number }> };
  assert.deepEqual([sums.added?.count, sums.removed?.count, sums.changed?.count], [0, 0, FILES]);
  assert.ok(diff.bytes < 2 * MIB, `diff read ${diff.bytes} bytes`);
});
