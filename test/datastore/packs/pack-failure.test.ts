// Rule D2: a failed write, sync or rename condemns the pack; what was durable stays readable, the rest is withdrawn, and nothing is
// ever tried again. Failures are real ones: a full disk, a file system that aborted, a directory that is gone.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { test } from 'node:test';
import { insertEntry, loadIndex } from '../../../src/datastore/index/load-index.ts';
import { ObjectIndex } from '../../../src/datastore/index/object-index.ts';
import { IndexLocator } from '../../../src/datastore/object-source.ts';
import { holdersPackFiles } from '../../../src/datastore/packs/pack-files.ts';
import { PackState } from '../../../src/datastore/packs/pack-table.ts';
import type { PackWriter } from '../../../src/datastore/packs/pack-writer.ts';
import { SharedBuffers } from '../../../src/util/shared-buffers.ts';
import { skipSmallDisk, withSmallDisk } from '../../support/small-disk.ts';
import { type Appended, append, placeOf, randomRecord, Store, scanFile } from '../fixture.ts';

/** Which of the records may be read, and which may be relied on, through an index that has them all. */
function visible(
  store: Store,
  writer: PackWriter,
  records: readonly Appended[],
): { readable: boolean[]; reliable: boolean[] } {
  const shared = new SharedBuffers(randomUUID());
  const index = ObjectIndex.create(shared, 0);
  const locator = new IndexLocator(index, store.packs, () => {});
  for (const { id, space, offset, record, kind } of records) {
    insertEntry(index, writer.pack, { id, space, offset, length: record.length, kind, depth: 0 });
  }
  const readable = records.map(({ id, space }) => locator.readable(space, id) >= 0);
  const reliable = records.map(({ id, space }) => locator.reliable(space, id) >= 0);
  shared.close();
  return { readable, reliable };
}

/** A pack with a durable record and one that is not, condemned by `fail`. */
function condemn(
  store: Store,
  fail: (writer: PackWriter) => void,
): { writer: PackWriter; durable: Appended; volatile: Appended; error: Error } {
  const writer = store.writer();
  const durable = append(writer, randomRecord(5000));
  writer.barrier();
  const volatile = append(writer, randomRecord(6000));
  let error: Error | undefined;
  try {
    fail(writer);
  } catch (caught) {
    error = caught as Error;
  }
  assert.ok(error !== undefined, 'nothing failed');
  return { writer, durable, volatile, error };
}

function assertCondemned(store: Store, { writer, durable, volatile }: ReturnType<typeof condemn>): void {
  assert.equal(store.packs.state(writer.pack), PackState.condemned);
  assert.ok(!writer.isDurable && !store.packs.isWhollyDurable(writer.pack));
  for (const action of [() => writer.barrier(), () => writer.seal(), () => append(writer, randomRecord(1))]) {
    assert.throws(action, { code: 'pack-condemned' });
  }
  assert.deepEqual(visible(store, writer, [durable, volatile]), { readable: [true, false], reliable: [false, false] });
  assert.deepEqual(scanFile(store.openPath(writer))?.slice(0, 1), [placeOf(durable)]);
}

test('a full disk: disk-full, and the pack is condemned', { skip: skipSmallDisk() }, async (t) => {
  await withSmallDisk(16 << 20, async (disk) => {
    const store = await Store.create(t, disk.mountPath);
    const failed = condemn(store, (writer) => {
      disk.fill();
      for (let n = 0; n < 100; n++) append(writer, randomRecord(30_000));
    });
    assert.equal((failed.error as { code?: string }).code, 'disk-full');
    disk.release();
    assertCondemned(store, failed);
    const again = store.writer();
    append(again, randomRecord(9000));
    again.seal();
    assert.equal(store.packs.state(again.pack), PackState.sealed);
  });
});

test('a sync that fails: write-failed, and it is not tried again', { skip: skipSmallDisk() }, async (t) => {
  await withSmallDisk(16 << 20, async (disk) => {
    const store = await Store.create(t, disk.mountPath);
    const failed = condemn(store, (writer) => {
      writer.flush();
      disk.abort();
      writer.barrier();
    });
    assert.equal((failed.error as { code?: string }).code, 'write-failed');
    assertCondemned(store, failed);
  });
});

test('a directory that cannot be synced: what was written is not durable', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  const record = append(writer, randomRecord(100));
  renameSync(store.layout.packs, `${store.layout.packs}-away`);
  assert.throws(() => writer.barrier(), { code: 'write-failed' });
  renameSync(`${store.layout.packs}-away`, store.layout.packs);
  assert.equal(store.packs.state(writer.pack), PackState.condemned);
  assert.ok(!store.packs.isDurable(writer.pack, record.offset + record.record.length));
  assert.deepEqual(visible(store, writer, [record]), { readable: [false], reliable: [false] });
});

test('a rename that fails: condemned, although everything in the pack is durable and stays readable', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  const record = append(writer, randomRecord(100));
  writer.barrier();
  renameSync(store.layout.packs, `${store.layout.packs}-away`);
  assert.throws(() => writer.seal(), { code: 'write-failed', message: /cannot rename/ });
  renameSync(`${store.layout.packs}-away`, store.layout.packs);
  assert.equal(store.packs.state(writer.pack), PackState.condemned);
  assert.deepEqual(visible(store, writer, [record]), { readable: [true], reliable: [false] });
  assert.deepEqual(scanFile(store.openPath(writer)), [placeOf(record)]);
});

test('a flush of a condemned pack raises, unless everything was handed over before', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  append(writer, randomRecord(100));
  renameSync(store.layout.packs, `${store.layout.packs}-away`);
  assert.throws(() => writer.barrier());
  renameSync(`${store.layout.packs}-away`, store.layout.packs);
  assert.doesNotThrow(() => writer.flush());
  assert.throws(() => append(writer, randomRecord(100)), { code: 'pack-condemned' });
});

test('a condemned pack is not part of the index at the next open', async (t) => {
  const store = await Store.create(t);
  const writer = store.writer();
  append(writer, randomRecord(100));
  renameSync(store.layout.packs, `${store.layout.packs}-away`);
  assert.throws(() => writer.barrier());
  renameSync(`${store.layout.packs}-away`, store.layout.packs);
  const shared = new SharedBuffers(randomUUID());
  t.after(() => shared.close());
  assert.equal(loadIndex(store.layout, store.storeId, shared, holdersPackFiles(store.layout)).index.count, 0);
});
