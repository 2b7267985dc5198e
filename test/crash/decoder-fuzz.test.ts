// The decoders against mutated bytes, with a fixed seed; `npm run soak` goes on with others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzDecoders } from './decoder-fuzz.ts';

const INPUTS = 600_000;
const DECODERS = 7;

test('every decoder answers mutated bytes with a value or with object-damaged', () => {
  const { taken, refused, findings } = fuzzDecoders(20_261_121, INPUTS);
  assert.deepEqual(findings, []);
  assert.equal(taken + refused, DECODERS * INPUTS);
  // Else the mutations are too small, or too large, to test anything.
  assert.ok(taken > INPUTS / 3 && refused > INPUTS, `${taken} taken, ${refused} refused`);
});
