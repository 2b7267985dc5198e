// The pieces of a file: from its entry, or below lists of any height; lists that do not fit the file are damage.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directPieces, filePieces, inlineContent } from '../../../src/agent/tree/file-content.ts';
import { Content, type DirectoryEntry, encodePieces } from '../../../src/chunker/directory.ts';
import { encodeList, type ListEntry } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../../src/chunker/object.ts';
import { FileType } from '../../../src/chunker/stat-block.ts';
import { NO_XATTRS, name, statBlock } from './native.ts';
import { ObjectMemory } from './object-memory.ts';

function fileOf(sizeBytes: number, content: number, contentBytes: Uint8Array, refs: Uint8Array): DirectoryEntry {
  const stat = statBlock(FileType.file | 0o644, { sizeBytes });
  return { name: name('f'), content, marks: 0, errno: 0, stat, xattrs: NO_XATTRS, contentBytes, refs };
}

async function pieces(memory: ObjectMemory, entry: DirectoryEntry): Promise<[number, string | undefined][]> {
  const found: [number, string | undefined][] = [];
  for await (const { length, id } of filePieces(memory.get, entry))
    found.push([length, id && Buffer.from(id).toString('hex').slice(0, 2)]);
  return found;
}

const data = (byte: number): ObjectId => Buffer.alloc(32, byte) as ObjectId;

function list(memory: ObjectMemory, height: number, childKind: number, ...entries: ListEntry[]): ObjectId {
  const { refs, payload } = encodeList({ height, childKind, entries });
  return memory.put(Kind.list, refs, payload);
}

test('a small file has its bytes in its entry, and no pieces', async () => {
  const memory = new ObjectMemory();
  const small = fileOf(3, Content.inline, Buffer.from('abc'), NO_XATTRS);
  assert.equal(Buffer.from(inlineContent(small) ?? []).toString(), 'abc');
  assert.equal(inlineContent(fileOf(0, Content.none, NO_XATTRS, NO_XATTRS))?.length, 0);
  assert.equal(directPieces(small), undefined);
  assert.deepEqual(await pieces(memory, small), []);
});

test('pieces of the entry have the ids of its refs, holes none', async () => {
  const lengths = [
    { length: 5, isHole: false },
    { length: 7, isHole: true },
    { length: 9, isHole: false },
  ];
  const entry = fileOf(21, Content.pieces, encodePieces(lengths), Buffer.concat([data(1), data(2)]));
  assert.equal(inlineContent(entry), undefined);
  const memory = new ObjectMemory();
  assert.deepEqual(await pieces(memory, entry), [
    [5, '01'],
    [7, undefined],
    [9, '02'],
  ]);
  assert.equal(memory.asked.length, 0);
});

test('pieces below lists come in order, with holes on every level', async () => {
  const memory = new ObjectMemory();
  const left = list(memory, 1, Kind.data, { length: 5, id: data(1) }, { length: 6, id: undefined });
  const right = list(memory, 1, Kind.data, { length: 7, id: data(2) });
  const top = list(memory, 2, Kind.list, { length: 11, id: left }, { length: 7, id: right });
  assert.deepEqual(await pieces(memory, fileOf(18, Content.list, NO_XATTRS, top)), [
    [5, '01'],
    [6, undefined],
    [7, '02'],
  ]);
  assert.deepEqual(await pieces(memory, fileOf(7, Content.list, NO_XATTRS, right)), [[7, '02']]);
});

test('lists that do not fit are damage', async () => {
  const memory = new ObjectMemory();
  const leaf = list(memory, 1, Kind.data, { length: 5, id: data(1) });
  const two = list(memory, 2, Kind.list, { length: 5, id: leaf });
  let high = leaf;
  for (let height = 2; height <= 6; height++) high = list(memory, height, Kind.list, { length: 5, id: high });
  const wrong: [string, ObjectId, number][] = [
    ['longer than the file', leaf, 4],
    ['shorter than the file', leaf, 6],
    ['an image', list(memory, 1, Kind.page, { length: 5, id: data(1) }), 5],
    ['a blob', memory.put(Kind.blob, NO_XATTRS, Buffer.from('hello')), 5],
    ['a height that jumps', list(memory, 3, Kind.list, { length: 5, id: leaf }), 5],
    ['lists below a height that does not fall', list(memory, 2, Kind.list, { length: 5, id: two }), 5],
    ['more levels than any file has', high, 5],
  ];
  for (const [what, root, sizeBytes] of wrong)
    await assert.rejects(
      pieces(memory, fileOf(sizeBytes, Content.list, NO_XATTRS, root)),
      { code: 'object-damaged' },
      what,
    );
  const gone = fileOf(5, Content.list, NO_XATTRS, data(9));
  await assert.rejects(pieces(memory, gone), { code: 'object-missing' });
});

test('no piece comes that lies beyond the size of the file, and none that is longer than an object', async () => {
  const memory = new ObjectMemory();
  const entries = Array.from({ length: 10 }, () => ({ length: 100, id: data(1) }));
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const { length } of filePieces(
      memory.get,
      fileOf(450, Content.list, NO_XATTRS, list(memory, 1, Kind.data, ...entries)),
    ))
      seen.push(length);
  }, /not as long as the file/);
  assert.deepEqual(seen, [100, 100, 100, 100]);
  const long = 2 ** 25;
  for (const entry of [
    fileOf(long, Content.list, NO_XATTRS, list(memory, 1, Kind.data, { length: long, id: data(1) })),
    fileOf(long, Content.pieces, encodePieces([{ length: long, isHole: false }]), data(1)),
  ])
    await assert.rejects(() => pieces(memory, entry), /longer than any object/);
  const hole = fileOf(long, Content.list, NO_XATTRS, list(memory, 1, Kind.data, { length: long, id: undefined }));
  assert.deepEqual(await pieces(memory, hole), [[long, undefined]]);
});
