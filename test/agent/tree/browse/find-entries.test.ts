import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entryTest, type FindConditions } from '../../../../src/agent/tree/browse/find-entries.ts';
import { walkTree } from '../../../../src/agent/tree/browse/walk-tree.ts';
import { readRoot } from '../../../../src/agent/tree/read-tree.ts';
import { FileType } from '../../../../src/chunker/stat-block.ts';
import type { ByteString } from '../../../../src/util/byte-string.ts';
import { display } from '../../../../src/util/byte-string.ts';
import { type Tree, TreeMemory } from '../../../support/tree-memory.ts';

const NONE: FindConditions = {
  name: undefined,
  path: undefined,
  type: undefined,
  newerThanNs: undefined,
  olderThanNs: undefined,
  largerThanBytes: undefined,
};
const TREE: Tree = {
  'a.conf': { inline: 'x', stat: { mtimeNs: 100n } },
  big: { listed: ['12345', 100] },
  etc: { children: { 'b.conf': '12345', 'b.config': '', 'grün.conf': '1' } },
  link: { inline: 'a-longer-target', stat: { mode: FileType.symlink | 0o777 } },
  pipe: { stat: { mode: FileType.fifo | 0o644 } },
};

async function found(conditions: Partial<FindConditions>): Promise<string[]> {
  const memory = new TreeMemory();
  const start = await readRoot(memory.get, await memory.root(TREE));
  const test = entryTest({ ...NONE, ...conditions });
  const paths: string[] = [];
  for await (const batch of walkTree(memory.get, start, '' as ByteString, { maxDepth: 9 }))
    paths.push(...batch.filter(test).map(({ path }) => display(path)));
  return paths;
}

test('names, paths, types, times and sizes', async () => {
  assert.deepEqual(await found({ name: '*.conf' }), ['a.conf', 'etc/b.conf', 'etc/grün.conf']);
  assert.deepEqual(await found({ name: 'gr?n.conf' }), ['etc/grün.conf'], 'a character, not a byte');
  assert.deepEqual(await found({ path: '/etc/*.conf' }), ['etc/b.conf', 'etc/grün.conf']);
  assert.deepEqual(await found({ path: '*conf' }), ['a.conf', 'etc/b.conf', 'etc/grün.conf'], 'a star passes a slash');
  assert.deepEqual(await found({ type: 'd' }), ['', 'etc']);
  assert.deepEqual(await found({ type: 'l,p' }), ['link', 'pipe']);
  assert.deepEqual(await found({ olderThanNs: 101n }), ['a.conf']);
  assert.deepEqual(await found({ olderThanNs: 100n }), []);
  assert.deepEqual(await found({ newerThanNs: 99n, type: 'f', name: 'a*' }), ['a.conf']);
  assert.deepEqual(await found({ newerThanNs: 100n, name: 'a*' }), []);
  assert.deepEqual(await found({ largerThanBytes: 4 }), ['big', 'etc/b.conf']);
  assert.deepEqual(await found({ largerThanBytes: 5 }), ['big']);
});

test('a type that there is not is refused', () => {
  assert.throws(() => entryTest({ ...NONE, type: 'x' }), { code: 'bad-argument' });
});
