// The client against the servers that exist: qemu-nbd, qemu-storage-daemon and nbdkit.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NbdClient } from '../../../src/agent/nbd/client.ts';
import { STATE_DIRTY, STATE_ZERO } from '../../../src/agent/nbd/protocol.ts';
import { nbdkit, pattern, qemuNbd, scratch, startServer, tool, without } from './servers.ts';

const MiB = 1 << 20;

async function readAll(client: NbdClient, step: number): Promise<Buffer> {
  const all = Buffer.alloc(client.sizeBytes);
  for (let at = 0; at < all.length; at += step) await client.read(at, all.subarray(at, at + step));
  return all;
}

test('reads of any size and place give the bytes', { skip: without('qemu-nbd') }, async (t) => {
  const path = join(scratch(t), 'disk');
  // QEMU rounds a raw image up to 512 bytes; 4096 it need not divide.
  const bytes = pattern(5 * MiB + 3 * 512, 1);
  writeFileSync(path, bytes);
  const { socketPath } = await qemuNbd(t, 'raw', path);
  const client = await NbdClient.connect({ socketPath, exportName: 'X' });
  assert.equal(client.sizeBytes, bytes.length);
  for (const step of [8 * MiB, 1 * MiB, 777_777])
    assert.ok((await readAll(client, step)).equals(bytes), `in steps of ${step}`);
  for (const [offset, length] of [
    [0, 1],
    [1, 1],
    [4095, 2],
    [bytes.length - 1, 1],
    [MiB - 1, 2 * MiB + 2],
    [7, 0],
  ]) {
    const target = Buffer.alloc(length);
    await client.read(offset, target);
    assert.ok(target.equals(bytes.subarray(offset, offset + length)), `${length} bytes at ${offset}`);
  }
  await client.close();
});

test('32 MiB land in WebAssembly memory, and nowhere else', { skip: without('qemu-nbd') }, async (t) => {
  const path = join(scratch(t), 'disk');
  const bytes = pattern(33 * MiB, 2);
  writeFileSync(path, bytes);
  const { socketPath } = await qemuNbd(t, 'raw', path);
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 34 * 16 }).buffer);
  memory.fill(0xa5);
  const client = await NbdClient.connect({ socketPath, exportName: 'X' });
  await client.read(512, memory.subarray(MiB, 33 * MiB));
  assert.ok(bytes.subarray(512, 512 + 32 * MiB).equals(memory.subarray(MiB, 33 * MiB)));
  assert.ok(memory.subarray(0, MiB).every((byte) => byte === 0xa5));
  assert.ok(memory.subarray(33 * MiB).every((byte) => byte === 0xa5));
  // One request of the largest size that QEMU takes.
  const wide = await NbdClient.connect({ socketPath, exportName: 'X', pace: { bytes: 64 * MiB, depth: 1 } });
  await wide.read(0, memory.subarray(0, 33 * MiB));
  assert.ok(bytes.equals(memory.subarray(0, 33 * MiB)));
  await Promise.all([client.close(), wide.close()]);
});

test('many reads at once on one connection do not mix', { skip: without('nbdkit') }, async (t) => {
  const { socketPath } = await nbdkit(t, '--filter=delay', 'pattern', 'size=64M', 'rdelay=1ms');
  const client = await NbdClient.connect({ socketPath, exportName: '', pace: { bytes: 65_536, depth: 16 } });
  const targets = Array.from({ length: 40 }, () => Buffer.alloc(300_000));
  await Promise.all(targets.map((target, index) => client.read(index * 1_000_000, target)));
  for (const [index, target] of targets.entries()) {
    // nbdkit's pattern: each 8 bytes hold their own offset, big-endian.
    for (let at = 0; at < target.length; at += 8)
      assert.equal(target.readBigUInt64BE(at), BigInt(index * 1_000_000 + at));
  }
  await client.close();
});

interface MapEntry {
  start: number;
  length: number;
  zero: boolean;
}

