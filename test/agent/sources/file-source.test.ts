import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileHoles } from '../../../src/agent/sources/file-holes.ts';
import { blockDeviceBytes, deviceNumbers } from '../../../src/agent/sources/file-size.ts';
import { openFileSource } from '../../../src/agent/sources/file-source.ts';
import { openDiskReader } from '../../../src/agent/sources/reader.ts';
import type { Range } from '../../../src/agent/sources/source.ts';
import { pattern, scratch, without } from '../nbd/servers.ts';

const MiB = 1 << 20;
const never = new AbortController().signal;

async function collect(ranges: AsyncIterable<Range>): Promise<number[][]> {
  const all = [];
  for await (const { offset, length } of ranges) all.push([offset, length]);
  return all;
}

/** A sparse file with data only at `places` (1 MiB each). */
function sparseFile(path: string, sizeBytes: number, places: number[]): void {
  const fd = openSync(path, 'w');
  for (const at of places) writeSync(fd, pattern(MiB, at + 1), 0, MiB, at);
  closeSync(fd);
  truncateSync(path, sizeBytes);
}

test('a raw file of any size is read', async (t) => {
  for (const sizeBytes of [0, 1, 511, 4097, 3 * MiB + 777]) {
    const path = join(scratch(t), 'disk');
    const bytes = pattern(sizeBytes + 4, 4).subarray(0, sizeBytes);
    writeFileSync(path, bytes);
    const source = await openFileSource(path);
    assert.equal(source.sizeBytes, sizeBytes);
    assert.deepEqual(await collect(source.zeroRanges(never)), []);
    const reader = await openDiskReader(source.locator);
    const target = Buffer.alloc(sizeBytes);
    assert.equal(reader.readInto(0, target), undefined);
    assert.ok(target.equals(bytes));
    await reader.close();
    await source.checkUnchanged();
    await source.close();
  }
});

test('the holes of a sparse file are found', async (t) => {
  const path = join(scratch(t), 'disk');
  sparseFile(path, 6 * 1024 * MiB + 100, [0, 5 * MiB, 4096 * MiB]);
  const source = await openFileSource(path);
  assert.deepEqual(await collect(source.zeroRanges(never)), [
    [MiB, 4 * MiB],
    [6 * MiB, 4090 * MiB],
    [4097 * MiB, 2047 * MiB + 100],
  ]);
  await source.close();
});

test('a hole below 64 KiB is read, one of that is told', async (t) => {
  const path = join(scratch(t), 'disk');
  const fd = openSync(path, 'w');
  for (const at of [0, 65_536, 135_168]) writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, at);
  closeSync(fd);
  // Behind the first block a hole of 60 KiB, behind the second one of 64.
  assert.deepEqual(await collect((await openFileSource(path)).zeroRanges(never)), [[69_632, 65_536]]);
});

test('a file that is one hole', async (t) => {
  const path = join(scratch(t), 'disk');
  sparseFile(path, 100 * MiB, []);
  assert.deepEqual(await collect((await openFileSource(path)).zeroRanges(never)), [[0, 100 * MiB]]);
});

test('many holes: the loop may be left at any place', async (t) => {
  const path = join(scratch(t), 'disk');
  const fd = openSync(path, 'w');
  for (let index = 0; index < 3000; index += 1) writeSync(fd, 'x', index * 131_072);
  closeSync(fd);
  const source = await openFileSource(path);
  const all = await collect(source.zeroRanges(never));
  assert.equal(all.length, 2999);
  assert.deepEqual(all[7], [7 * 131_072 + 4096, 131_072 - 4096]);
  for await (const _ of source.zeroRanges(never)) break;
  const within = [
    { offset: 131_072, length: 131_072 },
    { offset: 262_144, length: 4096 },
    { offset: 400_000, length: 200_000 },
  ];
  assert.deepEqual(await collect(source.zeroRanges(never, within)), [
    [131_072 + 4096, 126_976],
    [400_000, 124_288],
    [524_288 + 4096, 71_616],
  ]);
});

test('looking for holes ends when the backup is aborted, at once and in the middle', async (t) => {
  const path = join(scratch(t), 'disk');
  sparseFile(path, 10 * MiB, [4 * MiB]);
  const controller = new AbortController();
  const holes = fileHoles(path, { ranges: [{ offset: 0, length: 10 * MiB }], signal: controller.signal })[
    Symbol.asyncIterator
  ]();
  assert.deepEqual(await holes.next(), { done: false, value: { offset: 0, length: 4 * MiB } });
  controller.abort();
  await assert.rejects(holes.next(), { code: 'aborted', message: /while its holes were looked up/ });
  await assert.rejects(
    collect(fileHoles(path, { ranges: [{ offset: 0, length: 10 * MiB }], signal: AbortSignal.abort() })),
    {
      code: 'aborted',
    },
  );
});

test('a file without holes, one that ends earlier than said, and one whose file system cannot tell have none', async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, pattern(MiB, 3));
  assert.deepEqual(await collect(fileHoles(path, { ranges: [{ offset: 0, length: MiB }], signal: never })), []);
  assert.deepEqual(await collect(fileHoles(path, { ranges: [{ offset: 0, length: 2 * MiB }], signal: never })), [
    [MiB, MiB],
  ]);
  assert.deepEqual(
    await collect(fileHoles('/proc/self/status', { ranges: [{ offset: 0, length: MiB }], signal: never })),
    [],
  );
});

