// Ctrl-C and termination in the middle of commands: exit code 130, nothing half done, and the next run goes on from there.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern, tool, without } from '../agent/nbd/servers.ts';
import { type BackupJson, listed, messageOf, newPlace, type Place, PROGRAM, start } from '../cli/holdfast.ts';

const MiB = 1024 * 1024;

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    assert.ok(waited < 30_000, `${what}: not within 30 s`);
    await sleep(10);
  }
}

const packBytes = (place: Place): number =>
  readdirSync(join(place.repository, 'packs')).reduce(
    (sum, name) => sum + readFileSync(join(place.repository, 'packs', name)).length,
    0,
  );

/** Waits for an end, and counts one that does not come as a failure. */
async function endOf(ended: ReturnType<typeof start>['ended'], what: string) {
  return await Promise.race([
    ended,
    sleep(10_000, undefined, { ref: false }).then(() => assert.fail(`${what} goes on`)),
  ]);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} in the middle of a backup: 130, no snapshot, and the retry adopts what was stored`, async (t) => {
    const place = await newPlace(t);
    const disk = pattern(80 * MiB, 1);
    const env = { HOLDFAST_REPOSITORY: place.repository };
    const args = ['backup', '--group', 'vm/101', 'disk0.img:-', '--output-format', 'json'];
    const { child, ended } = start(args, { env });
    t.after(() => void child.kill('SIGKILL'));
    // Whoever feeds it falls silent after 60 MiB; it has to end all the same.
    child.stdin?.write(disk.subarray(0, 60 * MiB));
    await until('the first packs', () => packBytes(place) > 20 * MiB);
    child.kill(signal);
    assert.match(messageOf(await endOf(ended, 'the backup'), 'aborted'), new RegExp(`stopped by ${signal}`));
    assert.deepEqual(await listed(place), []);
    assert.equal((await place.json<{ unfinishedSessions: number }>('datastore', 'status')).unfinishedSessions, 1);
    const again = await place.try(args, { stdin: disk });
    const result = JSON.parse(again.stdout.toString()) as BackupJson;
    assert.ok(result.objectsAdopted > 100, `${result.objectsAdopted} objects adopted`);
    assert.ok(result.bytesNew < 70 * MiB, `${result.bytesNew} bytes stored again`);
    assert.ok((await place.run('restore', 'vm/101/latest', 'disk0.img', '-')).stdout.equals(disk));
    assert.equal((await place.json<{ unfinishedSessions: number }>('datastore', 'status')).unfinishedSessions, 0);
  });
}

test('a second Ctrl-C ends at once, and the store is as good as after the first', async (t) => {
  const place = await newPlace(t);
  const { child, ended } = start(['backup', '--group', 'vm/101', 'disk0.img:-'], {
    env: { HOLDFAST_REPOSITORY: place.repository },
  });
  t.after(() => void child.kill('SIGKILL'));
  child.stdin?.write(pattern(30 * MiB, 1));
  await until('the session', () => readdirSync(join(place.repository, 'sessions')).length > 0);
  child.kill('SIGINT');
  child.kill('SIGINT');
  assert.equal((await endOf(ended, 'the backup')).code, 130);
  assert.deepEqual(await listed(place), []);
  const again = await place.try(['backup', '--group', 'vm/101', 'disk0.img:-'], { stdin: pattern(30 * MiB, 1) });
  assert.equal(again.code, 0, again.stderr);
});

/** Starts a command as the leader of a group of processes, as a shell does with what stands in front. */
function startGroup(
  place: Place,
  args: readonly string[],
): { child: ChildProcess; ended: Promise<{ code: number | null; stderr: string }> } {
  const env = { ...process.env, HOLDFAST_REPOSITORY: place.repository };
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr?.on('data', (data) => {
    stderr += data;
  });
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, stderr })) };
}

test('Ctrl-C reaches QEMU too: it is still an abort, not a failed source', {
  skip: without('qemu-img', 'setpriv'),
}, async (t) => {
  const images = await newPlace(t);
  writeFileSync(images.path('raw'), pattern(400 * MiB, 3));
  tool('qemu-img', 'convert', '-O', 'qcow2', images.path('raw'), images.path('disk.qcow2'));
  for (let round = 0; round < 3; round++) {
    // A store of its own: what the round before had stored would leave this one little to do.
    const place = await newPlace(t);
    const args = [
      'backup',
      '--group',
      `vm/${round}`,
      `disk0.img:${images.path('disk.qcow2')}`,
      '--compression-level',
      '9',
    ];
    const before = packBytes(place);
    const { child, ended } = startGroup(place, args);
    t.after(() => void child.kill('SIGKILL'));
    await until('the first packs', () => packBytes(place) > before);
    process.kill(-(child.pid as number), 'SIGINT');
    const { code, stderr } = await ended;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /stopped by SIGINT/);
    assert.deepEqual(await listed(place), []);
  }
});

test('Ctrl-C in the middle of a restore: 130, and the file it made is gone', async (t) => {
  const place = await newPlace(t);
  const sparse = place.path('disk');
  writeFileSync(sparse, pattern(300 * MiB, 5));
  await place.run('backup', '--group', 'vm/101', `disk0.img:${sparse}`);
  const { child, ended } = start(
    ['restore', 'vm/101/latest', 'disk0.img', place.path('out'), '--workers', '1', '--output-format', 'json'],
    {
      env: { HOLDFAST_REPOSITORY: place.repository },
    },
  );
  t.after(() => void child.kill('SIGKILL'));
  await until('the target', () => existsSync(place.path('out')));
  child.kill('SIGINT');
  messageOf(await endOf(ended, 'the restore'), 'aborted');
  assert.ok(!existsSync(place.path('out')));
  await place.run('restore', 'vm/101/latest', 'disk0.img', place.path('out'));
});

test('SIGTERM ends a restore whose reader does not read', async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('disk'), pattern(100 * MiB, 5));
  await place.run('backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`);
  const env = { ...process.env, HOLDFAST_REPOSITORY: place.repository };
  const child = spawn(process.execPath, [PROGRAM, 'restore', 'vm/101/latest', 'disk0.img', '-'], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.after(() => void child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  await once(child.stdout, 'readable');
  await sleep(300);
  child.kill('SIGTERM');
  const [code] = await Promise.race([ended, sleep(10_000, ['it goes on'], { ref: false })]);
  assert.equal(code, 130);
});
