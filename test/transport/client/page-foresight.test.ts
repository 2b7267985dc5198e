import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectId } from '../../../src/chunker/object.ts';
import { PageForesight } from '../../../src/transport/client/page-foresight.ts';

const ID = Buffer.alloc(32) as Uint8Array as ObjectId;

function foresight(mayTrust: () => boolean): PageForesight {
  return new PageForesight(
    mayTrust,
    () => ID,
    () => undefined,
  );
}

test('after a page that was another one, four have to be as expected', () => {
  const pages = foresight(() => true);
  assert.ok(pages.isWorthIt);
  pages.learn(false);
  for (let turn = 0; turn < 4; turn++) {
    assert.ok(!pages.isWorthIt);
    pages.learn(true);
  }
  assert.ok(pages.isWorthIt);
  pages.learn(true);
  assert.ok(pages.isWorthIt);
});

test('where what is known may be bad, nothing is expected', () => {
  let isGood = true;
  const pages = foresight(() => isGood);
  assert.ok(pages.isWorthIt);
  isGood = false;
  assert.ok(!pages.isWorthIt);
});
