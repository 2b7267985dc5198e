import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { FLAG_QUARANTINED } from '../../src/datastore/index/index-entry.ts';
import { insertEntry } from '../../src/datastore/index/load-index.ts';
import { ObjectIndex } from '../../src/datastore/index/object-index.ts';
import { eachRef, IndexLocator, missing, ObjectSource } from '../../src/datastore/object-source.ts';
import { PackReader } from '../../src/datastore/packs/pack-reader.ts';
import { PackState } from '../../src/datastore/packs/pack-table.ts';
import { RecordFetcher } from '../../src/datastore/record-fetcher.ts';
import { Arena } from '../../src/util/arena.ts';
import { SharedBuffers } from '../../src/util/shared-buffers.ts';
import { type Appended, append, makeRecord, randomRecord, Store } from './fixture.ts';

interface Setup {
  readonly store: Store;
  readonly index: ObjectIndex;
  readonly source: ObjectSource;
  readonly locator: IndexLocator;
  readonly reported: number[];
  add(pack: number, records: readonly Appended[]): number[];
}

async function setUp(t: TestContext): Promise<Setup> {
  const store = await Store.create(t);
  const shared = new SharedBuffers(randomUUID());
  const index = ObjectIndex.create(shared, 0);
  const reported: number[] = [];
  const locator = new IndexLocator(index, store.packs, (entry) => reported.push(entry));
  const source = new ObjectSource(locator, new PackReader(store.layout, store.packs));
  t.after(() => {
    source.packs.close();
    shared.close();
  });
  const add = (pack: number, records: readonly Appended[]) =>
    records.map(({ id, space, offset, record, kind }) =>
      insertEntry(index, pack, { id, space, offset, length: record.length, kind, depth: 0 }),
    );
  return { store, index, source, locator, reported, add };
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}

test('reads objects of any kind by id, and says which one is missing', async (t) => {
  const { store, source, add } = await setUp(t);
  const page = makeRecord(randomBytes(30), Kind.page, randomBytes(64));
  const data = makeRecord(Buffer.alloc(5000, 'data'));
  const { pack, appended } = store.sealedPack([page, data]);
  add(pack, appended);
  assert.deepEqual(source.get(0, data.id), {
    kind: Kind.data,
    refs: Buffer.alloc(0),
    payload: Buffer.alloc(5000, 'data'),
  });
  assert.equal(source.get(0, page.id).refs.length, 64);
  const unknown = randomBytes(32) as ObjectId;
  const error = { code: 'object-missing', data: { id: unknown.toString('hex') } };
  assert.throws(() => source.get(0, unknown), error);
  assert.throws(() => source.get(3, data.id), { code: 'key-missing' });
  assert.throws(() => source.refs(3, data.id), { code: 'object-missing' });
  assert.throws(() => {
    throw missing(unknown);
  }, error);
});

test('a bad copy is quarantined once and reported, and the good one is read instead', async (t) => {
  const { store, index, source, locator, reported, add } = await setUp(t);
  const made = randomRecord(3000);
  const first = store.sealedPack([made]);
  const second = store.sealedPack([made]);
  const [bad] = add(first.pack, first.appended);
  const [good] = add(second.pack, second.appended);
  const order = locator.copies(0, made.id);
  assert.deepEqual([...order].sort(), [bad, good].sort());
  const worst = order[0] === bad ? first : second;
  flip(worst.path, worst.appended[0]!.offset + 60);
  for (let n = 0; n < 3; n++) assert.equal(source.get(0, made.id).payload.length, 3000);
  assert.deepEqual(reported, [order[0]]);
  assert.ok(index.has(order[0]!, FLAG_QUARANTINED));
  assert.deepEqual(locator.copies(0, made.id), [order[1]]);
  assert.equal(locator.readable(0, made.id), order[1]);
  assert.equal(locator.reliable(0, made.id), order[1]);
  locator.quarantine(order[1]!);
  assert.equal(locator.readable(0, made.id), -1);
  assert.equal(locator.reliable(0, made.id), -1);
  assert.throws(() => source.get(0, made.id), { code: 'object-missing' });
});

test('damage that the second read does not show is no damage', async (t) => {
  const { store, source, reported, add } = await setUp(t);
  const { pack, appended } = store.sealedPack([randomRecord(3000)]);
  add(pack, appended);
  const read = source.packs.read.bind(source.packs);
  let reads = 0;
  source.packs.read = (...place) => {
    const bytes = read(...place);
    if (reads++ === 0) bytes[100]! ^= 1;
    return bytes;
  };
  assert.equal(source.get(0, appended[0]!.id).payload.length, 3000);
  assert.deepEqual([reads, reported.length], [2, 0]);
});

test('the record of another object at the place is damage, although its checksum holds', async (t) => {
  const { store, source, reported, add } = await setUp(t);
  const { pack, appended } = store.sealedPack([randomRecord(100), randomRecord(100)]);
  const [first, second] = appended as [Appended, Appended];
  add(pack, [{ ...first, offset: second.offset }]);
  assert.throws(() => source.get(0, first.id), { code: 'object-damaged', message: /does not match its id/ });
  assert.equal(reported.length, 1);
});

