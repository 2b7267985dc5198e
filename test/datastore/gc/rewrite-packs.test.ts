// Rewriting of packs where the new one cannot be finished.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { type TestContext, test } from 'node:test';
import { PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { rewritePacks } from '../../../src/datastore/gc/rewrite-packs.ts';
import { EntrySet } from '../../../src/datastore/index/entry-set.ts';
import { IndexLocator } from '../../../src/datastore/object-source.ts';
import { commitImage, createTemporaryStore, OpenStore } from '../../support/store.ts';
import { makeBuffer } from '../fixture.ts';

/** As on a disk that is full, or fails, when the last blocks and the name of a pack are written. */
function failRenames(t: TestContext): () => void {
  const { mock } = t.mock.method(fs, 'renameSync', () => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  });
  syncBuiltinESMExports();
  return () => {
    mock.restore();
    syncBuiltinESMExports();
  };
}

test('a pack that cannot be sealed goes with the room that it took, and nothing of it is published', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { index, packs, layout, source } = open.store;
  const made = await commitImage(open, ['kept']);
  const entry = index.first(PLAIN_SPACE, made.root);
  const pack = index.pack(entry);
  const live = new EntrySet();
  live.add(entry);
  const environment = {
    ...{ layout, packs, source, live, epoch: 1, storeId: Buffer.from(open.store.config.store, 'hex') },
    locator: new IndexLocator(index, packs, () => {}),
    buffers: { take: () => makeBuffer(), give: () => {} } as never,
  };
  const files = (): string[] => fs.readdirSync(layout.packs).sort();
  const before = files();
  packs.setFlagged(pack, true);
  const restore = failRenames(t);
  assert.throws(() => rewritePacks(environment, packs.kind(pack), [pack]), { code: 'disk-full' });
  restore();
  assert.deepEqual(files(), before);
  assert.equal(index.first(PLAIN_SPACE, made.root), entry);
  assert.equal(source.get(PLAIN_SPACE, made.root).kind, 3);
  const { moved, kept } = rewritePacks(environment, packs.kind(pack), [pack]);
  assert.deepEqual([moved.length, kept.length], [2, 0]);
  packs.setFlagged(pack, false);
});
