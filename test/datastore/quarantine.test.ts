import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { FLAG_QUARANTINED } from '../../src/datastore/index/index-entry.ts';
import { type LoadedIndex, loadIndex } from '../../src/datastore/index/load-index.ts';
import { holdersPackFiles } from '../../src/datastore/packs/pack-files.ts';
import { QuarantineList } from '../../src/datastore/quarantine.ts';
import { SharedBuffers } from '../../src/util/shared-buffers.ts';
import { randomRecord, Store } from './fixture.ts';

function load(t: TestContext, store: Store): LoadedIndex {
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  return loadIndex(store.layout, store.storeId, shared, holdersPackFiles(store.layout));
}

const marked = ({ index }: LoadedIndex) => [...index.entries()].filter((entry) => index.has(entry, FLAG_QUARANTINED));

test('what was quarantined is quarantined again after a restart, copy by copy', async (t) => {
  const store = await Store.create(t);
  const made = randomRecord(10);
  store.sealedPack([made, randomRecord(11)]);
  const second = store.sealedPack([made]);
  const before = load(t, store);
  const list = await QuarantineList.load(store.layout, before.index, before.packs);
  assert.equal(list.count, 0);
  let entry = before.index.first(0, made.id);
  while (!before.packs.packId(before.index.pack(entry)).equals(second.packId)) entry = before.index.next();
  before.index.quarantine(entry);
  list.add(entry);
  assert.equal(list.count, 1);
  await list.flush();
  assert.deepEqual(JSON.parse(readFileSync(store.layout.quarantine, 'utf8')), {
    copies: [
      {
        id: made.id.toString('hex'),
        space: 0,
        pack: second.packId.toString('hex'),
        offset: second.appended[0]!.offset,
      },
    ],
  });
  const after = load(t, store);
  const again = await QuarantineList.load(store.layout, after.index, after.packs);
  assert.equal(again.count, 1);
  const found = marked(after);
  assert.equal(found.length, 1);
  assert.deepEqual(after.packs.packId(after.index.pack(found[0]!)), second.packId);
  rmSync(second.path);
  const without = load(t, store);
  assert.equal((await QuarantineList.load(store.layout, without.index, without.packs)).count, 0, 'its pack is gone');
  assert.deepEqual(marked(without), []);
});

test('several copies noted at once are all on disk after flush', async (t) => {
  const store = await Store.create(t);
  const { appended } = store.sealedPack([1, 2, 3, 4].map(randomRecord));
  const loaded = load(t, store);
  const list = await QuarantineList.load(store.layout, loaded.index, loaded.packs);
  for (const { id } of appended) list.add(loaded.index.first(0, id));
  await list.flush();
  const { copies } = JSON.parse(readFileSync(store.layout.quarantine, 'utf8')) as { copies: unknown[] };
  assert.equal(copies.length, 4);
});

test('a list that cannot be written is an error of flush, every time', async (t) => {
  const store = await Store.create(t);
  const { appended } = store.sealedPack([randomRecord(1)]);
  const loaded = load(t, store);
  const list = await QuarantineList.load(store.layout, loaded.index, loaded.packs);
  rmSync(store.layout.root, { recursive: true });
  list.add(loaded.index.first(0, appended[0]!.id));
  for (let n = 0; n < 2; n++) await assert.rejects(list.flush(), { code: 'ENOENT' });
});

test('a damaged list is refused: forgetting it would offer bad copies again', async (t) => {
  const store = await Store.create(t);
  const { index, packs } = load(t, store);
  for (const text of ['', '{}', '{"copies":[{"id":"x"}]}']) {
    writeFileSync(store.layout.quarantine, text);
    await assert.rejects(QuarantineList.load(store.layout, index, packs));
  }
});