test('a pack that cannot be opened for a reason of this process quarantines nothing', async (t) => {
  const { store, source, reported, add } = await setUp(t);
  const { pack, path, appended } = store.sealedPack([randomRecord(100)]);
  add(pack, appended);
  renameSync(path, `${path}.away`);
  symlinkSync(path, path);
  assert.throws(() => source.get(0, appended[0]!.id), { code: 'ELOOP' });
  rmSync(path);
  renameSync(`${path}.away`, path);
  assert.deepEqual(reported, []);
  assert.equal(source.get(0, appended[0]!.id).payload.length, 100);
});

test('of a condemned pack the durable copies are read and none is relied on (rules D2, D4)', async (t) => {
  const { store, index, locator, add } = await setUp(t);
  const writer = store.writer();
  const durable = append(writer, randomRecord(100));
  writer.barrier();
  const volatile = append(writer, randomRecord(100));
  writer.flush();
  add(writer.pack, [durable, volatile]);
  assert.ok(locator.readable(0, volatile.id) >= 0 && locator.reliable(0, volatile.id) >= 0);
  store.packs.setState(writer.pack, PackState.condemned);
  assert.ok(locator.readable(0, durable.id) >= 0);
  assert.equal(locator.readable(0, volatile.id), -1);
  assert.equal(locator.reliable(0, durable.id), -1);
  // Another copy, also a volatile one, brings the object back.
  const again = store.writer();
  const copy = append(again, volatile);
  const [entry] = add(again.pack, [copy]);
  assert.equal(locator.reliable(0, volatile.id), entry);
  assert.ok(locator.isData(entry!));
  assert.equal(index.count, 3);
});

test('refs are walked one by one; everything but data has refs to follow', () => {
  const ids = [randomBytes(32), randomBytes(32)];
  assert.deepEqual([...eachRef(Buffer.concat(ids))], ids);
  assert.deepEqual([...eachRef(Buffer.alloc(0))], []);
});

test('a fetch delivers records in the order asked, with one read for neighbours', async (t) => {
  const { store, source, add } = await setUp(t);
  const first = store.sealedPack([100, 70_000, 5, 80_000, 3000, 900_000, 900_000, 900_000].map(randomRecord));
  const second = store.sealedPack([randomRecord(3_000_000), randomRecord(10)]);
  add(first.pack, first.appended);
  add(second.pack, second.appended);
  const fetcher = new RecordFetcher(
    source,
    0,
    new Arena(65536 + RecordFetcher.bufferBytes + 8192).allocate(RecordFetcher.bufferBytes),
  );
  let reads = 0;
  const readRange = source.packs.readRange.bind(source.packs);
  source.packs.readRange = (...range) => {
    reads++;
    return readRange(...range);
  };
  const fetch = (wanted: readonly (Appended | undefined)[]) => {
    reads = 0;
    const got: (Buffer | undefined)[] = [];
    fetcher.fetch(
      wanted.map((each) => each?.id ?? randomBytes(32)),
      (place, record) => {
        assert.equal(place, got.length);
        got.push(record && Buffer.from(record));
      },
    );
    return got;
  };
  const [a, b, c, d, e, f, g, h] = first.appended;
  const records = (wanted: readonly (Appended | undefined)[]) => wanted.map((each) => each?.record);
  const check = (wanted: (Appended | undefined)[], expectedReads: number, expected = records(wanted)) => {
    assert.deepEqual(fetch(wanted), expected);
    assert.equal(reads, expectedReads);
  };
  check([a, b, c], 1);
  check([a, c], 2, [a!.record, c!.record]); // 70,000 bytes between them are more than is read over.
  check([c, e], 2);
  check([d, e], 1);
  check([c, b, a], 3);
  check([a, a], 2);
  check([f, g, h], 2); // More than one run.
  check([], 0);
  check([undefined, a, undefined], 1);
  const [large, small] = second.appended;
  check([large, small], 1, [undefined, small!.record]);
  check([a, small], 2);
});

test('a fetch that cannot read leaves the object to get, which looks at all copies', async (t) => {
  const { store, source, add } = await setUp(t);
  const made = randomRecord(500);
  const first = store.sealedPack([made]);
  add(first.pack, first.appended);
  const second = store.sealedPack([made]);
  add(second.pack, second.appended);
  const fetcher = new RecordFetcher(
    source,
    0,
    new Arena(65536 + RecordFetcher.bufferBytes + 8192).allocate(RecordFetcher.bufferBytes),
  );
  const entry = source.locator.copies(0, made.id)[0]!;
  rmSync(source.locator.pack(entry) === first.pack ? first.path : second.path);
  fetcher.fetch([made.id], (_, record) => assert.equal(record, undefined));
  assert.equal(fetcher.get(made.id).payload.length, 500);
});
