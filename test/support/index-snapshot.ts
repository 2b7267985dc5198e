// Writes the index snapshot of a store that is too small for the holder to write one by itself.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { loadIndex } from '../../src/datastore/index/load-index.ts';
import { writeIndexSnapshot } from '../../src/datastore/index/snapshot-writer.ts';
import { Layout } from '../../src/datastore/layout.ts';
import { holdersPackFiles } from '../../src/datastore/packs/pack-files.ts';
import { SharedBuffers } from '../../src/util/shared-buffers.ts';

/** Nobody may hold the store for writing meanwhile. Returns the path of the snapshot. */
export function writeSnapshotOf(repository: string): string {
  const layout = new Layout(repository);
  const storeId = Buffer.from((JSON.parse(readFileSync(layout.config, 'utf8')) as { store: string }).store, 'hex');
  const shared = new SharedBuffers(`test-${randomUUID()}`);
  try {
    const { index, packs } = loadIndex(layout, storeId, shared, holdersPackFiles(layout));
    writeIndexSnapshot(layout, storeId, index, packs);
    return layout.indexSnapshot;
  } finally {
    shared.close();
  }
}
