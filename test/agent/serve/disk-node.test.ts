// Lists and pages as tables, and the bounded cache of them: checked against what their parents say, read once, the one used least recently gives way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childAt, type DiskNode, NodeCache, parseNode } from '../../../src/agent/serve/disk-node.ts';
import { DiskTree } from '../../../src/agent/serve/disk-tree.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../../src/chunker/object.ts';
import { PageBuilder } from '../../../src/chunker/page.ts';
import { MemoryStore } from './rig.ts';

const ID = Buffer.alloc(32, 7) as ObjectId;
/** Of one child: what `NodeCache` counts it with. */
const CHILD_BYTES = 160;

const node = (children: number): DiskNode => ({
  childKind: Kind.data,
  ends: Float64Array.from({ length: children }, (_, place) => place + 1),
  ids: Array.from({ length: children }, () => undefined),
});

test('a page has holes and data where it says, and is none of another kind or length', () => {
  const builder = new PageBuilder();
  builder.addHole(10);
  builder.addData(5, ID);
  builder.addHole(1);
  const page = { kind: Kind.page, ...builder.finish() };
  const { childKind, ends, ids } = parseNode(page, Kind.page, 16);
  assert.deepEqual([childKind, [...ends], ids], [Kind.data, [10, 15, 16], [undefined, ID, undefined]]);
  for (const bytes of [15, 17]) assert.throws(() => parseNode(page, Kind.page, bytes), { code: 'object-damaged' });
  assert.throws(() => parseNode(page, Kind.list, 16), /an object of kind \d+ stands where one of kind/);
  const list = {
    kind: Kind.list,
    ...encodeList({ childKind: Kind.page, height: 1, entries: [{ length: 16, id: ID }] }),
  };
  assert.throws(() => parseNode(list, Kind.page, 16), /an object of kind \d+ stands where one of kind/);
});

test('the child of a byte is the one that begins at it or before', () => {
  const { ends } = { ends: Float64Array.from([10, 15, 16]) };
  const table = { ...node(3), ends };
  assert.deepEqual(
    [0, 9, 10, 14, 15].map((offset) => childAt(table, offset)),
    [0, 0, 1, 1, 2],
  );
});

test('nodes are kept as long as there is room, those used last the longest, and one that is too large alone', async () => {
  const cache = new NodeCache(10 * CHILD_BYTES);
  const reads: string[] = [];
  const get = async (key: string, children: number): Promise<DiskNode> =>
    await cache.get(key, async () => {
      reads.push(key);
      return node(children);
    });
  await get('a', 4);
  await get('b', 3);
  await get('c', 3);
  assert.ok(cache.find('a'));
  await get('d', 3);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => cache.find(key) !== undefined),
    [true, false, true, true],
  );
  for (let round = 0; round < 20; round++) await get(`e${round}`, 3);
  assert.deepEqual(
    ['e16', 'e17', 'e18', 'e19'].map((key) => cache.find(key) !== undefined),
    [false, true, true, true],
  );
  await get('large', 1000);
  assert.ok(cache.find('large'));
  assert.equal(cache.find('e19'), undefined);
  await get('a', 4);
  assert.equal(cache.find('large'), undefined);
  await get('b', 3);
  await get('c', 3);
  reads.length = 0;
  for (const key of ['a', 'b', 'c']) await get(key, 3);
  assert.deepEqual(reads, [], 'what gave way is not counted any more');
});

test('who asks for a node that is being read waits for that; one that failed is read again', async () => {
  const cache = new NodeCache(10 * CHILD_BYTES);
  let reads = 0;
  const read = async (): Promise<DiskNode> => {
    reads++;
    await new Promise((resolve) => setImmediate(resolve));
    if (reads === 1) throw new Error('away');
    return node(1);
  };
  const outcomes = await Promise.allSettled([cache.get('a', read), cache.get('a', read)]);
  assert.deepEqual([outcomes.map(({ status }) => status), reads], [['rejected', 'rejected'], 1]);
  const [one, other] = await Promise.all([cache.get('a', read), cache.get('a', read)]);
  assert.equal(one, other);
  assert.equal(reads, 2);
});

test('what one disk has read says nothing of an object in another space, or in a place of another length or kind', async () => {
  const store = new MemoryStore();
  const cache = new NodeCache(1000 * CHILD_BYTES);
  const { archive } = await store.image([{ length: 5000, seed: 1 }]);
  const read = async (space: number, id: ObjectId) => {
    spaces.push(space);
    return store.get(id);
  };
  const spaces: number[] = [];
  const open = (root: string, sizeBytes: number, space: number) =>
    new DiskTree({ ...archive, root, sizeBytes }, space, cache, read);
  await open(archive.root, 5000, 0).leafAt(0);
  await open(archive.root, 5000, 0).leafAt(4999);
  assert.deepEqual(spaces, [0, 0], 'list and page once');
  await assert.rejects(open(archive.root, 5001, 0).leafAt(0), { code: 'object-damaged' });
  spaces.length = 0;
  await open(archive.root, 5000, 1).leafAt(0);
  assert.deepEqual(spaces, [1, 1]);
  const page = [...store.objects].find(([, { kind }]) => kind === Kind.page)![0];
  await assert.rejects(open(page, 5000, 0).leafAt(0), { code: 'object-damaged' });
});
