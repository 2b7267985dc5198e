import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FoundEntry, walkTree } from '../../../../src/agent/tree/browse/walk-tree.ts';
import { directoryOf, findPath, readDirectory, readRoot } from '../../../../src/agent/tree/read-tree.ts';
import type { ObjectId } from '../../../../src/chunker/object.ts';
import { type ByteString, fromText } from '../../../../src/util/byte-string.ts';
import { type Tree, TreeMemory } from '../../../support/tree-memory.ts';

const TOP = '' as ByteString;
const FOREVER = Number.POSITIVE_INFINITY;

async function paths(batches: AsyncIterable<readonly FoundEntry[]>): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of batches) found.push(...batch.map(({ path }) => path));
  return found;
}

async function walk(memory: TreeMemory, root: ObjectId, path: string, maxDepth = FOREVER): Promise<string[]> {
  const where = fromText(path);
  return await paths(walkTree(memory.get, await findPath(memory.get, root, where), where, { maxDepth }));
}

test('a directory before what it holds, in the order of the names, as deep as asked for', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ b: { children: { y: '1', x: { children: { deep: '2' } } } }, a: '3', 'b-c': '4' });
  assert.deepEqual(await walk(memory, root, ''), ['', 'a', 'b', 'b/x', 'b/x/deep', 'b/y', 'b-c']);
  assert.deepEqual(await walk(memory, root, '', 0), ['']);
  assert.deepEqual(await walk(memory, root, '', 1), ['', 'a', 'b', 'b-c']);
  assert.deepEqual(await walk(memory, root, 'b', 1), ['b', 'b/x', 'b/y']);
  assert.deepEqual(await walk(memory, root, 'a'), ['a']);
});

test('a listing that is not deep reads nothing below', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ a: { children: { b: '1' } }, c: { pieces: ['data'] } });
  memory.reads.length = 0;
  await walk(memory, root, '', 1);
  assert.equal(memory.reads.length, 2, 'the root object and the top directory');
});

/** Names that begin several parts. */
function large(count: number): Tree {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`file-${String(n).padStart(6, '0')}`, `${n}`]));
}

test('of a large directory one part is held: the first names come before the last part is read', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ many: { children: large(20_000) }, z: 'last' });
  memory.reads.length = 0;
  const batches = walkTree(memory.get, await readRoot(memory.get, root), TOP, { maxDepth: FOREVER });
  const first = (await batches.next()).value as readonly FoundEntry[];
  assert.ok(first.length >= 500 && first.length < 4096);
  const readAtFirst = memory.reads.length;
  const rest = await paths(batches);
  assert.equal(first.length + rest.length, 20_003);
  assert.equal(rest.at(-1), 'z');
  assert.deepEqual(rest.slice(0, -1), [...rest.slice(0, -1)].sort());
  assert.ok(readAtFirst < memory.reads.length / 2, `${readAtFirst} of ${memory.reads.length}`);
});

test('a very deep tree is walked without recursion', async () => {
  const memory = new TreeMemory();
  const found = await walk(memory, await memory.chain(3000, 'here'), '');
  assert.equal(found.length, 3002);
  assert.equal(found.at(-1), `${'d/'.repeat(3000)}end`);
});

test('a lost directory is told, and all else is found; without anybody to tell it is the end', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ a: { children: { x: '1' } }, b: { children: { y: '2' } }, c: '3' });
  memory.lose(directoryOf(await findPath(memory.get, root, fromText('a'))));
  const lost: string[] = [];
  const onLost = (path: ByteString): void => void lost.push(path);
  const start = await readRoot(memory.get, root);
  const found = await paths(walkTree(memory.get, start, TOP, { maxDepth: FOREVER, onLost }));
  assert.deepEqual([found, lost], [['', 'a', 'b', 'b/y', 'c'], ['a']]);
  await assert.rejects(walk(memory, root, ''), { code: 'object-missing' });
});

test('of a large directory with a lost part the other parts are found', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ many: { children: large(20_000) } });
  const { parts } = await readDirectory(memory.get, directoryOf(await findPath(memory.get, root, fromText('many'))));
  assert.ok(parts !== undefined && parts.length > 3);
  memory.lose(parts[1]!.id);
  const lost: string[] = [];
  const onLost = (path: ByteString): void => void lost.push(path);
  const start = await readRoot(memory.get, root);
  const found = await paths(walkTree(memory.get, start, TOP, { maxDepth: FOREVER, onLost }));
  assert.deepEqual(lost, ['many']);
  const names = new Set(found);
  assert.ok(!names.has(`many/${parts[1]!.first}`));
  assert.ok(
    names.has(`many/${parts[0]!.first}`) && names.has(`many/${parts[2]!.first}`) && names.has('many/file-019999'),
  );
});
