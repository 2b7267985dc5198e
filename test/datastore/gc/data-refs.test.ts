import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directoryOf, findPath, readDirectory } from '../../../src/agent/tree/read-tree.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { dataRefs } from '../../../src/datastore/gc/data-refs.ts';
import { fromText } from '../../../src/util/byte-string.ts';
import { TreeMemory } from '../../support/tree-memory.ts';

const which = (object: StoredObject): boolean[] => {
  const isData = dataRefs(object);
  return Array.from({ length: object.refs.length / 32 }, (_, place) => isData(place));
};

test('of a directory, pieces are data; lists, directories, parts and what a root names are not', async () => {
  const memory = new TreeMemory();
  const root = await memory.root({
    a: { pieces: ['1', 7, '2'] },
    b: { listed: ['3'] },
    c: { children: { x: '' } },
    d: 'inline',
    e: { pieces: ['4'] },
  });
  const top = memory.read(directoryOf(await findPath(memory.get, root, fromText(''))));
  assert.deepEqual(which(top), [true, true, false, false, true]);
  assert.deepEqual(which(memory.read(root)), [false]);
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`n${String(n).padStart(5, '0')}`, '']));
  const index = await memory.directory(many);
  assert.ok(((await readDirectory(memory.get, index)).parts?.length ?? 0) > 0);
  assert.ok(which(memory.read(index)).every((isData) => !isData));
});

test('pages name data, lists what they say; of all else, and of what is malformed, nothing is assumed', () => {
  const id = Buffer.alloc(32, 1) as unknown as ObjectId;
  const list = (childKind: number, height: number): StoredObject => ({
    kind: Kind.list,
    ...encodeList({ childKind, height, entries: [{ length: 1, id }] }),
  });
  assert.deepEqual(which(list(Kind.data, 1)), [true]);
  assert.deepEqual(which(list(Kind.list, 2)), [false]);
  const payload = Buffer.from('?');
  assert.deepEqual(which({ kind: Kind.page, refs: id, payload }), [true]);
  for (const kind of [Kind.list, Kind.directory, 99]) assert.deepEqual(which({ kind, refs: id, payload }), [false]);
});