test('a file that shrinks while it is read has changed', async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, pattern(2 * MiB, 5));
  const source = await openFileSource(path);
  const reader = await openDiskReader(source.locator);
  truncateSync(path, MiB + 5);
  const target = new Uint8Array(MiB);
  await reader.readInto(0, target);
  assert.throws(() => reader.readInto(MiB, target), { code: 'source-changed', message: /ended at byte 1048581/ });
  await assert.rejects(source.checkUnchanged(), {
    code: 'source-changed',
    message: /from 2097152 to 1048581 bytes.*repeat it/,
  });
  await reader.close();
});

test('a file that grew has changed; one that is gone is not found', async (t) => {
  const path = join(scratch(t), 'disk');
  writeFileSync(path, Buffer.alloc(4096));
  const source = await openFileSource(path);
  await source.checkUnchanged();
  appendFileSync(path, 'x');
  await assert.rejects(source.checkUnchanged(), { code: 'source-changed', message: /from 4096 to 4097/ });
  rmSync(path);
  await assert.rejects(source.checkUnchanged(), { code: 'not-found' });
});

test('what is not a disk is refused with what to do', async (t) => {
  const directory = scratch(t);
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  const server = net.createServer().listen(join(directory, 'socket'));
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  await assert.rejects(openFileSource(join(directory, 'none')), { code: 'not-found', message: /check the path/ });
  await assert.rejects(openFileSource(directory), { code: 'bad-argument', message: /a directory.*file tree/ });
  await assert.rejects(openFileSource(join(directory, 'fifo')), { code: 'bad-argument', message: /a fifo/ });
  await assert.rejects(openFileSource(join(directory, 'socket')), { code: 'bad-argument', message: /nbd\+unix:/ });
  await assert.rejects(openFileSource('/dev/zero'), { code: 'bad-argument', message: /character device/ });
});

const isRoot = process.getuid?.() === 0;
const noUser = isRoot ? without('setpriv') : 'needs root to become another user';
test('an unreadable file says who may read it', { skip: noUser }, async (t) => {
  // Node may run as root, which reads everything: ask as nobody, in a directory that nobody may enter.
  const directory = mkdtempSync('/var/tmp/hft-');
  t.after(() => rmSync(directory, { recursive: true }));
  execFileSync('chmod', ['755', directory]);
  const path = join(directory, 'disk');
  writeFileSync(path, 'x', { mode: 0o600 });
  const { openError } = await import('../../../src/agent/sources/file-size.ts');
  const failed = (() => {
    try {
      process.seteuid?.('nobody');
      return openSync(path, 'r');
    } catch (error) {
      return error;
    } finally {
      process.seteuid?.(0);
    }
  })();
  const error = openError(path, failed);
  assert.equal(error.code, 'source-failed');
  assert.match(error.message, /EACCES; run as a user that may read it/);
});

test('a failed read says path, place and errno', async () => {
  // The kernel answers EIO for memory that is not mapped, as it does for a bad sector.
  const reader = await openDiskReader({ type: 'file', path: '/proc/self/mem' });
  assert.throws(
    () => reader.readInto(4096, new Uint8Array(10)),
    (error: { code: string; message: string; data: Record<string, unknown> }) => {
      assert.equal(error.code, 'source-failed');
      assert.equal(error.message, '/proc/self/mem: cannot read at byte 4096: EIO; check the disk below it (dmesg)');
      assert.deepEqual(error.data, { path: '/proc/self/mem', offset: 4096, code: 'EIO' });
      return true;
    },
  );
  await reader.close();
  await reader.close();
});

test('device numbers are those of glibc', () => {
  assert.deepEqual(deviceNumbers(0xfe00), { major: 254, minor: 0 });
  assert.deepEqual(deviceNumbers(0x0010_0000 * 0x12 + 0x0800 + 0x34), { major: 8, minor: 0x1234 });
  assert.deepEqual(deviceNumbers(2 ** 44 + 0x0305), { major: 4096 + 3, minor: 5 });
});

function loopDevice(path: string): string | undefined {
  try {
    return execFileSync('losetup', ['--find', '--show', '--read-only', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}

test('a block device: size by sysfs, bytes by reading', {
  skip: without('losetup') || (!isRoot && 'needs root'),
}, async (t) => {
  const path = join(scratch(t), 'disk');
  const bytes = pattern(5 * MiB + 512, 6);
  writeFileSync(path, bytes);
  const device = loopDevice(path);
  if (device === undefined) return t.skip('no loop device can be set up here');
  t.after(() => execFileSync('losetup', ['-d', device]));
  const source = await openFileSource(device);
  assert.equal(source.sizeBytes, bytes.length);
  assert.deepEqual(await collect(source.zeroRanges(never)), []);
  const reader = await openDiskReader(source.locator);
  const target = Buffer.alloc(bytes.length);
  await reader.readInto(0, target);
  assert.ok(target.equals(readFileSync(path)));
  await source.checkUnchanged();
  await reader.close();
});

test('a block device that sysfs does not know is an error', () => {
  assert.throws(() => blockDeviceBytes(0xfff_ff00, '/dev/none'), {
    code: 'source-failed',
    message: /is \/sys mounted/,
  });
});
