// Images through a QEMU process of our own: every format, both programs, what QEMU says, and that the process ends with us.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDiskSource } from '../../../src/agent/sources/open-source.ts';
import { openQemuSource, type QemuSource } from '../../../src/agent/sources/qemu-source.ts';
import { openDiskReader } from '../../../src/agent/sources/reader.ts';
import type { DiskSource, Range } from '../../../src/agent/sources/source.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { type Ending, nbdkit, pattern, qemuNbd, scratch, tool, without } from '../nbd/servers.ts';

const MiB = 1 << 20;
const never = new AbortController().signal;
const missing = without('qemu-img', 'qemu-storage-daemon', 'setpriv');

async function collect(source: DiskSource, within?: readonly Range[]): Promise<Range[]> {
  const all = [];
  for await (const range of source.zeroRanges(never, within)) all.push(range);
  return all;
}

async function readAll(source: DiskSource): Promise<Buffer> {
  const reader = await openDiskReader(source.locator);
  const all = Buffer.alloc(source.sizeBytes);
  for (let at = 0; at < all.length; at += 4 * MiB) await reader.readInto(at, all.subarray(at, at + 4 * MiB));
  await reader.close();
  return all;
}

/** 24 MiB and 3 sectors: data, a hole, data up to the end. */
function rawDisk(t: Ending): { path: string; bytes: Buffer } {
  const path = join(scratch(t), 'disk.raw');
  const bytes = Buffer.concat([pattern(4 * MiB, 1), Buffer.alloc(12 * MiB), pattern(8 * MiB + 3 * 512, 2)]);
  writeFileSync(path, bytes);
  return { path, bytes };
}

const formats: [format: string, name: string, options: string[]][] = [
  ['qcow2', 'a.qcow2', []],
  ['qcow2', 'compressed.img', ['-c']],
  ['vmdk', 'a.vmdk', []],
  ['vmdk', 'stream.vmdk', ['-o', 'subformat=streamOptimized']],
  ['vmdk', 'split.vmdk', ['-o', 'subformat=twoGbMaxExtentFlat']],
  ['vdi', 'a.vdi', []],
  ['vhdx', 'a.vhdx', []],
  ['vpc', 'vhd:a.vhd', ['-o', 'force_size=on']],
  ['qcow', 'a.img', []],
  ['qed', 'qed:a.qed', []],
];
for (const [format, name, options] of formats) {
  test(`${format} (${name}): the bytes and the holes`, { skip: missing }, async (t) => {
    const { path, bytes } = rawDisk(t);
    const [prefix, file] = name.includes(':') ? name.split(':') : ['', name];
    const image = join(dirname(path), file);
    tool('qemu-img', 'convert', '-f', 'raw', '-O', format, ...options, path, image);
    const source = await openDiskSource(`${prefix && `${prefix}:`}${image}`);
    t.after(() => source.close());
    const all = await readAll(source);
    assert.ok(all.subarray(0, bytes.length).equals(bytes));
    // VDI and VHDX are rounded up to whole blocks or sectors.
    assert.ok(all.subarray(bytes.length).every((byte) => byte === 0) && all.length < bytes.length + 2 * MiB);
    let zeroBytes = 0;
    for (const { offset, length } of await collect(source)) {
      zeroBytes += length;
      assert.ok(
        all.subarray(offset, offset + length).every((byte) => byte === 0),
        `${length} at ${offset}`,
      );
    }
    // Formats keep blocks of up to 16 MiB; these find the hole.
    if (['qcow2', 'vdi'].includes(format)) assert.ok(zeroBytes >= 11 * MiB, `${zeroBytes} bytes of zeros`);
    await source.checkUnchanged();
  });
}

test('zero ranges are what qemu-img map says', { skip: missing || without('qemu-io') }, async (t) => {
  const path = join(scratch(t), 'a.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', path, '3G');
  tool(
    'qemu-io',
    '-f',
    'qcow2',
    '-c',
    'write -q -P 1 10M 1M',
    '-c',
    'write -q -z 100M 10M',
    '-c',
    'write -q -P 1 2000M 200M',
    path,
  );
  const map = JSON.parse(tool('qemu-img', 'map', '--output=json', '-f', 'qcow2', path)) as {
    start: number;
    length: number;
    zero: boolean;
  }[];
  const expected: Range[] = [];
  for (const { start, length, zero } of map) {
    const last = expected.at(-1);
    if (!zero) continue;
    if (last && last.offset + last.length === start)
      expected[expected.length - 1] = { offset: last.offset, length: last.length + length };
    else expected.push({ offset: start, length });
  }
  const source = await openDiskSource(path);
  t.after(() => source.close());
  assert.deepEqual(await collect(source), expected);
  assert.equal(expected.length, 3);
});

test('names that QEMU could misread', { skip: missing }, async (t) => {
  const { path, bytes } = rawDisk(t);
  const directory = join(dirname(path), 'a,b=c');
  mkdirSync(directory);
  const image = join(directory, 'nbd:json:{"x"},file.filename=y ".qcow2');
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', path, join(dirname(path), 'x.qcow2'));
  renameSync(join(dirname(path), 'x.qcow2'), image);
  const source = await openDiskSource(image);
  t.after(() => source.close());
  assert.ok((await readAll(source)).equals(bytes));
});

