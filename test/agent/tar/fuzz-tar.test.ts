import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzTar } from './fuzz-tar.ts';

test('mutated archives are taken or refused, and do nothing else', async () => {
  const { taken, refused } = await fuzzTar(1, 1500);
  // Both ways are walked, or the mutations are too weak or too strong.
  assert.ok(taken > 100, `${taken} taken`);
  assert.ok(refused > 100, `${refused} refused`);
});
