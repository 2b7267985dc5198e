// The NBD server as users meet it: the built program, and qemu-img, nbdinfo, nbdcopy and our own client reading from it.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { NbdClient } from '../../src/agent/nbd/client.ts';
import { BASE_ALLOCATION, STATE_HOLE, STATE_ZERO } from '../../src/agent/nbd/protocol.ts';
import { RawClient } from '../agent/nbd/raw-client.ts';
import { type Ending, pattern, without } from '../agent/nbd/servers.ts';
import { type BackupJson, messageOf, newPlace, type Place, type Ran, start } from '../cli/holdfast.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const LATEST = 'vm/101/latest/disk0.img';

/** Two pages and an odd rest: data, a hole across the page's end, data, a short hole, data to the last odd byte. */
function disk(seed: number): Buffer {
  const bytes = Buffer.alloc(36 * MiB + 777);
  bytes.set(pattern(9 * MiB, seed));
  bytes.set(pattern(3 * MiB, seed + 1), 20 * MiB);
  bytes.set(pattern(12 * MiB + 777, seed + 2), 24 * MiB);
  return bytes;
}

async function backup(place: Place, seed: number, time: string): Promise<string> {
  writeFileSync(place.path('disk'), disk(seed));
  const args = ['backup', '--group', 'vm/101', `disk0.img:${place.path('disk')}`, '--time', time];
  return (await place.json<BackupJson>(...args)).snapshot;
}

interface Serving {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  readonly address: { socketPath: string; host: string; port: number; exports: string[] | null };
  /** What it has said on stderr up to now. */
  log(): string;
  uri(name: string): string;
  client(exportName: string): Promise<NbdClient>;
}

/** Starts the server and waits until it says that it listens. Without --listen on the socket `s` of the place. */
async function serve(t: Ending, place: Place, ...args: string[]): Promise<Serving> {
  const where = args.includes('--listen') ? [] : ['--socket', place.path('s')];
  const { child, ended } = start(['serve-nbd', ...where, '--output-format', 'json', ...args], {
    env: { HOLDFAST_REPOSITORY: place.repository },
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
  });
  let [said, log] = ['', ''];
  child.stderr!.on('data', (data) => {
    log += data;
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout!.on('data', (data) => {
      said += data;
      if (said.endsWith('\n')) resolve();
    });
    ended.then((ran) => reject(new Error(ran.stderr)), reject);
  });
  const address = JSON.parse(said) as Serving['address'];
  const { socketPath, host, port } = address;
  const clients: NbdClient[] = [];
  t.after(async () => void (await Promise.allSettled(clients.map((client) => client.close()))));
  return {
    child,
    ended,
    address,
    log: () => log,
    uri: (name) =>
      socketPath === undefined ? `nbd://${host}:${port}/${name}` : `nbd+unix:///${name}?socket=${socketPath}`,
    client: async (exportName) => {
      const to = socketPath === undefined ? { host, port } : { socketPath };
      const client = await NbdClient.connect({ ...to, exportName, metaContexts: [BASE_ALLOCATION] });
      clients.push(client);
      return client;
    },
  };
}

