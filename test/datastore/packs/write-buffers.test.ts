import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WriteBuffers } from '../../../src/datastore/packs/write-buffers.ts';
import { Arena } from '../../../src/util/arena.ts';

const MARGIN = 100_000;

test('256 buffers from exactly the announced arena: two large, fourteen small, the others tiny, none overlapping', () => {
  const arena = new Arena(65536 + WriteBuffers.arenaBytes(MARGIN));
  const buffers = new WriteBuffers(arena, MARGIN);
  const taken = [buffers.take(true), buffers.take(true), buffers.take(true)];
  assert.equal(taken[0]!.fullBytes, taken[1]!.fullBytes);
  assert.ok(taken[2]!.fullBytes < taken[0]!.fullBytes, 'the third large wish gets a small one');
  for (let n = 3; n < 256; n++) taken.push(buffers.take(n % 2 === 0));
  assert.throws(() => buffers.take(false), { code: 'too-many' });
  const areas = taken
    .map(({ pointer, bytes }) => [pointer, pointer + bytes.length] as const)
    .sort((a, b) => a[0] - b[0]);
  for (const [n, [start]] of areas.entries()) assert.ok(n === 0 || start >= areas[n - 1]![1]);
  assert.equal(taken.filter(({ fullBytes }) => fullBytes === taken[2]!.fullBytes).length, 14);
  const total = taken.reduce((sum, { fullBytes }) => sum + fullBytes, 0);
  assert.equal(total, 45 << 20, 'what many sessions can touch');
  for (const { bytes, fullBytes, pointer } of taken) {
    assert.equal(bytes.length, fullBytes + (fullBytes < taken[2]!.fullBytes ? 0 : MARGIN), 'tiny ones have no margin');
    assert.equal(pointer % 4096, 0);
    assert.equal(fullBytes % 4096, 0);
  }
});

test('what is given back is taken again, large as large', () => {
  const buffers = new WriteBuffers(new Arena(65536 + WriteBuffers.arenaBytes(MARGIN)), MARGIN);
  const large = buffers.take(true);
  const small = buffers.take(false);
  assert.ok(small.fullBytes < large.fullBytes);
  buffers.give(large);
  buffers.give(small);
  assert.equal(buffers.take(false), small);
  assert.equal(buffers.take(true), large);
});

test('when only large ones are left, small wishes get them', () => {
  const buffers = new WriteBuffers(new Arena(65536 + WriteBuffers.arenaBytes(MARGIN)), MARGIN);
  const sizes = Array.from({ length: 256 }, () => buffers.take(false).fullBytes);
  assert.equal(sizes.filter((size) => size > sizes[0]!).length, 2);
});
