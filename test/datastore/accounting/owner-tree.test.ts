import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OwnerTree, WHOLE_DATASTORE } from '../../../src/datastore/accounting/owner-tree.ts';
import type { SnapshotName } from '../../../src/datastore/snapshots/group-store.ts';

const name = (ns: string, group: string, time: number) => ({ ns, group, time }) as SnapshotName;

test('two snapshots meet in their group, groups in their namespace, namespaces in the one above both', () => {
  const tree = new OwnerTree();
  const one = tree.snapshot(name('a/b', 'vm/1', 1));
  const two = tree.snapshot(name('a/b', 'vm/1', 2));
  const otherGroup = tree.snapshot(name('a/b', 'vm/2', 1));
  const sibling = tree.snapshot(name('a/c', 'vm/1', 1));
  const outside = tree.snapshot(name('', 'vm/1', 1));
  assert.equal(tree.snapshot(name('a/b', 'vm/1', 1)), one, 'a node is made once');
  assert.equal(tree.join(one, one), one);
  assert.equal(tree.join(one, two), tree.group('a/b', 'vm/1'));
  assert.equal(tree.join(tree.group('a/b', 'vm/1'), two), tree.group('a/b', 'vm/1'), 'one that holds the other stays');
  assert.equal(tree.join(one, otherGroup), tree.namespace('a/b'));
  assert.equal(tree.join(otherGroup, sibling), tree.namespace('a'));
  assert.equal(tree.join(sibling, outside), WHOLE_DATASTORE);
  assert.equal(tree.namespace(''), WHOLE_DATASTORE);
});
