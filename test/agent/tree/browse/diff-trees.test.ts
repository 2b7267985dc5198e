import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { diffTrees, type TreeChange } from '../../../../src/agent/tree/browse/diff-trees.ts';
import { directoryOf, findPath } from '../../../../src/agent/tree/read-tree.ts';
import type { ObjectId } from '../../../../src/chunker/object.ts';
import { FileType } from '../../../../src/chunker/stat-block.ts';
import { fromText } from '../../../../src/util/byte-string.ts';
import { type Tree, TreeMemory } from '../../../support/tree-memory.ts';

async function changes(memory: TreeMemory, before: ObjectId, after: ObjectId): Promise<TreeChange[]> {
  const found: TreeChange[] = [];
  await diffTrees(memory.get, before, after, async (batch) => void found.push(...batch));
  return found;
}

async function lines(before: Tree, after: Tree): Promise<string[]> {
  const memory = new TreeMemory();
  const found = await changes(memory, await memory.root(before), await memory.root(after));
  return found.map(({ kind, path, fields }) => [kind, path, ...fields].join(' '));
}

test('added, removed and changed files, and directories with all that they hold', async () => {
  const same = { children: { same: 'equal' } };
  const before = { a: '1', gone: { children: { x: '2', y: { children: { z: '3' } } } }, keep: same, s: 'long' };
  const after = { a: '9', keep: same, new: { children: { x: '2' } }, s: 'longer' };
  assert.deepEqual(await lines(before, after), [
    'changed a',
    'removed gone',
    'removed gone/x',
    'removed gone/y',
    'removed gone/y/z',
    'added new',
    'added new/x',
    'changed s',
  ]);
});

test('what was renamed is removed and added', async () => {
  assert.deepEqual(await lines({ old: { pieces: ['x'] } }, { new: { pieces: ['x'] } }), ['added new', 'removed old']);
});

test('metadata alone is marked as such, with what differs; change times, inodes and link numbers do not count', async () => {
  const file = { pieces: ['data'] };
  const before: Tree = { m: file, o: file, t: file, x: file, c: file, b: file };
  const after: Tree = {
    m: { ...file, stat: { mode: FileType.file | 0o4755 } },
    o: { ...file, stat: { gid: 5 } },
    t: { ...file, stat: { mtimeNs: 1n } },
    x: { ...file, xattrs: { 'user.a': '1' } },
    c: { ...file, stat: { ctimeNs: 5n, inode: 77n, nlink: 2 }, marks: 1 },
    b: { pieces: ['date'], stat: { attributes: 0x10 } },
  };
  assert.deepEqual(await lines(before, after), [
    'changed b attributes',
    'metadata m mode',
    'metadata o owner',
    'metadata t mtime',
    'metadata x xattrs',
  ]);
});

test('another type is another thing: removed with what it held, and added', async () => {
  const after = { a: 'a file now', l: { inline: 'target', stat: { mode: FileType.symlink | 0o777 } } };
  assert.deepEqual(await lines({ a: { children: { x: '1' } }, l: 'target' }, after), [
    'removed a',
    'removed a/x',
    'added a',
    'removed l',
    'added l',
  ]);
});

test('a file of a list, a changed target, a file that could not be read', async () => {
  const link = (inline: string) => ({ inline, stat: { mode: FileType.symlink | 0o777 } });
  const before: Tree = { big: { listed: ['a', 'b'] }, l: link('x'), u: 'read' };
  const after: Tree = { big: { listed: ['a', 'c'] }, l: link('y'), u: { errno: 13, stat: { sizeBytes: 4 } } };
  assert.deepEqual(await lines(before, after), ['changed big', 'changed l', 'changed u']);
});

test('only what differs is read: of a large directory the parts that differ, and no equal directory', async () => {
  const memory = new TreeMemory();
  const many: Record<string, string> = {};
  for (let n = 0; n < 20_000; n++) many[`file-${String(n).padStart(6, '0')}`] = `${n}`;
  const quiet = { children: { a: { children: { b: '1' } } } };
  const before = await memory.root({ many: { children: many }, quiet });
  const after = await memory.root({
    many: { children: { ...many, 'file-010000': 'other', 'file-010000x': '' } },
    quiet,
  });
  memory.reads.length = 0;
  const found = await changes(memory, before, after);
  assert.deepEqual(
    found.map(({ kind, path }) => [kind, path]),
    [
      ['changed', 'many/file-010000'],
      ['added', 'many/file-010000x'],
    ],
  );
  // Root object, top, index of parts, and a part or two, of each.
  assert.ok(memory.reads.length <= 10, `${memory.reads.length} objects were read`);
});

test('equal trees differ in nothing, and nothing is read', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({ a: '1' });
  memory.reads.length = 0;
  assert.deepEqual(await changes(memory, root, root), []);
  assert.equal(memory.reads.length, 0);
});

test('a tree that is very deep', async () => {
  const memory = new TreeMemory();
  const found = await changes(memory, await memory.chain(3000, 'a'), await memory.chain(3000, 'b'));
  assert.deepEqual(
    found.map(({ kind, path }) => [kind, path.length]),
    [['changed', 3000 * 2 + 3]],
  );
});

test('a lost directory that differs ends it, and its path is said; one that does not differ is not missed', async () => {
  const memory = new TreeMemory();
  const kept = { children: { k: '1' } };
  const before = await memory.root({ a: { children: { x: '1' } }, kept });
  const after = await memory.root({ a: { children: { x: '2' } }, kept });
  memory.lose(directoryOf(await findPath(memory.get, before, fromText('kept'))));
  assert.equal((await changes(memory, before, after)).length, 1);
  memory.lose(directoryOf(await findPath(memory.get, after, fromText('a'))));
  await assert.rejects(changes(memory, before, after), { code: 'object-missing', message: /directory \/a cannot be/ });
});

test('any two trees: exactly the paths that differ', async () => {
  const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.dictionary(
      fc.constantFrom('a', 'b', 'c', 'é'),
      fc.oneof({ maxDepth: 3 }, fc.constantFrom('1', '2'), fc.record({ children: tie('tree') })),
      { maxKeys: 4 },
    ) as fc.Arbitrary<Tree>,
  }));
  await fc.assert(
    fc.asyncProperty(tree, tree, async (before, after) => {
      const expected = new Set<string>();
      const [old, fresh] = [flat(before), flat(after)];
      for (const [path, content] of old) {
        if (fresh.get(path) === content) continue;
        const both = fresh.has(path) && content !== '/' && fresh.get(path) !== '/';
        expected.add(`${both ? 'changed' : 'removed'} ${path}`);
      }
      for (const [path, content] of fresh) {
        const known = old.get(path);
        if (known === undefined || (known !== content && (known === '/' || content === '/')))
          expected.add(`added ${path}`);
      }
      assert.deepEqual(new Set(await lines(before, after)), expected);
    }),
    { numRuns: 200 },
  );
});

/** Content by path; a slash for a directory. */
function flat(tree: Tree, prefix = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, node] of Object.entries(tree)) {
    const path = `${prefix}${fromText(name)}`;
    if (typeof node === 'string') found.set(path, node);
    else {
      found.set(path, '/');
      for (const [below, content] of flat(node.children as Tree, `${path}/`)) found.set(below, content);
    }
  }
  return found;
}
