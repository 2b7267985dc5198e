// vzdump archives into a datastore with the program: every compression, what lies beside them, restored byte for byte, and nothing left behind
// by one that is stopped.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern } from '../agent/nbd/servers.ts';
import { shuffled } from '../agent/vma/import-rig.ts';
import { type BackupJson, type ListedJson, listed, newPlace, type Place, start } from '../cli/holdfast.ts';
import { startRig } from '../support/server/server-rig.ts';
import { ascending, diskOf, vmaBytes } from '../support/vma-writer.ts';

const MiB = 1024 * 1024;
const NAME = 'vzdump-qemu-101-2026_01_31-02_00_00.vma';

/** 40 MiB with holes, and a last block that is not whole. */
function diskContent(): Buffer {
  const content = Buffer.alloc(40 * MiB + 777);
  pattern(7 * MiB, 1).copy(content, MiB + 4096);
  pattern(2 * MiB, 2).copy(content, 30 * MiB);
  content[content.length - 1] = 1;
  return content;
}

const content = diskContent();
const efi = pattern(528 * 1024, 3);
const disks = [diskOf(1, 'drive-efidisk0', efi), diskOf(2, 'drive-scsi0', content)];
const configs = [{ name: 'qemu-server.conf', content: Buffer.from('memory: 512\n') }];
const time = Date.UTC(2026, 0, 31, 2, 0, 4) / 1000;
const rootOf = async (place: Place, snapshot: string, name: string): Promise<string | undefined> => {
  const { archives } = await place.json<{ archives: { name: string; root: string }[] }>('snapshot', 'show', snapshot);
  return archives.find((archive) => archive.name === name)?.root;
};

test('archives become snapshots with notes and protection, the same as backups of the raw disks', async (t) => {
  const place = await newPlace(t);
  const path = place.path(NAME);
  const older = place.path('vzdump-qemu-101-2026_01_30-02_00_00.vma.gz');
  const order = shuffled([...ascending(disks)], 5);
  writeFileSync(path, vmaBytes({ disks, configs, time, order }));
  execFileSync('zstd', ['-q', path]);
  writeFileSync(older, execFileSync('gzip', ['-1c', path], { maxBuffer: 1 << 28 }));
  writeFileSync(`${path}.zst.notes`, 'before the upgrade\n');
  writeFileSync(`${path}.zst.protected`, '');
  const env = { TZ: 'UTC' };
  const both = await place.try(['import', `${path}.zst`, older, '--output-format', 'json'], { env });
  assert.equal(both.code, 0, both.stderr);
  const [first, second] = both.stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as BackupJson);
  assert.equal(first?.snapshot, 'vm/101/2026-01-30T02:00:00Z', 'the oldest comes first');
  assert.equal(second?.snapshot, 'vm/101/2026-01-31T02:00:00Z');
  assert.equal(second?.bytesNew, 0);
  assert.match(both.stderr, /01_30.*header says 2026-01-31T02:00:04Z/);
  const rows = await place.json<ListedJson[]>('snapshot', 'list');
  assert.deepEqual(
    rows.map((row) => [row.protected, row.notes, row.archives.join(' ')]),
    [
      [false, '', 'drive-efidisk0.img drive-scsi0.img qemu-server.conf'],
      [true, 'before the upgrade', 'drive-efidisk0.img drive-scsi0.img qemu-server.conf'],
    ],
  );
  assert.ok((await place.run('restore', 'vm/101/latest', 'drive-scsi0.img', '-')).stdout.equals(content));
  assert.ok((await place.run('restore', 'vm/101/latest', 'drive-efidisk0.img', '-')).stdout.equals(efi));
  writeFileSync(place.path('raw'), content);
  await place.run('backup', '--group', 'vm/102', `drive-scsi0.img:${place.path('raw')}`);
  assert.equal(
    await rootOf(place, 'vm/101/latest', 'drive-scsi0.img'),
    await rootOf(place, 'vm/102/latest', 'drive-scsi0.img'),
  );
  const lzo = execFileSync('lzop', ['-c'], { input: readFileSync(path), maxBuffer: 1 << 28 });
  const piped = await place.try(['import', '-', '--group', 'vm/103', '--time', '2026-02-01T00:00:00Z'], { stdin: lzo });
  assert.equal(piped.code, 0, piped.stderr);
  assert.match(piped.stdout.toString(), /snapshot {2}vm\/103\/2026-02-01T00:00:00Z/);
  assert.match(await place.fails('exists', 'import', path), /vm\/101 has a snapshot of 2026-01-31/);
});

