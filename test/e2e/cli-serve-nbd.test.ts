// serve-nbd as its users meet it: QEMU's and libnbd's tools read disks of a real datastore through a server of its own process.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { NbdClient } from '../../src/agent/nbd/client.ts';
import * as nbd from '../../src/agent/nbd/protocol.ts';
import { pattern, tool, without } from '../agent/nbd/servers.ts';
import { type BackupJson, newPlace, type Place, type Ran, start } from '../cli/holdfast.ts';

const MiB = 1024 * 1024;
/** No multiple of a sector. */
const SIZE_BYTES = 70 * MiB + 777;
const run = promisify(execFile);

/** A disk with data at odd places, a page of nothing, and data in its last, odd bytes. */
function makeDisk(path: string, seed: number): Buffer {
  const content = Buffer.alloc(SIZE_BYTES);
  for (const [offset, length] of [
    [0, 3 * MiB],
    [16 * MiB - 5000, 10_000],
    [48 * MiB + 123, 7 * MiB],
    [SIZE_BYTES - 100, 100],
  ])
    content.set(pattern(length, seed + offset), offset);
  execFileSync('truncate', ['-s', `${SIZE_BYTES}`, path]);
  const fd = openSync(path, 'r+');
  for (let at = 0; at < SIZE_BYTES; at += MiB) {
    const part = content.subarray(at, at + MiB);
    if (part.some((byte) => byte !== 0)) writeSync(fd, part, 0, part.length, at);
  }
  closeSync(fd);
  return content;
}

interface Serving {
  readonly socket: string;
  readonly ended: Promise<Ran>;
  uri(name: string): string;
  stop(signal?: NodeJS.Signals): Promise<Ran>;
}

async function serve(t: Parameters<typeof newPlace>[0], place: Place, ...more: string[]): Promise<Serving> {
  const socket = place.path('nbd');
  const env = { HOLDFAST_REPOSITORY: place.repository };
  const args = ['serve-nbd', '--socket', socket, '--output-format', 'json', ...more];
  const { child, ended } = start(args, { env });
  t.after(() => void child.kill('SIGKILL'));
  await Promise.race([
    new Promise<void>((resolve) => child.stdout!.once('data', () => resolve())),
    ended.then((ran) => assert.fail(ran.stderr)),
  ]);
  return {
    socket,
    ended,
    uri: (name) => `nbd+unix:///${name}?socket=${socket}`,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      return await ended;
    },
  };
}

async function backup(place: Place, group: string, disk: string, time: string): Promise<string> {
  const args = ['backup', '--group', group, `disk0.img:${place.path(disk)}`, '--time', time];
  return (await place.json<BackupJson>(...args)).snapshot;
}

/** Reads a range through our own client; the number of its error when it fails. */
async function readRange(socket: string, exportName: string, offset: number, length: number): Promise<Buffer | number> {
  const client = await NbdClient.connect({ socketPath: socket, exportName, pace: { bytes: 32 * MiB, depth: 1 } });
  const target = Buffer.alloc(length);
  try {
    await client.read(offset, target);
    return target;
  } catch (error) {
    return (error as { data: { errno: number } }).data.errno;
  } finally {
    await client.close();
  }
}

test('qemu-img, nbdcopy and nbdinfo read the disk, whatever its size, its holes and the name it is asked by', {
  skip: without('qemu-img', 'nbdcopy', 'nbdinfo'),
}, async (t) => {
  const place = await newPlace(t);
  const content = makeDisk(place.path('disk'), 1);
  const snapshot = await backup(place, 'vm/101', 'disk', '2026-11-20T02:00:00Z');
  const serving = await serve(t, place);
  for (const name of [`${snapshot}/disk0.img`, 'vm/101/latest/disk0.img']) {
    tool('nbdcopy', serving.uri(name), place.path('copy'));
    assert.ok(readFileSync(place.path('copy')).equals(content), name);
    tool('qemu-img', 'convert', '-O', 'raw', `nbd:unix:${serving.socket}:exportname=${name}`, place.path('converted'));
    assert.ok(readFileSync(place.path('converted')).subarray(0, SIZE_BYTES).equals(content), name);
  }
  const map = JSON.parse(tool('nbdinfo', '--map', '--json', serving.uri(`${snapshot}/disk0.img`))) as {
    offset: number;
    length: number;
    type: number;
  }[];
  assert.equal(
    map.reduce((sum, { length }) => sum + length, 0),
    SIZE_BYTES,
  );
  const holeBytes = map.filter(({ type }) => type === 3).reduce((sum, { length }) => sum + length, 0);
  assert.ok(holeBytes > 59 * MiB, `${holeBytes} bytes of holes`);
  for (const { offset, length, type } of map)
    if (type === 3) assert.ok(content.subarray(offset, offset + length).every((byte) => byte === 0));
  const info = JSON.parse(tool('nbdinfo', '--json', serving.uri('vm/101/latest/disk0.img'))).exports[0];
  assert.equal(info['export-size'], SIZE_BYTES);
  assert.deepEqual([info.is_read_only, info.can_multi_conn], [true, false]);
  const list = JSON.parse(tool('nbdinfo', '--list', '--json', serving.uri(''))) as {
    exports: Record<string, unknown>[];
  };
  assert.deepEqual(
    list.exports.map((each) => each['export-name']),
    [`${snapshot}/disk0.img`],
  );
  assert.equal(list.exports[0]!.can_multi_conn, true);
  const several = ['a', 'b', 'c'].map((out) => run('nbdcopy', [serving.uri(`${snapshot}/disk0.img`), place.path(out)]));
  await Promise.all(several);
  for (const out of ['a', 'b', 'c']) assert.ok(readFileSync(place.path(out)).equals(content));
});

