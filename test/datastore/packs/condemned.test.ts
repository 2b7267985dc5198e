import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { holdAsReader } from '../../../src/datastore/lock.ts';
import { dropPack, emptyCondemned } from '../../../src/datastore/packs/condemned.ts';
import { randomRecord, Store } from '../fixture.ts';

test('a dropped pack goes to condemned/ whole, and is deleted when no reader is left (rule G5)', async (t) => {
  const store = await Store.create(t);
  const { path, packId } = store.sealedPack([randomRecord(100)]);
  const bytes = readFileSync(path);
  await dropPack(store.layout, path, packId);
  assert.deepEqual(store.packFiles(), []);
  assert.deepEqual(readFileSync(store.layout.condemnedPack(packId)), bytes);
  const readers = [holdAsReader(store.layout), holdAsReader(store.layout)];
  await emptyCondemned(store.layout);
  readers[0]!.release();
  await emptyCondemned(store.layout);
  assert.equal(store.condemnedFiles().length, 1);
  readers[1]!.release();
  await emptyCondemned(store.layout);
  assert.deepEqual(store.condemnedFiles(), []);
  await emptyCondemned(store.layout);
  // The lock is given back: a new reader gets in.
  holdAsReader(store.layout).release();
});

test('a pack that cannot be moved stays', async (t) => {
  const store = await Store.create(t);
  const { packId } = store.sealedPack([randomRecord(100)]);
  await assert.rejects(dropPack(store.layout, store.layout.openPack(packId), packId), { code: 'ENOENT' });
  assert.equal(store.packFiles().length, 1);
});