test('a server takes them as a directory does, encrypted too', async (t) => {
  const place = await (await startRig(t)).newcomer('admin', 'DatastoreAdmin');
  const path = place.path(NAME);
  writeFileSync(path, vmaBytes({ disks, configs, time }));
  writeFileSync(`${path}.notes`, 'from elsewhere');
  writeFileSync(`${path}.protected`, '');
  const at = ['--time', '2026-01-31T02:00:00Z'];
  await place.run('import', path, ...at);
  const key = place.path('key');
  await place.run('key', 'create', key, '--kdf', 'none');
  const encrypted = ['--group', 'vm/102', '--keyfile', key];
  await place.run('import', path, ...at, ...encrypted, '--acknowledge-lost-key');
  const rows = await place.json<ListedJson[]>('snapshot', 'list');
  assert.deepEqual(
    rows.map((row) => [row.snapshot, row.protected, row.notes]),
    ['vm/101', 'vm/102'].map((group) => [`${group}/2026-01-31T02:00:00Z`, true, 'from elsewhere']),
  );
  for (const from of [['vm/101/latest'], ['vm/102/latest', '--keyfile', key]]) {
    const [snapshot = '', ...more] = from;
    assert.ok((await place.run('restore', snapshot, 'drive-scsi0.img', '-', ...more)).stdout.equals(content));
  }
});

test('what does not say which snapshot it becomes is refused with what to write', async (t) => {
  const place = await newPlace(t);
  const fails = async (...args: string[]): Promise<string> => await place.fails('bad-argument', 'import', ...args);
  assert.match(await fails('-'), /--group vm\/101 --time 2026/);
  assert.match(await fails('-', '--group', 'vm/1'), /write also: --time/);
  assert.match(await fails('/x/disk.vma'), /name of \/x\/disk.vma does not say.*--group/);
  assert.match(await fails('/x/vzdump-lxc-101-2026_01_31-02_00_00.tar.zst'), /container.*root.tree:tar:/);
  assert.match(await fails(NAME, NAME, '--time', '0'), /one by one/);
  assert.match(await place.fails('not-found', 'import', place.path(NAME)), /there is no file/);
  writeFileSync(place.path(`${NAME}.bz2`), 'BZh91AY');
  assert.match(await fails(place.path(`${NAME}.bz2`), '--group', 'vm/1', '--time', '0'), /bzip2 -dc FILE \|/);
  writeFileSync(place.path(NAME), vmaBytes({ disks, configs }).subarray(0, -512));
  await place.fails('source-failed', 'import', place.path(NAME));
  writeFileSync(place.path(`${NAME}.notes`), 'x'.repeat(70_000));
  assert.match(await place.fails('too-large', 'import', place.path(NAME)), /notes/);
  assert.deepEqual(await listed(place), []);
});

/** Ten pages with a cluster each come first: more than are open, so that one is put aside. */
const spilling = (): Buffer => {
  const wide = Buffer.alloc(200 * MiB);
  for (let page = 0; page < 12; page++) pattern(65_536, page + 1).copy(wide, page * 16 * MiB);
  const disk = diskOf(1, 'drive-scsi0', wide);
  const order = [...ascending([disk])].sort((a, b) => Number(a.cluster % 256 > 0) - Number(b.cluster % 256 > 0));
  return vmaBytes({ disks: [disk], order });
};

for (const signal of ['SIGINT', 'SIGKILL'] as const)
  test(`${signal} in the middle of an import leaves no snapshot and no temporary file`, async (t) => {
    const place = await newPlace(t);
    const archive = spilling();
    const args = ['import', '-', '--group', 'vm/101', '--time', '2026-01-31T02:00:00Z'];
    const env = { HOLDFAST_REPOSITORY: place.repository, TMPDIR: place.directory };
    const before = readdirSync(place.directory);
    const { child, ended } = start(args, { env });
    t.after(() => void child.kill('SIGKILL'));
    // All but the last extent, and then silence.
    child.stdin?.write(archive.subarray(0, -1000));
    const spilled = (): boolean =>
      readdirSync(`/proc/${child.pid}/fd`).some((fd) => {
        try {
          return readlinkSync(join(`/proc/${child.pid}/fd`, fd)).startsWith(`${place.directory}/#`);
        } catch {
          return false;
        }
      });
    for (let waited = 0; !spilled(); waited += 20) {
      assert.ok(waited < 30_000, 'something is put aside within 30 s');
      await sleep(20);
    }
    child.kill(signal);
    assert.equal((await ended).code, signal === 'SIGINT' ? 130 : undefined);
    assert.deepEqual(readdirSync(place.directory), before);
    assert.deepEqual(await listed(place), []);
    const again = await place.try(args, { stdin: archive, env });
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(readdirSync(place.directory), before);
  });