test('block status of a qcow2 with holes is what qemu-img map says', {
  skip: without('qemu-nbd', 'qemu-img', 'qemu-io'),
}, async (t) => {
  const path = join(scratch(t), 'disk.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', path, '5G');
  const writes = [
    [0, 1],
    [3, 2],
    [900, 1],
    [2047, 2],
    [4999, 1],
    [5119, 1],
  ];
  const commands = writes.flatMap(([at, length]) => ['-c', `write -q -P 7 ${at}M ${length}M`]);
  tool('qemu-io', '-f', 'qcow2', ...commands, '-c', 'write -q -z 3000M 4M', path);
  const map = JSON.parse(tool('qemu-img', 'map', '--output=json', '-f', 'qcow2', path)) as MapEntry[];
  // qemu-img starts a new entry where the place in the file jumps.
  const expected: number[][] = [];
  for (const { start, length } of map.filter((entry) => !entry.zero)) {
    const last = expected.at(-1);
    if (last && last[0] + last[1] === start) last[1] += length;
    else expected.push([start, length]);
  }
  const { socketPath } = await qemuNbd(t, 'qcow2', path);
  const client = await NbdClient.connect({ socketPath, exportName: 'X', metaContexts: ['base:allocation'] });
  assert.deepEqual(client.contexts, ['base:allocation']);
  const found: number[][] = [];
  let at = 0;
  let previous = -1;
  for await (const { offset, length, flags } of client.blockStatus('base:allocation', 0, client.sizeBytes)) {
    assert.equal(offset, at, 'no gap');
    assert.notEqual(flags, previous, 'equal neighbours are merged, over the steps of 1 GiB as well');
    previous = flags;
    at += length;
    if (!(flags & STATE_ZERO)) found.push([offset, length]);
  }
  assert.equal(at, client.sizeBytes);
  assert.deepEqual(found, expected);
  assert.deepEqual(
    found,
    writes.map(([start, length]) => [start * MiB, length * MiB]),
  );
  // A part of it: clipped on both sides.
  const part = [];
  for await (const extent of client.blockStatus('base:allocation', 4 * MiB + 1, 2 * MiB))
    part.push([extent.offset, extent.length]);
  assert.deepEqual(part, [
    [4 * MiB + 1, MiB - 1],
    [5 * MiB, MiB + 1],
  ]);
  const target = Buffer.alloc(8 * MiB, 1);
  await client.read(0, target);
  assert.ok(
    target.subarray(0, MiB).every((byte) => byte === 7) && target.subarray(MiB, 3 * MiB).every((byte) => byte === 0),
  );
  await client.close();
});

test('the dirty bitmap is a context of its own', { skip: without('qemu-nbd', 'qemu-img', 'qemu-io') }, async (t) => {
  const path = join(scratch(t), 'disk.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', path, '64M');
  tool('qemu-img', 'bitmap', '--add', '-g', '64k', path, 'b0');
  tool('qemu-io', '-f', 'qcow2', '-c', 'write -q 10M 1k', '-c', 'write -q 20M 128k', path);
  const { socketPath } = await qemuNbd(t, 'qcow2', path, '-B', 'b0');
  const context = 'qemu:dirty-bitmap:b0';
  const client = await NbdClient.connect({ socketPath, exportName: 'X', metaContexts: [context] });
  const dirty = [];
  for await (const extent of client.blockStatus(context, 0, client.sizeBytes)) {
    if (extent.flags & STATE_DIRTY) dirty.push([extent.offset, extent.length]);
  }
  assert.deepEqual(dirty, [
    [10 * MiB, 65_536],
    [20 * MiB, 131_072],
  ]);
  await client.close();
});

test('a context that the server lacks is not there', { skip: without('qemu-nbd') }, async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, Buffer.alloc(4096));
  const { socketPath } = await qemuNbd(t, 'raw', path);
  const client = await NbdClient.connect({ socketPath, exportName: 'X', metaContexts: ['qemu:dirty-bitmap:none'] });
  assert.deepEqual(client.contexts, []);
  const walk = async () => {
    for await (const _ of client.blockStatus('qemu:dirty-bitmap:none', 0, 4096));
  };
  await assert.rejects(walk(), { code: 'source-failed', message: /does not offer the block status/ });
  await client.close();
});

test('an unknown export is not found', { skip: without('qemu-nbd') }, async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, Buffer.alloc(4096));
  const { socketPath } = await qemuNbd(t, 'raw', path);
  await assert.rejects(NbdClient.connect({ socketPath, exportName: 'Y' }), {
    code: 'not-found',
    message: /no NBD export named "Y"/,
  });
});

test('nobody listens: the message names the address', async (t) => {
  const socketPath = join(scratch(t), 'none');
  await assert.rejects(NbdClient.connect({ socketPath, exportName: '' }), (error: Error) => {
    return error.message.includes(socketPath) && (error as { code?: string }).code === 'source-failed';
  });
});