test('a VM writes on top of it: a qcow2 file with the export as its backing file', {
  skip: without('qemu-img', 'qemu-io'),
}, async (t) => {
  const place = await newPlace(t);
  const content = makeDisk(place.path('disk'), 1);
  await backup(place, 'vm/101', 'disk', '2026-11-20T02:00:00Z');
  const serving = await serve(t, place, '--export', 'vm/101/2026-11-20T02:00:00Z:disk0.img');
  const backing = `nbd:unix:${serving.socket}:exportname=vm/101/2026-11-20T02:00:00Z/disk0.img`;
  tool('qemu-img', 'create', '-f', 'qcow2', '-F', 'raw', '-b', backing, place.path('top'));
  tool('qemu-io', '-c', 'write -P 0x5a 1M 64k', place.path('top'));
  tool('qemu-img', 'convert', '-O', 'raw', place.path('top'), place.path('out'));
  content.fill(0x5a, MiB, MiB + 64 * 1024);
  assert.ok(readFileSync(place.path('out')).subarray(0, SIZE_BYTES).equals(content));
  assert.throws(() => tool('qemu-io', '-f', 'raw', '-c', 'write 0 4k', backing), 'the disk itself is read-only');
});

test('a damaged chunk: EIO for what touches it, the rest is served, the log says where, and the server lives', async (t) => {
  const place = await newPlace(t);
  const content = makeDisk(place.path('disk'), 1);
  const snapshot = await backup(place, 'vm/101', 'disk', '2026-11-20T02:00:00Z');
  const name = `${snapshot}/disk0.img`;
  const at = spoilOneChunk(place);
  const serving = await serve(t, place);
  assert.equal(await readRange(serving.socket, name, 0, SIZE_BYTES), nbd.ERRNO.EIO);
  // Block by block: exactly one run of blocks fails, which is one chunk.
  const client = await NbdClient.connect({ socketPath: serving.socket, exportName: name });
  const bad: number[] = [];
  const block = Buffer.alloc(4096);
  for (const start of [0, 16 * MiB - 8192, 48 * MiB, SIZE_BYTES - 4096])
    for (let offset = start; offset + 4096 <= Math.min(start + 8 * MiB, SIZE_BYTES); offset += 4096) {
      const failed = await client.read(offset, block).then(
        () => false,
        (error: { data: { errno: number } }) => error.data.errno === nbd.ERRNO.EIO,
      );
      if (failed) bad.push(offset);
      else assert.ok(content.subarray(offset, offset + 4096).equals(block), `${offset}`);
    }
  await client.close();
  assert.ok(bad.length >= 1 && bad.length <= 65, `${bad.length} blocks fail`);
  assert.deepEqual(
    bad,
    bad.map((_, place) => bad[0]! + place * 4096),
    'they are one chunk',
  );
  const { stderr } = await serving.stop();
  const told = new RegExp(`${snapshot}/disk0.img: bytes (\\d+) to (\\d+) cannot be read`).exec(stderr);
  assert.ok(told, stderr);
  assert.ok(Number(told[1]) < bad[0]! + 4096 && Number(told[2]) >= bad.at(-1)!, `${told[0]}, spoilt at ${at}`);
});

/** Flips a bit in the payload of one data record in the middle of the largest pack. */
function spoilOneChunk(place: Place): number {
  const packs = readdirSync(join(place.repository, 'packs')).map((name) => join(place.repository, 'packs', name));
  const [path] = packs.sort((a, b) => readFileSync(b).length - readFileSync(a).length) as [string];
  const bytes = readFileSync(path);
  let at = bytes.indexOf('HDFR', bytes.length / 2);
  while (bytes[at + 5] !== 1) at = bytes.indexOf('HDFR', at + 1);
  bytes[at + 56 + 100]! ^= 1;
  writeFileSync(path, bytes);
  return at;
}

