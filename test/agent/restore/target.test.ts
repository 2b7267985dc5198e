import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FileTarget, targetError } from '../../../src/agent/restore/target.ts';
import { Arena } from '../../../src/util/arena.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { pattern } from '../nbd/servers.ts';

const MiB = 1024 * 1024;

function openTarget(path: string, holesAreThere: boolean) {
  const arena = new Arena(65536 + 3 * MiB);
  const zeros = arena.allocate(MiB);
  const area = arena.allocate(MiB);
  return { target: new FileTarget({ path, holesAreThere }, zeros), area };
}

/** In this directory, whose file system knows direct I/O, and in memory, whose may not. */
const places: readonly string[] = ['.', '/dev/shm'];

function scratchIn(t: TestContext, place: string): string {
  const directory = mkdtempSync(join(place, 'hft-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

for (const place of places) {
  test(`data of any place and length is written to a file in ${place}`, (t) => {
    const path = join(scratchIn(t, place), 'disk');
    const size = 2 * MiB + 777;
    writeFileSync(path, '');
    truncateSync(path, size);
    const { target, area } = openTarget(path, true);
    const expected = Buffer.alloc(size);
    // Aligned and not: offset, length and place in memory.
    for (const [offset, length, from] of [
      [0, 8192, 0],
      [8192, 5000, 0],
      [20_000, 4096, 0],
      [32_768, 8192, 512],
      [65_536, 1, 0],
      [size - 777 - 4096, 4096 + 777, 4096],
      [size - 1, 1, 3],
    ]) {
      const bytes = pattern(length + 4, offset + 1).subarray(0, length);
      area.bytes.set(bytes, from);
      target.write(offset, area.bytes.subarray(from, from + length));
      expected.set(bytes, offset);
    }
    target.close();
    assert.ok(readFileSync(path).equals(expected));
  });

  test(`data outside of the arena is written to a file in ${place}, however it is aligned`, (t) => {
    const path = join(scratchIn(t, place), 'disk');
    writeFileSync(path, '');
    const { target } = openTarget(path, true);
    // A buffer of its own begins at byte 0 of its memory, which stands nowhere in particular.
    const bytes = pattern(3 * MiB, 5);
    target.write(0, bytes);
    target.close();
    assert.ok(readFileSync(path).equals(bytes));
  });
}

test('holes of a new file stay holes', (t) => {
  const path = join(scratchIn(t, '.'), 'disk');
  writeFileSync(path, '');
  truncateSync(path, 64 * MiB);
  const { target, area } = openTarget(path, true);
  area.bytes.fill(7, 0, 4096);
  target.write(32 * MiB, area.bytes.subarray(0, 4096));
  target.hole(0, 32 * MiB);
  target.hole(32 * MiB + 4096, 32 * MiB - 4096);
  target.close();
  assert.equal(statSync(path).size, 64 * MiB);
  assert.ok(statSync(path).blocks * 512 <= 128 * 1024, `${statSync(path).blocks} blocks`);
});

test('holes on what held other data before are written as zeros', (t) => {
  const path = join(scratchIn(t, '.'), 'disk');
  const before = pattern(3 * MiB, 1);
  writeFileSync(path, before);
  const { target } = openTarget(path, false);
  target.hole(100, 2 * MiB + 50_000);
  target.hole(3 * MiB - 10, 10);
  target.close();
  const expected = Buffer.from(before)
    .fill(0, 100, 100 + 2 * MiB + 50_000)
    .fill(0, 3 * MiB - 10);
  assert.ok(readFileSync(path).equals(expected));
});

test('a target that cannot be opened or written is named', (t) => {
  const path = join(scratchIn(t, '.'), 'none');
  const says = (text: RegExp) => (error: unknown) =>
    error instanceof HoldfastError && error.code === 'target-failed' && text.test(error.message);
  assert.throws(() => openTarget(path, true), says(/none.*ENOENT/));
  const { target, area } = openTarget('/dev/full', false);
  assert.throws(() => target.write(0, area.bytes.subarray(0, 10)), says(/no space left for \/dev\/full/));
  target.close();
});

test('what is full is told from what is broken', () => {
  const of = (code: string): string => targetError('/mnt/x', Object.assign(new Error(`${code}: it`), { code })).message;
  for (const code of ['ENOSPC', 'EDQUOT', 'EFBIG']) assert.match(of(code), /no space left for \/mnt\/x/);
  assert.match(of('EIO'), /cannot write \/mnt\/x: EIO/);
});
