// The decoders against mutated bytes, with a fixed seed; `npm run soak` goes on with others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzDecoders } from './decoder-fuzz.ts';

test('every decoder answers mutated bytes with a value or with object-damaged', () => {
  const { taken, refused, findings } = fuzzDecoders(20_261_121, 600_000);
  assert.deepEqual(findings, []);
  assert.equal(taken + refused, 7 * 150_000);
  // Else the mutations are too small, or too large, to test anything.
  assert.ok(taken > 50_000 && refused > 250_000, `${taken} taken, ${refused} refused`);
});