test('over TCP', { skip: without('nbdkit') }, async (t) => {
  // A port that was free a moment ago.
  const { createServer } = await import('node:net');
  const probe = createServer();
  const port = await new Promise<number>((resolve) =>
    probe.listen(0, '127.0.0.1', () => resolve((probe.address() as { port: number }).port)),
  );
  await new Promise((resolve) => probe.close(resolve));
  await startServer(t, 'nbdkit', ['-f', '-i', '127.0.0.1', '-p', String(port), '-P', 'SOCKET', 'pattern', 'size=1M']);
  const client = await NbdClient.connect({ host: '127.0.0.1', port, exportName: '' });
  const all = await readAll(client, 100_000);
  assert.equal(all.readBigUInt64BE(MiB - 8), BigInt(MiB - 8));
  await client.close();
});

test('an EIO of the server is source-failed with its place, and the connection lives on', {
  skip: without('nbdkit'),
}, async (t) => {
  const fail = join(scratch(t), 'fail');
  const { socketPath } = await nbdkit(
    t,
    '--filter=error',
    'pattern',
    'size=16M',
    'error-pread=EIO',
    'error-rate=100%',
    `error-file=${fail}`,
  );
  const client = await NbdClient.connect({ socketPath, exportName: '' });
  const target = Buffer.alloc(8 * MiB);
  await client.read(0, target);
  writeFileSync(fail, '');
  await assert.rejects(
    client.read(4 * MiB, target),
    (error: { code: string; message: string; data: Record<string, unknown> }) => {
      assert.equal(error.code, 'source-failed');
      assert.match(error.message, /could not read 262144 bytes at offset \d+: EIO/);
      assert.equal(error.data.errno, 5);
      return true;
    },
  );
  const { rmSync } = await import('node:fs');
  rmSync(fail);
  await client.read(4 * MiB, target);
  assert.equal(target.readBigUInt64BE(0), BigInt(4 * MiB));
  await client.close();
});

// Of QEMU 7.2 a read in pieces that fails ends the connection without a word.
test('a read that QEMU cannot do is source-failed, and the connection lives on', {
  skip: without('qemu-nbd'),
}, async (t) => {
  const path = join(scratch(t), 'disk');
  const bytes = pattern(4 * MiB, 3);
  writeFileSync(path, bytes);
  const once = 'file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,file.inject-error.0.once=on';
  const image = `driver=raw,file.driver=blkdebug,${once},file.image.driver=file,file.image.filename=${path}`;
  const args = ['-r', '-t', '-e', '16', '-k', 'SOCKET', '-x', 'X', '--image-opts', image];
  const { socketPath } = await startServer(t, 'qemu-nbd', args);
  const client = await NbdClient.connect({ socketPath, exportName: 'X', metaContexts: ['base:allocation'] });
  const target = Buffer.alloc(bytes.length);
  await assert.rejects(client.read(0, target), { code: 'source-failed', message: /could not read .* bytes at .*EIO/ });
  await client.read(0, target);
  assert.ok(target.equals(bytes));
  await client.close();
});

test('a read beyond the end is an error with the words of QEMU', { skip: without('qemu-nbd') }, async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, Buffer.alloc(8192));
  const { socketPath } = await qemuNbd(t, 'raw', path);
  const client = await NbdClient.connect({ socketPath, exportName: 'X' });
  await assert.rejects(client.read(8000, Buffer.alloc(1000)), { code: 'source-failed', message: /EINVAL.*EOF/ });
  await client.close();
});

test('a server killed in the middle of a read rejects all that waits, at once', {
  skip: without('nbdkit'),
}, async (t) => {
  const { socketPath, child } = await nbdkit(t, '--filter=delay', 'pattern', 'size=1G', 'rdelay=200ms');
  const client = await NbdClient.connect({ socketPath, exportName: '' });
  const reads = [0, 1, 2].map((index) => client.read(index * 8 * MiB, new Uint8Array(8 * MiB)));
  const settled = Promise.allSettled(reads);
  setTimeout(() => child.kill('SIGKILL'), 300);
  const started = performance.now();
  for (const result of await settled) {
    assert.equal(result.status, 'rejected');
    assert.equal((result.reason as { code: string }).code, 'source-failed');
  }
  assert.ok(performance.now() - started < 2000);
  await assert.rejects(client.read(0, new Uint8Array(1)), { code: 'source-failed' });
  await client.close();
});

