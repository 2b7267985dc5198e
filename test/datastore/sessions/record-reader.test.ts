// Records as they are read for clients elsewhere: neighbours and single ones, a bad copy beside a good one, and what only lies in the buffer of the
// thread that writes it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Kind } from '../../../src/chunker/object.ts';
import { EntrySet } from '../../../src/datastore/index/entry-set.ts';
import { FLAG_DATA, FLAG_QUARANTINED } from '../../../src/datastore/index/index-entry.ts';
import { ObjectIndex } from '../../../src/datastore/index/object-index.ts';
import { IndexLocator, ObjectSource } from '../../../src/datastore/object-source.ts';
import { PackReader } from '../../../src/datastore/packs/pack-reader.ts';
import { RecordReader } from '../../../src/datastore/sessions/record-reader.ts';
import { Arena } from '../../../src/util/arena.ts';
import { SharedBuffers } from '../../../src/util/shared-buffers.ts';
import { type Appended, appendFinished, makeRecord, randomRecord, Store } from '../fixture.ts';

const BUFFER_BYTES = 256 * 1024;

async function rig(t: TestContext) {
  const store = await Store.create(t);
  const shared = new SharedBuffers(`record-reader-${process.pid}-${randomBytes(4).toString('hex')}`);
  t.after(() => shared.close());
  const index = ObjectIndex.create(shared, 100);
  const locator = new IndexLocator(index, store.packs, () => {});
  const source = new ObjectSource(locator, new PackReader(store.layout, store.packs));
  t.after(() => source.packs.close());
  const readable = new EntrySet();
  const readBuffer = new Arena(65536 * 2 + BUFFER_BYTES).allocate(BUFFER_BYTES).bytes;
  const reader = new RecordReader({ locator, source, readBuffer }, { space: 0, readable });
  const publish = (pack: number, { id, offset, record, kind }: Appended): number =>
    index.insert(0, id, pack, offset, record.length | (kind === Kind.data ? FLAG_DATA : 0));
  const read = (ids: readonly Uint8Array[], maxBytes = 1 << 20): (Buffer | undefined)[] => {
    const found: (Buffer | undefined)[] = [];
    for (let next = 0; next < ids.length; ) {
      const part = reader.read(Buffer.concat(ids), next, maxBytes);
      assert.ok(part.next > next);
      next = part.next;
      for (let at = 0; at < part.bytes.length; ) {
        const length = part.bytes.readUInt32LE(at);
        found.push(length === 0 ? undefined : Buffer.from(part.bytes.subarray(at + 4, at + 4 + length)));
        at += 4 + length;
      }
    }
    assert.equal(found.length, ids.length);
    return found;
  };
  return { store, index, locator, readable, publish, read };
}

test('records of all sizes in any order, in parts of any length', async (t) => {
  const { store, readable, publish, read } = await rig(t);
  const records = [10, 50_000, 300_000, 0, 90_000, 90_000, 90_000, 5, 400_000].map(randomRecord);
  const { pack, appended } = store.sealedPack(records);
  for (const each of appended) readable.add(publish(pack, each));
  const orders = [appended, appended.toReversed(), [...appended, ...appended]];
  for (const order of orders)
    for (const maxBytes of [1, 100_000, 1 << 22])
      assert.deepEqual(
        read(
          order.map(({ id }) => id),
          maxBytes,
        ),
        order.map(({ record }) => record),
      );
});

test('a bad copy is read around and quarantined; without a good one there is nothing', async (t) => {
  const { store, index, readable, publish, read } = await rig(t);
  const [one, two, three] = [randomRecord(1000), randomRecord(1000), randomRecord(1000)];
  const bad = store.sealedPack([one, two, three]);
  const good = store.sealedPack([two]);
  const entries = bad.appended.map((each) => publish(bad.pack, each));
  const other = publish(good.pack, good.appended[0]!);
  for (const entry of entries) readable.add(entry);
  const bytes = readFileSync(bad.path);
  for (const { offset } of bad.appended.slice(1)) bytes[offset + 500]! ^= 1;
  writeFileSync(bad.path, bytes);
  assert.deepEqual(read([one.id, two.id, three.id]), [one.record, two.record, undefined]);
  assert.deepEqual(
    [...entries, other].map((entry) => index.has(entry, FLAG_QUARANTINED)),
    [false, true, true, false],
  );
});

test('what is still in a buffer is not read, and not taken for damaged', async (t) => {
  const { store, index, readable, publish, read } = await rig(t);
  const writer = store.writer();
  const data = appendFinished(writer, randomRecord(1000));
  const entry = publish(writer.pack, data);
  readable.add(entry);
  assert.deepEqual(read([data.id]), [undefined]);
  assert.equal(index.has(entry, FLAG_QUARANTINED), false);
  writer.flush();
  assert.deepEqual(read([data.id]), [data.record]);
  writer.close();
});

test('what a record names opens when the record was served, and not when it was bad', async (t) => {
  const { store, index, readable, publish, read } = await rig(t);
  const child = randomRecord(100);
  const parent = makeRecord(Buffer.from('x'), Kind.blob, child.id);
  const { pack, appended, path } = store.sealedPack([child, parent]);
  const [, parentEntry] = appended.map((each) => publish(pack, each));
  assert.deepEqual(read([parent.id, child.id]), [undefined, undefined]);
  readable.add(parentEntry!);
  const whole = readFileSync(path);
  const spoiled = Buffer.from(whole);
  spoiled[appended[1]!.offset + 60]! ^= 1;
  writeFileSync(path, spoiled);
  assert.deepEqual(read([parent.id, child.id]), [undefined, undefined]);
  writeFileSync(path, whole);
  index.release(parentEntry!);
  assert.deepEqual(read([child.id, parent.id, child.id]), [undefined, parent.record, child.record]);
});
