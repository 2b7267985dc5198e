// Bytes wait until they are asked for, and whoever writes waits with them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Outlet, PART_BYTES } from '../../../src/agent/download/outlet.ts';

/** Writes all, each when the one before was taken; returns how many were taken so far. */
function writing(outlet: Outlet, all: readonly Buffer[]): () => number {
  let taken = 0;
  const next = (): void => {
    const bytes = all[taken];
    if (bytes !== undefined)
      outlet.write(bytes, () => {
        taken++;
        next();
      });
  };
  next();
  return () => taken;
}

test('a writer goes on until a part is full, and then waits until it was taken', async () => {
  let full = 0;
  const outlet = new Outlet(() => full++);
  const buffers = Array.from({ length: 8 }, () => randomBytes(PART_BYTES / 4));
  const taken = writing(outlet, buffers);
  await setImmediate();
  assert.deepEqual([taken(), full, outlet.isFull], [3, 1, true]);
  // Nothing goes on while nobody has taken anything, also when the writer is let on.
  outlet.resume();
  await setImmediate();
  assert.equal(taken(), 3);
  const parts = [outlet.take()];
  await setImmediate();
  assert.equal(taken(), 3);
  outlet.resume();
  await setImmediate();
  assert.deepEqual([taken(), full], [7, 2]);
  parts.push(outlet.take());
  assert.ok(outlet.isEmpty);
  assert.ok(Buffer.concat(parts).equals(Buffer.concat(buffers)));
});

test('a buffer longer than a part leaves in parts, in order and in memory of their own', async () => {
  const outlet = new Outlet(() => {});
  const long = randomBytes(2 * PART_BYTES + 100);
  const original = Buffer.from(long);
  const taken = writing(outlet, [Buffer.from('head'), long, Buffer.from('tail')]);
  await setImmediate();
  const parts: Uint8Array[] = [];
  for (let count = 0; count < 2; count++) {
    outlet.resume();
    await setImmediate();
    assert.equal(taken(), 1, 'the writer waits while more than a part is there');
    parts.push(outlet.take());
  }
  outlet.resume();
  await setImmediate();
  assert.equal(taken(), 3);
  parts.push(outlet.take());
  long.fill(0);
  assert.deepEqual(
    parts.map(({ length }) => length),
    [PART_BYTES, PART_BYTES, 4 + 100 + 4],
  );
  assert.ok(Buffer.concat(parts).equals(Buffer.concat([Buffer.from('head'), original, Buffer.from('tail')])));
  assert.equal(outlet.take().length, 0);
});