test('snapshots that come and go: a new one is served at once, a forgotten one as long as it is open, beside its holder', async (t) => {
  const place = await newPlace(t);
  const first = makeDisk(place.path('first'), 1);
  const second = makeDisk(place.path('second'), 2);
  const forgotten = await backup(place, 'vm/101', 'first', '2026-11-20T02:00:00Z');
  const serving = await serve(t, place);
  const open = await NbdClient.connect({ socketPath: serving.socket, exportName: `${forgotten}/disk0.img` });
  const latest = await NbdClient.connect({ socketPath: serving.socket, exportName: 'vm/101/latest/disk0.img' });
  const newer = await backup(place, 'vm/101', 'second', '2026-11-21T02:00:00Z');
  for (const name of [newer, 'vm/101/latest'])
    assert.ok(second.equals((await readRange(serving.socket, `${name}/disk0.img`, 0, SIZE_BYTES)) as Buffer), name);
  await place.run('snapshot', 'forget', forgotten);
  await place.run('datastore', 'gc');
  for (const client of [open, latest]) {
    const target = Buffer.alloc(SIZE_BYTES);
    await client.read(0, target);
    assert.ok(first.equals(target), 'the packs are kept for readers');
    await client.close();
  }
  const gone = NbdClient.connect({ socketPath: serving.socket, exportName: `${forgotten}/disk0.img` });
  await assert.rejects(gone, { code: 'not-found' });
  assert.equal((await serving.stop()).stderr.includes('cannot be read'), false);
});

test('names: only what was named, the empty name for the only one, and no others', async (t) => {
  const place = await newPlace(t);
  const content = makeDisk(place.path('disk'), 1);
  writeFileSync(place.path('a.conf'), 'a');
  const source = `disk0.img:${place.path('disk')}`;
  await place.run('backup', '--group', 'vm/101', source, `a.conf:${place.path('a.conf')}`);
  await place.run('backup', '--group', 'vm/102', source, '--ns', 'office');
  const serving = await serve(t, place, '--export', 'vm/101/latest:disk0.img');
  assert.ok(content.equals((await readRange(serving.socket, '', 0, SIZE_BYTES)) as Buffer));
  const { snapshot } = (await place.json<{ snapshot: string }[]>('snapshot', 'list'))[0]!;
  for (const name of [
    `${snapshot}/disk0.img`,
    'vm/101/latest/a.conf',
    'vm/102/latest/disk0.img',
    '../x',
    'x'.repeat(4000),
  ])
    await assert.rejects(
      NbdClient.connect({ socketPath: serving.socket, exportName: name }),
      { code: 'not-found' },
      name,
    );
  await serving.stop();
  const all = await serve(t, place, '--ns', 'office');
  assert.ok(content.equals((await readRange(all.socket, 'vm/102/latest/disk0.img', 0, SIZE_BYTES)) as Buffer));
  for (const name of ['', 'vm/101/latest/disk0.img', 'vm/102/latest', 'vm/102/latest/'])
    await assert.rejects(NbdClient.connect({ socketPath: all.socket, exportName: name }), { code: 'not-found' }, name);
});

test('the command line: what it refuses, and both signals end it with 130 and without its socket', async (t) => {
  const place = await newPlace(t);
  makeDisk(place.path('disk'), 1);
  await backup(place, 'vm/101', 'disk', '2026-11-20T02:00:00Z');
  const refused = async (code: Parameters<Place['fails']>[0], ...args: string[]) =>
    await place.fails(code, 'serve-nbd', ...args);
  assert.match(await refused('bad-argument', '--listen', '0.0.0.0:0'), /--insecure-network/);
  assert.match(await refused('bad-argument', '--listen', '[::]:0'), /--insecure-network/);
  assert.match(await refused('bad-argument', '--listen', '127.0.0.1.example.org:0'), /--insecure-network/);
  await refused('bad-argument', '--listen', 'nonsense');
  await refused('bad-argument', '--listen', '127.0.0.1:99999');
  await refused('bad-argument', '--socket', 'a', '--listen', '127.0.0.1:0');
  await refused('bad-argument', '--cache-mib', '127');
  await refused('bad-argument', '--export', 'vm/101/latest');
  await refused('not-found', '--export', 'vm/999/latest:disk0.img', '--socket', place.path('nbd'));
  await refused('not-found', '--export', 'vm/101/latest:disk9.img', '--socket', place.path('nbd'));
  await refused('exists', '--socket', place.path('disk'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const serving = await serve(t, place);
    await refused('exists', '--socket', serving.socket);
    // A client that stays must not keep it.
    const client = await NbdClient.connect({ socketPath: serving.socket, exportName: 'vm/101/latest/disk0.img' });
    const { code, stderr } = await serving.stop(signal);
    assert.equal(code, 130);
    assert.match(stderr, new RegExp(`stopped by ${signal}`));
    assert.ok(!readdirSync(place.directory).includes('nbd'));
    await client.close();
  }
});