test('a backing chain is read as one disk', { skip: missing || without('qemu-io') }, async (t) => {
  const { path, bytes } = rawDisk(t);
  const over = join(dirname(path), 'over.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', path, '-F', 'raw', over);
  tool('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 9 5M 64k', over);
  const source = await openDiskSource(over);
  t.after(() => source.close());
  bytes.fill(9, 5 * MiB, 5 * MiB + 65_536);
  assert.ok((await readAll(source)).equals(bytes));
});

test('a backing file without a recorded format is not probed into further files', { skip: missing }, async (t) => {
  const directory = scratch(t);
  const secret = join(directory, 'secret');
  writeFileSync(secret, 'root:secret'.padEnd(1024));
  // What the guest wrote on its raw disk, which later became the base of an overlay.
  const base = join(directory, 'base.img');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', base);
  const over = join(directory, 'over.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', over);
  const honest = await openDiskSource(over);
  assert.ok(
    (await readAll(honest)).subarray(0, 4).equals(Buffer.from('QFI\xfb', 'latin1')),
    'the raw bytes of the base',
  );
  await honest.close();
  // As old programs wrote it: the header extension "backing format" becomes one that nobody knows.
  const header = readFileSync(over);
  header.writeUInt32BE(0x11111111, header.indexOf(Buffer.from('e2792aca', 'hex')));
  writeFileSync(over, header);
  await assert.rejects(openDiskSource(over), {
    code: 'source-failed',
    message: /does not record the format.*qemu-img rebase -u -F FORMAT/s,
  });
  // The same with an honest raw base is fine.
  writeFileSync(base, pattern(MiB, 3));
  const old = await openDiskSource(over);
  await old.close();
});

test('what QEMU says is passed on', { skip: missing }, async (t) => {
  const { path } = rawDisk(t);
  await assert.rejects(openDiskSource(`qcow2:${path}`), {
    code: 'source-failed',
    message: /cannot open .*not in qcow2 format/,
  });
  await assert.rejects(openDiskSource(`vdi:${path}`), { code: 'source-failed', message: /cannot open .*(VDI|vdi)/ });
  await assert.rejects(openDiskSource(`qcow2:${path}.none`), { code: 'not-found' });
  await assert.rejects(openDiskSource(`qcow2:${dirname(path)}`), { code: 'bad-argument' });
  const controller = new AbortController();
  controller.abort();
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', path, `${path}.qcow2`);
  await assert.rejects(openDiskSource(`${path}.qcow2`, { signal: controller.signal }), { code: 'aborted' });
});

test('an image that a running guest has open', { skip: missing || without('qemu-io') }, async (t) => {
  const path = join(scratch(t), 'a.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', path, '10M');
  // qemu-io holds the same locks as a guest.
  const holder = spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => holder.kill('SIGKILL'));
  await once(holder.stdout!, 'data');
  const locked = /Failed to get shared "write" lock.*a running guest uses it: shut the guest down/;
  await assert.rejects(openDiskSource(path), { code: 'source-failed', message: locked });
});

test('the socket is private, and nothing remains after close', { skip: missing }, async (t) => {
  const { path } = rawDisk(t);
  const source = (await openQemuSource({ path, driver: 'raw' })) as QemuSource;
  const { socketPath, pid, tool: used } = source.server;
  assert.equal(used, 'qemu-storage-daemon');
  assert.equal(statSync(dirname(socketPath)).mode & 0o777, 0o700);
  assert.match(
    readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
    /^\/\S*qemu-storage-daemon/,
    'the pid is that of QEMU itself',
  );
  await source.close();
  await source.close();
  assert.equal(existsSync(dirname(socketPath)), false);
  assert.equal(existsSync(`/proc/${pid}`), false);
});

/** A directory that holds only these programs. */
function only(t: Ending, ...tools: string[]): string {
  const directory = scratch(t);
  for (const name of tools) symlinkSync(tool('sh', '-c', `command -v ${name}`).trim(), join(directory, name));
  return directory;
}

test('qemu-nbd takes over where qemu-storage-daemon is missing', {
  skip: missing || without('qemu-nbd'),
}, async (t) => {
  const { path, bytes } = rawDisk(t);
  const image = join(dirname(path), 'a.qcow2');
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', path, image);
  const source = (await openQemuSource(
    { path: image, driver: 'qcow2' },
    { searchPath: only(t, 'setpriv', 'qemu-nbd') },
  )) as QemuSource;
  t.after(() => source.close());
  assert.equal(source.server.tool, 'qemu-nbd');
  assert.ok((await readAll(source)).equals(bytes));
  assert.deepEqual(await collect(source), [{ offset: 4 * MiB, length: 12 * MiB }]);
  const within = [
    { offset: 0, length: MiB },
    { offset: 3 * MiB, length: 2 * MiB },
    { offset: 15 * MiB, length: MiB },
  ];
  const found = [
    { offset: 4 * MiB, length: MiB },
    { offset: 15 * MiB, length: MiB },
  ];
  assert.deepEqual(await collect(source, within), found);
  const wrong = openQemuSource({ path, driver: 'qcow2' }, { searchPath: only(t, 'setpriv', 'qemu-nbd') });
  await assert.rejects(wrong, { code: 'source-failed', message: /not in qcow2 format/ });
});

