import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directoryOf, findPath, readDirectory } from '../../src/agent/tree/read-tree.ts';
import { encodeParts } from '../../src/chunker/directory.ts';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { ReadableDamage } from '../../src/datastore/archive-damage.ts';
import { TreeDamageWalk } from '../../src/datastore/tree-damage.ts';
import type { Archive } from '../../src/schema/manifest.ts';
import { fromText } from '../../src/util/byte-string.ts';
import { type Tree, TreeMemory } from '../support/tree-memory.ts';

const archive = (root: ObjectId): Archive => ({
  name: 'root.tree',
  kind: 'tree',
  sizeBytes: 42,
  root: root.toString('hex'),
});
const id = async (memory: TreeMemory, root: ObjectId, path: string): Promise<ObjectId> =>
  directoryOf(await findPath(memory.get, root, fromText(path)));

const TREE: Tree = {
  a: { pieces: ['one', 100, 'two', 'one'] },
  dir: { children: { list: { listed: ['three', 50, 'four'] }, x: 'inline' } },
  other: { children: { y: { pieces: ['five'] } } },
};

test('a tree that is whole, and reads no data', async () => {
  const memory = new TreeMemory();
  const root = await memory.root(TREE);
  assert.deepEqual(new TreeDamageWalk(memory).damage(archive(root)), { count: 0, first: [] });
  assert.ok(memory.reads.every((read) => memory.objects.get(read)?.kind !== Kind.data));
  assert.deepEqual(new ReadableDamage(memory).ranges(archive(root)), []);
});

test('files with lost pieces, of the entry and of a list, and how many bytes', async () => {
  const memory = new TreeMemory();
  const root = await memory.root(TREE);
  memory.loseData('one');
  memory.loseData('four');
  assert.deepEqual(new TreeDamageWalk(memory).damage(archive(root)), {
    count: 2,
    first: [
      { path: 'a', type: 'file', sizeBytes: 109, bytesLost: 6 },
      { path: 'dir/list', type: 'file', sizeBytes: 59, bytesLost: 4 },
    ],
  });
  assert.deepEqual(new ReadableDamage(memory).ranges(archive(root)), [{ archive: 'root.tree', offset: 0, length: 42 }]);
});

test('a lost list is all bytes of its file; a lost directory stands for what is below it; a lost root for all', async () => {
  const memory = new TreeMemory();
  const root = await memory.root(TREE);
  memory.lose((await findPath(memory.get, root, fromText('dir/list'))).refs);
  memory.lose(await id(memory, root, 'other'));
  assert.deepEqual(new TreeDamageWalk(memory).damage(archive(root)).first, [
    { path: 'dir/list', type: 'file', sizeBytes: 59, bytesLost: 59 },
    { path: 'other', type: 'directory', sizeBytes: null, bytesLost: null },
  ]);
  memory.lose(root);
  const whole = [{ path: '', type: 'directory', sizeBytes: null, bytesLost: null }];
  assert.deepEqual(new TreeDamageWalk(memory).damage(archive(root)), { count: 1, first: whole });
});

test('what is found bad when it is read, or is no directory, is lost', async () => {
  const memory = new TreeMemory();
  const root = await memory.root(TREE);
  memory.objects.set((await id(memory, root, 'dir')).toString('hex'), {
    kind: Kind.blob,
    refs: Buffer.alloc(0),
    payload: Buffer.from('x'),
  });
  memory.objects.set((await id(memory, root, 'other')).toString('hex'), {
    kind: Kind.directory,
    refs: Buffer.alloc(0),
    payload: Buffer.from('x'),
  });
  const { first } = new TreeDamageWalk(memory).damage(archive(root));
  assert.deepEqual(
    first.map(({ path }) => path),
    ['dir', 'other'],
  );
});

