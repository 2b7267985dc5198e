// Commands that change a store while a backup in another process holds it: they run there, and go on alone when it ends.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BackupJson, messageOf, newPlace, type Place, start } from '../cli/holdfast.ts';

const MIB = 1 << 20;

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

const restored = async (place: Place, snapshot: string): Promise<Buffer> =>
  (await place.run('restore', snapshot, 'disk0.img', '-')).stdout;
const packCount = (place: Place): number => readdirSync(join(place.repository, 'packs')).length;

/** A backup from standard input that has sent half of its disk and waits. */
async function heldBackup(place: Place, disk: Buffer): Promise<ReturnType<typeof start> & { finish(): void }> {
  const options = { env: { HOLDFAST_REPOSITORY: place.repository } };
  const run = start(['backup', '--group', 'vm/200', 'disk0.img:-', '--output-format', 'json'], options);
  run.child.stdin?.write(disk.subarray(0, disk.length / 2));
  while (readdirSync(join(place.repository, 'sessions')).length === 0) await sleep(20);
  return { ...run, finish: () => run.child.stdin?.end(disk.subarray(disk.length / 2)) };
}

async function twoSnapshots(t: TestContext): Promise<{ place: Place; old: BackupJson }> {
  const place = await newPlace(t);
  const [first, second] = [place.path('first.img'), place.path('second.img')];
  writeFileSync(first, noise(8 * MIB, 1));
  writeFileSync(second, noise(8 * MIB, 2));
  const old = await place.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${first}`);
  await place.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${second}`);
  return { place, old };
}

test('note, protect, forget and gc while a backup runs, which then ends as if alone', async (t) => {
  const { place, old } = await twoSnapshots(t);
  const disk = noise(48 * MIB, 3);
  const backup = await heldBackup(place, disk);
  await place.run('snapshot', 'note', 'vm/101/latest', 'written beside a backup');
  await place.run('snapshot', 'protect', 'vm/101/latest');
  await place.fails('protected', 'snapshot', 'forget', 'vm/101/latest');
  await place.run('snapshot', 'forget', old.snapshot);
  const kept = await place.json<{ bytesFreed: number }>('datastore', 'gc', '--audit');
  assert.equal(kept.bytesFreed, 0, 'the backup may still name what was there when it began');
  backup.finish();
  const ended = await backup.ended;
  assert.equal(ended.code, 0, ended.stderr);
  const { snapshot } = JSON.parse(ended.stdout.toString()) as BackupJson;
  for (const [name, content] of [
    [snapshot, disk],
    ['vm/101/latest', noise(8 * MIB, 2)],
  ] as const) {
    assert.ok((await restored(place, name)).equals(content), name);
  }
  const shown = await place.json<{ notes: string }>('snapshot', 'show', 'vm/101/latest');
  assert.equal(shown.notes, 'written beside a backup');
  assert.ok((await place.json<{ bytesFreed: number }>('datastore', 'gc', '--audit')).bytesFreed > 7 * MIB);
});

test('gc beside a backup frees what was forgotten before', async (t) => {
  const { place, old } = await twoSnapshots(t);
  await place.run('snapshot', 'forget', old.snapshot);
  const disk = noise(16 * MIB, 3);
  const backup = await heldBackup(place, disk);
  const before = packCount(place);
  assert.ok((await place.json<{ bytesFreed: number }>('datastore', 'gc', '--audit')).bytesFreed > 7 * MIB);
  assert.ok(packCount(place) < before);
  backup.finish();
  assert.equal((await backup.ended).code, 0);
  assert.ok((await restored(place, 'vm/200/latest')).equals(disk));
});

test('a backup that is killed while it collects for another process: that one opens the store and collects', async (t) => {
  const { place, old } = await twoSnapshots(t);
  await place.run('snapshot', 'forget', old.snapshot);
  const backup = await heldBackup(place, noise(16 * MIB, 3));
  const gc = start(['datastore', 'gc', '--rate-limit', '1', '--output-format', 'json'], {
    env: { HOLDFAST_REPOSITORY: place.repository },
  });
  await sleep(1000);
  assert.equal(gc.child.exitCode, null, 'the rate limit keeps it running');
  backup.child.kill('SIGKILL');
  await once(backup.child, 'close');
  const ended = await gc.ended;
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok((await restored(place, 'vm/101/latest')).equals(noise(8 * MIB, 2)));
  const { bytesDead } = await place.json<{ bytesDead: number }>('datastore', 'gc', '--dry-run');
  assert.equal(bytesDead, 0);
});

test('Ctrl-C ends what was asked for, and the backup goes on', async (t) => {
  const { place, old } = await twoSnapshots(t);
  const disk = noise(16 * MIB, 3);
  await place.run('snapshot', 'forget', old.snapshot);
  const backup = await heldBackup(place, disk);
  const gc = start(['datastore', 'gc', '--rate-limit', '1', '--output-format', 'json'], {
    env: { HOLDFAST_REPOSITORY: place.repository },
  });
  await sleep(1000);
  gc.child.kill('SIGINT');
  messageOf(await gc.ended, 'aborted');
  backup.finish();
  assert.equal((await backup.ended).code, 0);
  await place.run('datastore', 'gc', '--audit');
});

test('a second backup still says who holds the store', async (t) => {
  const place = await newPlace(t);
  const disk = noise(2 * MIB, 3);
  const backup = await heldBackup(place, disk);
  writeFileSync(place.path('a.img'), disk);
  const message = await place.fails('datastore-locked', 'backup', '--group', 'vm/1', `a.img:${place.path('a.img')}`);
  assert.match(message, new RegExp(`process ${backup.child.pid} `));
  backup.finish();
  assert.equal((await backup.ended).code, 0);
});
