import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemberTree, TreeDirectory, TreeFile } from '../../../src/agent/tar/member-tree.ts';
import { bytes } from './archives.ts';

const damaged = { code: 'source-failed' };

function newTree(): { tree: MemberTree; warnings: string[] } {
  const warnings: string[] = [];
  return { tree: new MemberTree((message) => void warnings.push(message)), warnings };
}

/** The paths of a tree; files with the number of their inode. */
function shown(directory: TreeDirectory, above = ''): string[] {
  return [...directory.children].flatMap(([name, child]) =>
    child instanceof TreeFile
      ? [`${above}${name}${child.inode === 0 ? '' : ` #${child.inode}`}`]
      : [`${above}${name}/`, ...shown(child, `${above}${name}/`)],
  );
}

test('members in any order, directories that nobody named, dots and slashes', () => {
  const { tree, warnings } = newTree();
  tree.file(bytes('./a/b//c'));
  tree.directory(bytes('a/'));
  tree.file(bytes('a/./d'));
  assert.equal(tree.directory(bytes('./')), tree.top);
  assert.deepEqual(shown(tree.top), ['a/', 'a/b/', 'a/b/c', 'a/d']);
  assert.deepEqual(warnings, []);
});

test('the last member of one name holds; a directory keeps what is in it', () => {
  const { tree, warnings } = newTree();
  const first = tree.file(bytes('f'));
  const second = tree.file(bytes('f'));
  assert.notEqual(first, second);
  assert.equal(tree.top.children.get(bytes('f')), second);
  tree.file(bytes('d/x'));
  tree.directory(bytes('d'));
  assert.deepEqual(shown(tree.top), ['f', 'd/', 'd/x']);
  tree.directory(bytes('f'));
  assert.ok(tree.top.children.get(bytes('f')) instanceof TreeDirectory);
  tree.file(bytes('d'));
  assert.deepEqual(shown(tree.top), ['f/', 'd']);
  assert.match(warnings.join(), /d takes the place of a directory/);
});

test('hard links share a file, with the one that was there when the link came', () => {
  const { tree } = newTree();
  tree.file(bytes('a'));
  tree.link(bytes('d/b'), bytes('./a'));
  tree.link(bytes('c'), bytes('/d/b'));
  tree.file(bytes('a'));
  assert.deepEqual(shown(tree.top), ['a', 'd/', 'd/b #1', 'c #1']);
  assert.equal(
    (tree.top.children.get(bytes('d')) as TreeDirectory).children.get(bytes('b')),
    tree.top.children.get(bytes('c')),
  );
  assert.throws(() => tree.link(bytes('x'), bytes('missing')), { ...damaged, message: /x is a hard link to missing/ });
  assert.throws(() => tree.link(bytes('x'), bytes('d')), damaged);
  assert.throws(() => tree.link(bytes('x'), bytes('a/b')), damaged);
});

test('names that lead elsewhere', () => {
  const { tree, warnings } = newTree();
  tree.file(bytes('/etc/passwd'));
  tree.file(bytes('//etc/group'));
  assert.deepEqual(shown(tree.top), ['etc/', 'etc/passwd', 'etc/group']);
  assert.equal(warnings.length, 1);
  for (const path of ['../x', 'a/../x', '/..', 'etc/..'])
    assert.throws(() => tree.file(bytes(path)), { ...damaged, message: /upwards/ });
  assert.throws(() => tree.link(bytes('x'), bytes('../etc/passwd')), damaged);
  assert.throws(() => tree.file(bytes('etc/passwd/below')), { ...damaged, message: /below passwd/ });
  assert.throws(() => tree.file(bytes('.')), { ...damaged, message: /top directory/ });
  assert.throws(() => tree.file(bytes('x'.repeat(256))), { ...damaged, message: /256 bytes/ });
  tree.file(bytes('x'.repeat(255)));
  assert.throws(() => tree.directory(bytes('d/'.repeat(4097))), { ...damaged, message: /4096 directories/ });
  tree.directory(bytes('e/'.repeat(4096)));
});
