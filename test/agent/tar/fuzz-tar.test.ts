import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzTar } from './fuzz-tar.ts';

test('mutated archives are taken or refused, and do nothing else', async () => {
  const { taken, refused } = await fuzzTar(1, 6000);
  // Both ways are walked, or the mutations are too weak or too strong.
  assert.ok(taken > 500, `${taken} taken`);
  assert.ok(refused > 500, `${refused} refused`);
});
