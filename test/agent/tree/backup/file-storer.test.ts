// Reading one file: what happens when it is not what it was said to be, or does not read at all.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFileSync, linkSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FileStorer } from '../../../../src/agent/tree/backup/file-storer.ts';
import {
  type FileCalls,
  loadFileCalls,
  OPEN_DIRECTORY,
  readScan,
  type Scanned,
} from '../../../../src/agent/tree/file-calls.ts';
import { streamCutParameters } from '../../../../src/chunker/cut-parameters.ts';
import { createCutter } from '../../../../src/chunker/cutter.ts';
import { Content } from '../../../../src/chunker/directory.ts';
import { sizeOf, withSize } from '../../../../src/chunker/stat-block.ts';
import { Arena } from '../../../../src/util/arena.ts';
import { type ByteString, fromText } from '../../../../src/util/byte-string.ts';
import { MemorySink } from '../../backup/memory-sink.ts';

const MIB = 1024 * 1024;
const MAX_PIECE_BYTES = 4 * 65536;

function rig(t: TestContext, change: (calls: FileCalls) => Partial<FileCalls> = () => ({})) {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-storer-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const arena = new Arena(65536 + FileStorer.windowBytes(MAX_PIECE_BYTES) + 8192);
  const window = arena.allocate(FileStorer.windowBytes(MAX_PIECE_BYTES));
  const cutter = createCutter(arena.memory);
  cutter.setStream(streamCutParameters(65536));
  const real = loadFileCalls();
  const calls = { ...real, ...change(real) };
  const top = real.open(-1, fromText(directory), OPEN_DIRECTORY, 0);
  t.after(() => real.close(top));
  const sink = new MemorySink(arena.bytes);
  const storer = new FileStorer(calls, cutter, window);
  const look = (name: string): Scanned => {
    const names = Buffer.concat([Buffer.of(name.length), Buffer.from(name)]);
    return readScan(real.scan(top, names) as Buffer).next().value as Scanned;
  };
  return { at: (name: string) => join(directory, name), look, store: (file: Scanned) => storer.store(top, file, sink) };
}

test('a large file that does not read is unreadable, with its errno', async (t) => {
  // Address 0 of a process is EIO.
  const { at, look, store } = rig(t, () => ({ open: () => openSync('/proc/self/mem', 'r') }));
  writeFileSync(at('file'), randomBytes(3 * MIB));
  const stored = await store(look('file'));
  assert.equal(stored.errno, constants.errno.EIO);
  assert.deepEqual([stored.content, stored.refs.length], [Content.none, 0]);
});

test('a file that is gone, or something else by now, has vanished', async (t) => {
  const { at, look, store } = rig(t);
  for (const size of [10, 3 * MIB]) {
    writeFileSync(at('file'), Buffer.alloc(size, 1));
    const seen = look('file');
    rmSync(at('file'));
    assert.equal((await store(seen)).errno, constants.errno.ENOENT);
  }
});

test('a file that shrank or grew since it was looked at is taken as it is', async (t) => {
  const { at, look, store } = rig(t);
  for (const [before, after] of [
    [1000, 400],
    [400, 1000],
    [3 * MIB, 2 * MIB],
    [2 * MIB, 3 * MIB],
    [1000, 2 * MIB],
    [2 * MIB, 1000],
    [700, 0],
  ] as const) {
    writeFileSync(at('file'), randomBytes(before));
    const seen = look('file');
    if (after < before) truncateSync(at('file'), after);
    else appendFileSync(at('file'), randomBytes(after - before));
    const stored = await store(seen);
    assert.deepEqual(
      [stored.errno, stored.hasChanged, sizeOf(stored.stat)],
      [0, false, after],
      `${before} to ${after}`,
    );
    assert.ok(stored.stat.length > 0 && Buffer.from(stored.stat).equals(look('file').stat));
  }
});

test('a file that is never the same twice is taken after three tries, and that is said', async (t) => {
  let reads = 0;
  const { at, look, store } = rig(t, (real) => ({
    readFile: (directory, name, target, out) => {
      reads++;
      appendFileSync(at('file'), 'more');
      return real.readFile(directory, name, target, out);
    },
  }));
  writeFileSync(at('file'), 'x'.repeat(1000));
  const stored = await store(look('file'));
  assert.deepEqual([reads, stored.hasChanged, stored.errno], [3, true, 0]);
  const bytes =
    stored.content === Content.pieces
      ? new DataView(stored.contentBytes.buffer, stored.contentBytes.byteOffset).getUint32(0, true)
      : -1;
  assert.equal(sizeOf(stored.stat), bytes);
});

test('a file of several names is read once, and again when it changed', async (t) => {
  const { at, look, store } = rig(t);
  writeFileSync(at('one'), randomBytes(5000));
  linkSync(at('one'), at('two'));
  const first = await store(look('one'));
  const second = await store(look('two'));
  assert.deepEqual([first.bytesRead, second.bytesRead], [5000, 0]);
  assert.deepEqual(second.refs, first.refs);
  appendFileSync(at('one'), 'changed');
  const third = await store(look('two'));
  assert.equal(third.bytesRead, 5007);
  assert.notDeepEqual(third.refs, first.refs);
});

test('an unreadable file is not remembered for its other names', async (t) => {
  let isBroken = true;
  const { at, look, store } = rig(t, (real) => ({
    readFile: (...words) => (isBroken ? -constants.errno.EACCES : real.readFile(...words)),
  }));
  writeFileSync(at('one'), 'content');
  linkSync(at('one'), at('two'));
  assert.equal((await store(look('one'))).errno, constants.errno.EACCES);
  isBroken = false;
  const stored = await store(look('two'));
  assert.deepEqual([stored.errno, Buffer.from(stored.contentBytes).toString()], [0, 'content']);
});

test('what the file system says of a size is not believed', async (t) => {
  const { at, look, store } = rig(t);
  writeFileSync(at('file'), 'short');
  const seen = look('file');
  const lied = { ...seen, name: 'file' as ByteString, stat: withSize(seen.stat, 2 * MIB) };
  const stored = await store(lied);
  assert.equal(sizeOf(stored.stat), 5);
});
