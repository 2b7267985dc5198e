// Copies between memory of one thread and of several, wherever they begin.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyShared } from '../../src/util/copy-shared.ts';

test('bytes are copied from and to any place, and nothing beside them is touched', () => {
  for (const [Source, Target] of [
    [SharedArrayBuffer, ArrayBuffer],
    [ArrayBuffer, SharedArrayBuffer],
    [SharedArrayBuffer, SharedArrayBuffer],
  ] as const) {
    const source = new Uint8Array(new Source(300)).map((_, place) => (place * 7) % 251);
    for (const [from, length, at] of [
      [0, 300, 0],
      [3, 5, 11],
      [8, 256, 1],
      [9, 1, 299],
      [7, 0, 300],
    ] as const) {
      const target = new Uint8Array(new Target(300)).fill(255);
      const wanted = [...target];
      wanted.splice(at, length, ...source.subarray(from, from + length));
      copyShared(target, at, source.subarray(from, from + length));
      assert.deepEqual([...target], wanted);
    }
  }
});

test('what does not fit is refused before a byte is copied', () => {
  const target = new Uint8Array(new SharedArrayBuffer(4));
  assert.throws(() => copyShared(target, 2, Uint8Array.of(1, 2, 3)), RangeError);
  assert.deepEqual([...target], [0, 0, 0, 0]);
});