test('of a large directory the names of a lost part', async () => {
  const memory = new TreeMemory();
  const many = Object.fromEntries(Array.from({ length: 9000 }, (_, n) => [`n${String(n).padStart(5, '0')}`, '']));
  const root = await memory.root({ many: { children: many } });
  const { parts } = await readDirectory(memory.get, await id(memory, root, 'many'));
  assert.ok(parts !== undefined && parts.length >= 3);
  memory.lose(parts[1]!.id);
  memory.lose(parts.at(-1)!.id);
  const lost = { path: 'many', type: 'directory', sizeBytes: null, bytesLost: null };
  assert.deepEqual(new TreeDamageWalk(memory).damage(archive(root)).first, [
    { ...lost, namesFrom: parts[1]!.first, namesBefore: parts[2]!.first },
    { ...lost, namesFrom: parts.at(-1)!.first },
  ]);
});

test('a directory that many snapshots share is walked once, and its damage is named in each', async () => {
  const memory = new TreeMemory();
  const clean = { children: { c: { pieces: ['whole'] } } };
  const bad = { children: { b: { pieces: ['lost'] } } };
  const first = await memory.root({ bad, clean, n: '1' });
  const second = await memory.root({ bad, clean, n: '2' });
  memory.loseData('lost');
  const walk = new TreeDamageWalk(memory);
  assert.equal(walk.damage(archive(first)).count, 1);
  memory.reads.length = 0;
  assert.deepEqual(walk.damage(archive(second)).first, [{ path: 'bad/b', type: 'file', sizeBytes: 4, bytesLost: 4 }]);
  assert.equal(memory.reads.length, 3, 'root object, top, and what has damage to name');
});

test('a tree that names one damaged directory again and again: the number is right, the work and the paths are bounded', async () => {
  const memory = new TreeMemory();
  let directory = await memory.directory({ a: { pieces: ['lost'] }, b: { pieces: ['lost'] } });
  for (let level = 0; level < 6; level++) {
    const same = { directory };
    directory = await memory.directory(Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`d${n}`, same])));
  }
  const root = await memory.root({ top: { directory } });
  memory.loseData('lost');
  const { count, first } = new TreeDamageWalk(memory, 100).damage(archive(root));
  assert.equal(count, 2 * 10 ** 6);
  assert.equal(first.length, 100);
  assert.equal(new Set(first.map(({ path }) => path)).size, 100);
  assert.ok(memory.reads.length < 1000, `${memory.reads.length} reads`);
});

test('a tree that is very deep, and a path that is longer than any', async () => {
  const memory = new TreeMemory();
  let directory = await memory.directory({ end: { pieces: ['lost'] } });
  for (let depth = 0; depth < 5000; depth++) directory = await memory.directory({ dd: { directory } });
  const root = await memory.root({ top: { directory } });
  memory.loseData('lost');
  const { count, first } = new TreeDamageWalk(memory).damage(archive(root));
  assert.equal(count, 1);
  assert.match(first[0]!.path, /^\.\.\.[d/]+\/end$/);
  assert.equal(first[0]!.path.length, 4099);
});

test('names that are not UTF-8 come with their bytes', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ 'caf\\xe9': { pieces: ['lost'] }, café: { pieces: ['lost'] } });
  memory.loseData('lost');
  const { first } = new TreeDamageWalk(memory).damage(archive(root));
  const bytes = Buffer.from('caf\xe9', 'latin1').toString('base64');
  assert.deepEqual(
    first.map(({ path, pathBytes }) => [path, pathBytes]),
    [
      ['café', undefined],
      ['caf\\xe9', bytes],
    ],
  );
});

test('to know whether there is damage, no more is read than to the first', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ a: { children: { x: { pieces: ['lost'] } } }, b: { children: { y: '1' } } });
  memory.loseData('lost');
  memory.reads.length = 0;
  assert.equal(new ReadableDamage(memory).ranges(archive(root)).length, 1);
  assert.equal(memory.reads.length, 3);
});

test('an index of parts in place of a root is no root', async () => {
  const memory = new TreeMemory();
  const directory = await memory.directory({ a: '' });
  const { refs, payload } = encodeParts([{ first: fromText('a'), id: directory }]);
  const root = memory.put(Kind.directory, refs, payload);
  assert.equal(new TreeDamageWalk(memory).damage(archive(root)).count, 1);
});