test('a server that hangs is timed-out; an idle connection is not', { skip: without('nbdkit') }, async (t) => {
  const { socketPath, child } = await nbdkit(t, 'pattern', 'size=16M');
  const client = await NbdClient.connect({ socketPath, exportName: '', timeoutMs: 200 });
  await new Promise((resolve) => setTimeout(resolve, 700));
  await client.read(0, new Uint8Array(4096));
  child.kill('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 50));
  await assert.rejects(client.read(0, new Uint8Array(4096)), {
    code: 'timed-out',
    message: /nothing happened for 200 ms/,
  });
  await assert.rejects(NbdClient.connect({ socketPath, exportName: '', timeoutMs: 200 }), {
    code: 'timed-out',
    message: /no further connection/,
  });
  child.kill('SIGCONT');
});

test('abort ends the connection; nothing lands afterwards', { skip: without('nbdkit') }, async (t) => {
  const { socketPath } = await nbdkit(t, '--filter=delay', 'pattern', 'size=64M', 'rdelay=50ms');
  const controller = new AbortController();
  const client = await NbdClient.connect({ socketPath, exportName: '', signal: controller.signal });
  const target = Buffer.alloc(32 * MiB);
  const read = client.read(0, target);
  setTimeout(() => controller.abort(), 130);
  await assert.rejects(read, { code: 'aborted' });
  target.fill(0xee);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(target.every((byte) => byte === 0xee));
  await assert.rejects(NbdClient.connect({ socketPath, exportName: '', signal: controller.signal }), {
    code: 'aborted',
  });
});

test('close says good-bye: a server that serves one client ends by itself', {
  skip: without('qemu-nbd'),
}, async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, Buffer.alloc(4096));
  const { socketPath, child } = await startServer(t, 'qemu-nbd', ['-r', '-f', 'raw', '-k', 'SOCKET', path]);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const client = await NbdClient.connect({ socketPath, exportName: '' });
  const waiting = client.read(0, new Uint8Array(4096));
  await waiting;
  await client.close();
  await client.close();
  assert.equal(await ended, 0);
});

test('a server that wants whole blocks gets whole blocks', { skip: without('nbdkit') }, async (t) => {
  const blocks = [
    'blocksize-minimum=4096',
    'blocksize-preferred=4096',
    'blocksize-maximum=512K',
    'blocksize-error-policy=error',
  ];
  const { socketPath } = await nbdkit(t, '--filter=blocksize-policy', 'pattern', 'size=8M', ...blocks);
  const client = await NbdClient.connect({ socketPath, exportName: '', metaContexts: ['base:allocation'] });
  const target = Buffer.alloc(2_000_000);
  await client.read(8 * 1001, target);
  for (let at = 0; at < target.length; at += 8) assert.equal(target.readBigUInt64BE(at), BigInt(8 * 1001 + at));
  let length = 0;
  for await (const extent of client.blockStatus('base:allocation', 100, 5000)) length += extent.length;
  assert.equal(length, 5000);
  await client.close();
});

test('sparse data comes as holes and is zeros', { skip: without('nbdkit') }, async (t) => {
  const { socketPath } = await nbdkit(t, 'sparse-random', 'size=64M', 'percent=20', 'seed=1', 'runlength=65536');
  const client = await NbdClient.connect({ socketPath, exportName: '', metaContexts: ['base:allocation'] });
  const target = Buffer.alloc(64 * MiB, 0xff);
  await client.read(0, target);
  let zeroBytes = 0;
  for await (const { offset, length, flags } of client.blockStatus('base:allocation', 0, client.sizeBytes)) {
    if (!(flags & STATE_ZERO)) continue;
    zeroBytes += length;
    assert.ok(target.subarray(offset, offset + length).every((byte) => byte === 0));
  }
  assert.ok(zeroBytes > 32 * MiB);
  await client.close();
});

test('qemu-storage-daemon: two connections read different parts at once', {
  skip: without('qemu-storage-daemon'),
}, async (t) => {
  const path = join(scratch(t), 'disk');
  const bytes = pattern(16 * MiB, 3);
  writeFileSync(path, bytes);
  const file = JSON.stringify({
    driver: 'raw',
    'node-name': 'd',
    'read-only': true,
    file: { driver: 'file', filename: path },
  });
  const { socketPath } = await startServer(t, 'qemu-storage-daemon', [
    '--blockdev',
    file,
    '--nbd-server',
    'addr.type=unix,addr.path=SOCKET',
    '--export',
    'type=nbd,id=e,node-name=d,name=X',
  ]);
  const clients = await Promise.all([0, 1].map(() => NbdClient.connect({ socketPath, exportName: 'X' })));
  const target = Buffer.alloc(16 * MiB);
  await Promise.all(
    clients.map((client, index) =>
      client.read(index * 8 * MiB, target.subarray(index * 8 * MiB, (index + 1) * 8 * MiB)),
    ),
  );
  assert.ok(target.equals(readFileSync(path)));
  await Promise.all(clients.map((client) => client.close()));
});
