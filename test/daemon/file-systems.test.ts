// Sizes of file systems, of those that answer and of those that do not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileSystems } from '../../src/daemon/file-systems.ts';
import type { FileSystemSpace } from '../../src/datastore/limits/low-space.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

test('what is there has its size, what is not has none', async (t) => {
  const path = temporaryDirectory(t);
  const { totalBytes, freeBytes } = (await new FileSystems().space(path)) as FileSystemSpace;
  assert.ok(totalBytes >= freeBytes && freeBytes > 0);
  assert.equal(await new FileSystems().space(`${path}/nowhere`), undefined);
});

test('a disk that does not answer is asked once, holds up no other, and is known again when it answers', async () => {
  const full: FileSystemSpace = { totalBytes: 5, freeBytes: 0 };
  const asked: string[] = [];
  let answer: (space: FileSystemSpace) => void = () => {};
  const systems = new FileSystems(async (path) => {
    asked.push(path);
    if (path === '/fine') return full;
    return await new Promise((resolve) => {
      answer = resolve;
    });
  }, 20);
  assert.deepEqual(await Promise.all(['/hung', '/hung', '/fine'].map((path) => systems.space(path))), [
    undefined,
    undefined,
    full,
  ]);
  assert.equal(await systems.space('/hung'), undefined);
  assert.deepEqual(asked, ['/hung', '/fine']);
  const waiting = systems.space('/hung');
  answer(full);
  assert.deepEqual(await waiting, full);
  assert.equal(await systems.space('/hung'), undefined);
  assert.deepEqual(asked, ['/hung', '/fine', '/hung'], 'asked anew');
  answer(full);
});