test('without any of them the Debian package is named', { skip: missing }, async (t) => {
  const { path } = rawDisk(t);
  const bare = openQemuSource({ path, driver: 'raw' }, { searchPath: only(t, 'setpriv') });
  await assert.rejects(bare, { code: 'tool-missing', message: /qemu-storage-daemon.*qemu-system-common/ });
  await assert.rejects(openQemuSource({ path, driver: 'raw' }, { searchPath: '/nowhere' }), {
    code: 'tool-missing',
    message: /util-linux/,
  });
});

for (const server of ['qemu-storage-daemon', 'qemu-nbd']) {
  test(`${server} does not outlive our kill -9`, { skip: missing || without(server) }, async (t) => {
    const { path } = rawDisk(t);
    const script = `
      import { openQemuSource } from ${JSON.stringify(join(process.cwd(), 'src/agent/sources/qemu-source.ts'))};
      const source = await openQemuSource({ path: ${JSON.stringify(path)}, driver: 'raw' }, { searchPath: ${JSON.stringify(only(t, 'setpriv', server))} });
      console.log(source.server.pid, source.server.socketPath);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    const [pid, socketPath] = line.toString().trim().split(' ');
    t.after(() => tool('rm', '-rf', dirname(socketPath)));
    assert.ok(existsSync(`/proc/${pid}`));
    child.kill('SIGKILL');
    for (let waited = 0; existsSync(`/proc/${pid}`) && !isZombie(pid); waited += 20) {
      assert.ok(waited < 3000, `${server} (${pid}) still runs`);
      await sleep(20);
    }
  });
}

function isZombie(pid: string): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

test('a QEMU that dies is source-failed, and the image is named', { skip: missing }, async (t) => {
  const { path } = rawDisk(t);
  const source = (await openQemuSource({ path, driver: 'raw' })) as QemuSource;
  t.after(() => source.close());
  const reader = await openDiskReader(source.locator);
  process.kill(source.server.pid, 'SIGKILL');
  await sleep(100);
  const failure = (error: HoldfastError) => error.code === 'source-failed' && error.message.startsWith(`${path}: `);
  await assert.rejects(reader.readInto(0, new Uint8Array(MiB))!, failure);
  await assert.rejects(source.checkUnchanged(), failure);
  await reader.close();
});

test('NBD URIs: unix socket', { skip: without('qemu-nbd') }, async (t) => {
  const { path, bytes } = rawDisk(t);
  const { socketPath } = await qemuNbd(t, 'raw', path);
  const source = await openDiskSource(`nbd+unix:///X?socket=${socketPath}`);
  assert.ok((await readAll(source)).equals(bytes));
  const reader = await openDiskReader(source.locator);
  const beyond = reader.readInto(bytes.length - 10, new Uint8Array(11));
  await assert.rejects(beyond!, { code: 'source-changed', message: /ends at byte/ });
  await reader.close();
  await source.checkUnchanged();
  await source.close();
  await assert.rejects(openDiskSource(`nbd+unix:///Y?socket=${socketPath}`), { code: 'not-found' });
});

test('an NBD disk that grows between connections has changed', { skip: without('nbdkit') }, async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, Buffer.alloc(4096));
  const { socketPath } = await nbdkit(t, 'file', path);
  const source = await openDiskSource(`nbd+unix:///?socket=${socketPath}`);
  await source.checkUnchanged();
  writeFileSync(path, Buffer.alloc(8192));
  await assert.rejects(source.checkUnchanged(), { code: 'source-changed', message: /from 4096 to 8192/ });
  await source.close();
});

test('NBD URIs: host and port, through a cloned locator', { skip: without('nbdkit') }, async (t) => {
  const { createServer } = await import('node:net');
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  const server = spawn('nbdkit', ['-f', '-i', '127.0.0.1', '-p', String(port), 'pattern', 'size=1M'], {
    stdio: 'ignore',
  });
  t.after(() => server.kill('SIGKILL'));
  let source: DiskSource | undefined;
  for (let attempt = 0; !source; attempt += 1) {
    source = await openDiskSource(`nbd://127.0.0.1:${port}/`).catch((error) => {
      if (attempt > 100) throw error;
      return undefined;
    });
    await sleep(20);
  }
  const reader = await openDiskReader(structuredClone(source.locator));
  const target = Buffer.alloc(MiB);
  await reader.readInto(0, target);
  assert.equal(target.readBigUInt64BE(MiB - 8), BigInt(MiB - 8));
  await reader.close();
  await source.close();
});
