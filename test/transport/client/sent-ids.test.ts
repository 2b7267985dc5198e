import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { SentIds } from '../../../src/transport/client/sent-ids.ts';

test('an id is new once, at whichever end of the shared memory', () => {
  const here = new SentIds();
  const there = new SentIds(here.buffer);
  const ids = Array.from({ length: 10_000 }, () => randomBytes(32));
  for (const [place, id] of ids.entries()) assert.ok((place % 2 ? here : there).isNew(id));
  for (const id of ids) assert.ok(!here.isNew(id) && !there.isNew(id));
});

test('ids that differ in one of their first bytes alone are told apart, zeros too', () => {
  const sent = new SentIds();
  for (let byte = 0; byte < 8; byte++) assert.ok(sent.isNew(Buffer.alloc(32).fill(9, byte, byte + 1)), `${byte}`);
  assert.ok(sent.isNew(Buffer.alloc(32)));
  assert.ok(!sent.isNew(Buffer.alloc(32)));
});

test('where it is full, nothing is new', () => {
  const sent = new SentIds();
  // All of these belong to one slot.
  const id = (number: number): Buffer =>
    Buffer.concat([Buffer.from(BigInt64Array.of(BigInt(number)).buffer), Buffer.alloc(24)]);
  let fresh = 0;
  for (let number = 2; number < 100; number++) if (sent.isNew(id(number))) fresh++;
  assert.equal(fresh, 16);
});