/** Runs a program beside the server; returns what it printed, and throws when it fails. */
async function tool(command: string, ...args: string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, words] = ['', ''];
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    words += data;
  });
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${code}: ${words}`);
  return out;
}

/** Whether the file holds the disk, with nothing but zeros up to the end of a sector behind it. */
function holds(path: string, content: Buffer): boolean {
  const bytes = readFileSync(path);
  return (
    bytes.length - content.length < 512 &&
    bytes.subarray(0, content.length).equals(content) &&
    bytes.subarray(content.length).every((byte) => byte === 0)
  );
}

async function readsBack(client: NbdClient, content: Buffer, from = 0, to = content.length): Promise<boolean> {
  const target = new Uint8Array(to - from);
  await client.read(from, target);
  return content.subarray(from, to).equals(target);
}

const packs = (place: Place): string[] =>
  readdirSync(join(place.repository, 'packs')).map((name) => join(place.repository, 'packs', name));

const skip = without('qemu-img', 'nbdinfo', 'nbdcopy');

test('qemu-img, nbdcopy and nbdinfo read every snapshot by name and time, through a socket and TCP, holes as holes', {
  skip,
}, async (t) => {
  const place = await newPlace(t);
  const first = await backup(place, 1, '2026-11-20T02:00:00Z');
  await backup(place, 50, '2026-11-21T02:00:00Z');
  const server = await serve(t, place);
  const out = place.path('out');
  await tool('nbdcopy', '--connections=4', '--requests=32', server.uri(`${first}/disk0.img`), out);
  assert.ok(readFileSync(out).equals(disk(1)), 'nbdcopy knows the odd size');
  const url = `nbd:unix:${server.address.socketPath}:exportname=${LATEST}`;
  await Promise.all([
    tool('qemu-img', 'convert', '-O', 'raw', server.uri(LATEST), place.path('a')),
    tool('qemu-img', 'convert', '-O', 'raw', url, place.path('b')),
    tool('qemu-img', 'create', '-f', 'qcow2', '-b', url, '-F', 'raw', place.path('overlay')),
  ]);
  await tool('qemu-img', 'convert', '-O', 'raw', place.path('overlay'), place.path('c'));
  for (const name of ['a', 'b', 'c']) assert.ok(holds(place.path(name), disk(50)), name);
  assert.ok(statSync(place.path('a')).blocks * 512 < 26 * MiB, 'and holes stay holes');
  const map = JSON.parse(await tool('nbdinfo', '--map', '--json', server.uri(LATEST))) as {
    offset: number;
    type: number;
  }[];
  const hole = STATE_HOLE | STATE_ZERO;
  assert.deepEqual(
    map.map(({ offset, type }) => [offset, type]),
    [
      [0, 0],
      [9 * MiB, hole],
      [20 * MiB, 0],
      [23 * MiB, hole],
      [24 * MiB, 0],
    ],
  );
  const { exports } = JSON.parse(await tool('nbdinfo', '--list', '--json', server.uri(''))) as {
    exports: { 'export-name': string; 'export-size': number; can_multi_conn: boolean }[];
  };
  assert.deepEqual(
    exports.map((each) => [each['export-name'], each['export-size'], each.can_multi_conn]),
    ['2026-11-20', '2026-11-21'].map((day) => [`vm/101/${day}T02:00:00Z/disk0.img`, disk(1).length, true]),
  );
  const other = await serve(t, place, '--listen', '127.0.0.1:0', '--export', 'vm/101/latest:disk0.img');
  assert.deepEqual(other.address.exports, [LATEST]);
  await tool('nbdcopy', other.uri(''), out);
  assert.ok(readFileSync(out).equals(disk(50)), 'the only export need not be named');
  await assert.rejects(other.client(`${first}/disk0.img`), { code: 'not-found' });
});

test('many clients at once, with reads of all sizes at odd places, get the bytes of their own snapshots', async (t) => {
  const place = await newPlace(t);
  const first = await backup(place, 1, '2026-11-20T02:00:00Z');
  const second = await backup(place, 50, '2026-11-21T02:00:00Z');
  const server = await serve(t, place, '--cache-mib', '128', '--workers', '2');
  const work = Array.from({ length: 8 }, async (_, place) => {
    const [name, content] = place % 2 === 0 ? [first, disk(1)] : [second, disk(50)];
    const client = await server.client(`${name}/disk0.img`);
    const random = pattern(4 * 60, 100 + place);
    for (let count = 0; count < 60; count++) {
      const length = 1 + ((random.readUInt32LE(count * 4) >>> 3) % [16, 4096, 300_000, 5 * MiB][count % 4]!);
      const from = random.readUInt32LE(count * 4) % (content.length - length);
      assert.ok(await readsBack(client, content, from, from + length), `${length} at ${from}`);
    }
  });
  await Promise.all(work);
  assert.equal(server.log(), '');
});

test('a chunk that is damaged on disk is EIO there and only there, is named in the log, and the server goes on', async (t) => {
  const place = await newPlace(t);
  const name = `${await backup(place, 1, '2026-11-20T02:00:00Z')}/disk0.img`;
  const [pack] = packs(place)
    .filter((path) => readFileSync(path)[10] === 1)
    .sort((a, b) => statSync(b).size - statSync(a).size);
  const bytes = readFileSync(pack!);
  bytes[Math.floor(bytes.length / 2)]! ^= 1;
  writeFileSync(pack!, bytes);
  const server = await serve(t, place);
  const content = disk(1);
  const client = await server.client(name);
  await assert.rejects(readsBack(client, content), /EIO/);
  const said = /vm\/101\/2026-11-20T02:00:00Z\/disk0\.img: bytes (\d+) to (\d+) cannot be read/.exec(server.log());
  assert.ok(said !== null, server.log());
  const [start, end] = [Number(said[1]), Number(said[2]) + 1];
  assert.ok(end - start <= 256 * KiB && start > 0 && end < content.length, `${start} to ${end}`);
  for (const connection of [client, await server.client(name)]) {
    for (const at of [start, Math.floor((start + end) / 2), end - 1])
      await assert.rejects(readsBack(connection, content, at, at + 1), /EIO/, `${at}`);
    await assert.rejects(readsBack(connection, content, start - 1, start + 1), /EIO/);
    assert.ok(await readsBack(connection, content, 0, start));
    assert.ok(await readsBack(connection, content, end));
  }
  assert.ok(!server.log().includes('at '), 'no stack: it is no bug');
});

test('beside a backup and garbage collection: new snapshots appear, a forgotten one is served on, lost packs are EIO', async (t) => {
  const place = await newPlace(t);
  const first = await backup(place, 1, '2026-11-20T02:00:00Z');
  const server = await serve(t, place, '--cache-mib', '128');
  const old = await server.client(LATEST);
  assert.ok(await readsBack(old, disk(1), 0, MiB));
  await backup(place, 50, '2026-11-21T02:00:00Z');
  assert.ok(await readsBack(await server.client(LATEST), disk(50)), 'latest is the new one');
  await place.run('snapshot', 'forget', first);
  await place.run('datastore', 'gc');
  assert.ok(readdirSync(join(place.repository, 'condemned')).length > 0, 'what it reads is not deleted under its feet');
  assert.ok(await readsBack(old, disk(1)), 'who had it open reads on');
  await assert.rejects(server.client(`${first}/disk0.img`), { code: 'not-found' });
  const third = await serve(t, place, '--socket', place.path('s3'));
  for (const path of packs(place)) if (readFileSync(path)[10] === 1) rmSync(path);
  const late = await third.client(LATEST);
  await assert.rejects(readsBack(late, disk(50), 0, 1), /EIO/);
  assert.ok(await readsBack(late, disk(50), 9 * MiB, 20 * MiB), 'a hole needs no pack');
  server.child.kill('SIGTERM');
  await server.ended;
  third.child.kill('SIGTERM');
  assert.equal((await third.ended).code, 130);
});

test('ends: 130 for a signal with the socket removed, a living server keeps its socket, a killed one loses it', async (t) => {
  const place = await newPlace(t);
  await backup(place, 1, '2026-11-20T02:00:00Z');
  const socket = place.path('s');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const server = await serve(t, place);
    const client = await server.client(LATEST);
    assert.ok(await readsBack(client, disk(1), 0, MiB));
    assert.match(await place.fails('exists', 'serve-nbd', '--socket', socket), /another server listens/);
    server.child.kill(signal);
    assert.equal((await server.ended).code, 130, 'also with a client that stays');
    assert.ok(!existsSync(socket));
    await client.close();
  }
  const killed = await serve(t, place);
  killed.child.kill('SIGKILL');
  await killed.ended;
  assert.ok(existsSync(socket));
  const next = await serve(t, place);
  assert.ok(await readsBack(await next.client(LATEST), disk(1)));
});

test('hostile clients and half-open connections change nothing for the others', async (t) => {
  const place = await newPlace(t);
  await backup(place, 1, '2026-11-20T02:00:00Z');
  const server = await serve(t, place);
  const { socketPath } = server.address;
  const good = await server.client(LATEST);
  for (const bytes of [pattern(100_000, 9), Buffer.from('GET / HTTP/1.0\r\n\r\n'), Buffer.alloc(0)]) {
    const socket = net.connect(socketPath).on('error', () => {});
    socket.end(bytes);
  }
  const asking = await RawClient.enter(t, socketPath, LATEST);
  for (let cookie = 0; cookie < 200; cookie++) asking.request(0, cookie, cookie, 32 * MiB);
  asking.socket.pause();
  assert.ok(await readsBack(good, disk(1)), 'one asks for 6 GiB and reads nothing');
  asking.socket.destroy();
  const simple = await RawClient.enter(t, socketPath, LATEST, false);
  for (let cookie = 0; cookie < 100; cookie++) simple.request(0, cookie, cookie, 32 * MiB);
  await simple.simple(32 * MiB);
  simple.socket.destroy();
  assert.ok(await readsBack(good, disk(1)), 'what they had asked for is given up');
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8');
  const peakKiB = Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]);
  assert.ok(peakKiB < 700 * KiB, `${peakKiB} KiB at most in memory`);
});

test('what cannot be meant is refused before anything listens', async (t) => {
  const place = await newPlace(t);
  await backup(place, 1, '2026-11-20T02:00:00Z');
  const socket = ['--socket', place.path('s')];
  assert.match(await place.fails('bad-argument', 'serve-nbd', '--listen', '0.0.0.0:10809'), /--insecure-network/);
  await place.fails('bad-argument', 'serve-nbd', '--listen', '[::]:10809');
  await place.fails('bad-argument', 'serve-nbd', '--listen', '127.0.0.1');
  await place.fails('bad-argument', 'serve-nbd', '--listen', '127.0.0.1:70000');
  await place.fails('bad-argument', 'serve-nbd', ...socket, '--listen', '127.0.0.1:1');
  await place.fails('bad-argument', 'serve-nbd', ...socket, '--cache-mib', '127');
  await place.fails('bad-argument', 'serve-nbd', ...socket, '--cache-mib', 'all');
  await place.fails('bad-argument', 'serve-nbd', ...socket, '--export', 'disk0.img');
  await place.fails('bad-name', 'serve-nbd', ...socket, '--export', 'vm/:disk0.img');
  await place.fails('not-found', 'serve-nbd', ...socket, '--export', 'vm/101/latest:disk9.img');
  await place.fails('not-found', 'serve-nbd', ...socket, '--export', 'vm/102/latest:disk0.img');
  await place.fails('bad-argument', 'serve-nbd', '--socket', place.path('s'.repeat(120)));
  assert.ok(!existsSync(place.path('s')));
  const open = await serve(t, place, '--listen', '0.0.0.0:0', '--insecure-network');
  assert.ok(await readsBack(await open.client(LATEST), disk(1), 0, 1));
  open.child.kill('SIGTERM');
  const ran = await open.ended;
  assert.equal(messageOf({ ...ran, stdout: Buffer.alloc(0) }, 'aborted').includes('SIGTERM'), true);
});
