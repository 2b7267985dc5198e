// Directories written and read back: small ones, large ones in parts, and what hostile parts are answered with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DirectoryWriter, endsPartBefore, MAX_PART_BYTES } from '../../../src/agent/tree/directory-writer.ts';
import { directoryOf, findEntry, findPath, readEntries, readRoot } from '../../../src/agent/tree/read-tree.ts';
import {
  Content,
  type DirectoryEntry,
  encodeParts,
  encodeXattrs,
  LeafBuilder,
  parseDirectory,
} from '../../../src/chunker/directory.ts';
import { Kind, type ObjectId } from '../../../src/chunker/object.ts';
import { FileType } from '../../../src/chunker/stat-block.ts';
import { anyEntries, plain } from '../../chunker/directory-samples.ts';
import { NO_XATTRS, name, statBlock } from './native.ts';
import { ObjectMemory } from './object-memory.ts';

const file = (each: string, xattrs: Uint8Array = NO_XATTRS): DirectoryEntry => ({
  ...{ name: name(each), content: Content.none, marks: 0, errno: 0, stat: statBlock(FileType.file | 0o644), xattrs },
  ...{ contentBytes: NO_XATTRS, refs: NO_XATTRS },
});
const directory = (each: string, id: ObjectId): DirectoryEntry => ({
  ...file(each),
  content: Content.directory,
  stat: statBlock(FileType.directory | 0o755),
  refs: id,
});

function write(memory: ObjectMemory, entries: readonly DirectoryEntry[]): ObjectId {
  const writer = new DirectoryWriter(memory.put);
  for (const entry of entries) writer.add(entry);
  return writer.finish();
}

async function read(memory: ObjectMemory, id: ObjectId, from = ''): Promise<DirectoryEntry[]> {
  const found: DirectoryEntry[] = [];
  for await (const entry of readEntries(memory.get, id, name(from))) found.push(entry);
  return found;
}

const manyNames = (count: number): string[] =>
  Array.from({ length: count }, (_, place) => `file-${String(place).padStart(6, '0')}`);

test('any entries come back in their order', async () => {
  await fc.assert(
    fc.asyncProperty(anyEntries, async (entries) => {
      const memory = new ObjectMemory();
      assert.deepEqual((await read(memory, write(memory, entries))).map(plain), entries.map(plain));
    }),
  );
});

test('a large directory is read whole, from any name on, and looked up by name in two objects', async () => {
  const memory = new ObjectMemory();
  const names = manyNames(5000);
  const id = write(
    memory,
    names.map((each) => file(each)),
  );
  assert.ok(memory.directories > 3, 'it has parts');
  assert.deepEqual(
    (await read(memory, id)).map((entry) => entry.name as string),
    names,
  );
  for (const from of ['', 'a', 'file-000000', 'file-000000x', names[128], names[4096], 'file-004998x', 'z']) {
    const expected = names.filter((each) => each >= (from as string));
    assert.deepEqual(
      (await read(memory, id, from)).map((entry) => entry.name as string),
      expected,
      from,
    );
  }
  const top = memory.objects.get(id.toString('hex'));
  const firsts = parseDirectory(top!.payload, top!.refs).parts!.map(({ first }) => first as string);
  for (const each of [names[1234], names[4999], ...firsts]) {
    memory.asked.length = 0;
    assert.equal((await findEntry(memory.get, id, name(each as string)))?.name, each);
    assert.ok(memory.asked.length <= 2, `${memory.asked.length} objects read`);
  }
  for (const each of ['', 'a', 'file-001234x', 'z'])
    assert.equal(await findEntry(memory.get, id, name(each)), undefined);
});

test('every part but the last has at least 128 entries, none more than 4,096, and ends where its names say', async () => {
  const memory = new ObjectMemory();
  const names = manyNames(20_000);
  const top = memory.objects.get(
    write(
      memory,
      names.map((each) => file(each)),
    ).toString('hex'),
  );
  const { parts } = parseDirectory(top!.payload, top!.refs);
  const sizes: number[] = [];
  for (const part of parts ?? []) {
    const leaf = memory.objects.get(part.id.toString('hex'));
    const { entries } = parseDirectory(leaf!.payload, leaf!.refs);
    sizes.push(entries!.length);
    assert.equal(entries![0]!.name, part.first);
    for (const [place, entry] of entries!.entries())
      if (place > 0) assert.equal(endsPartBefore(entry.name, place), false);
  }
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    20_000,
  );
  assert.ok(sizes.slice(0, -1).every((size) => size >= 128 && size <= 4096));
  assert.ok(sizes.length > 10 && sizes.length < 100, `${sizes.length} parts`);
});

test('the cut of parts is the one of the format: FNV-1a, a multiple of 512', () => {
  const fnv = (text: string): number => {
    let hash = 2166136261n;
    for (const byte of Buffer.from(text, 'latin1')) hash = ((hash ^ BigInt(byte)) * 16777619n) & 0xffffffffn;
    return Number(hash);
  };
  assert.equal(fnv('foobar'), 0xbf9cf968, 'the published test value');
  const names = [...manyNames(3000), '\xff\x80', ''].filter((each) => each !== '');
  for (const each of names) assert.equal(endsPartBefore(name(each), 128), fnv(each) % 512 === 0);
  assert.ok(names.some((each) => endsPartBefore(name(each), 128)));
  assert.equal(endsPartBefore(name('a'), 127), false);
  assert.equal(endsPartBefore(name('a'), 4096), true);
});

test('one name more changes one part and the index', () => {
  const names = manyNames(20_000);
  const ids = (each: readonly string[]): Set<string> => {
    const memory = new ObjectMemory();
    write(
      memory,
      each.map((one) => file(one)),
    );
    return new Set(memory.objects.keys());
  };
  const before = ids(names);
  const after = ids([...names, 'file-010000a'].sort());
  const added = [...after].filter((id) => !before.has(id));
  assert.ok(added.length <= 3, `${added.length} new objects`);
});

test('entries with much metadata end a part by its bytes', async () => {
  const memory = new ObjectMemory();
  const large = encodeXattrs([{ name: name('user.large'), value: Buffer.alloc(60_000, 7) }]);
  const names = manyNames(60);
  const id = write(
    memory,
    names.map((each) => file(each, large)),
  );
  for (const { payload, refs } of memory.objects.values())
    assert.ok(payload.length + refs.length < MAX_PART_BYTES + 70_000, `${payload.length} bytes`);
  assert.ok(memory.directories > 2);
  assert.deepEqual(
    (await read(memory, id)).map((entry) => entry.name as string),
    names,
  );
});

test('paths lead to entries, and to nothing through a file or a link', async () => {
  const memory = new ObjectMemory();
  const link = {
    ...file('link'),
    content: Content.inline,
    contentBytes: Buffer.from('inner'),
    stat: statBlock(FileType.symlink | 0o777),
  };
  const inner = write(memory, [file('deep'), file('\xff')]);
  const top = write(memory, [file('file'), directory('inner', inner), link]);
  const leaf = new LeafBuilder();
  leaf.add(directory('', top));
  const { refs, payload } = leaf.finish();
  const root = memory.put(Kind.directory, refs, payload);
  assert.deepEqual(directoryOf(await readRoot(memory.get, root)), top);
  const found = async (path: string): Promise<string> => (await findPath(memory.get, root, name(path))).name;
  assert.equal(await found(''), '');
  assert.equal(await found('/inner//./deep/'), 'deep');
  assert.equal(await found('inner/\xff'), '\xff');
  for (const path of ['gone', 'inner/gone', 'file/x', 'link/deep', '..', 'inner/..'])
    await assert.rejects(found(path), { code: 'not-found' }, path);
  await assert.rejects(found('inner/gon\xe9'), { code: 'not-found', message: /inner\/gon\\xe9/ });
});

test('objects that are no directory, or not there, are told', async () => {
  const memory = new ObjectMemory();
  const blob = memory.put(Kind.blob, NO_XATTRS, Buffer.from('x'));
  await assert.rejects(read(memory, blob), { code: 'object-damaged', message: /not a directory/ });
  await assert.rejects(readRoot(memory.get, blob), { code: 'object-damaged', message: /not a directory/ });
  await assert.rejects(readRoot(memory.get, write(memory, [file('a')])), { code: 'object-damaged' });
  await assert.rejects(read(memory, Buffer.alloc(32) as ObjectId), { code: 'object-missing' });
});

test('parts that do not hold the names that the index says are damage, and no circle is walked', async () => {
  const memory = new ObjectMemory();
  const part = (...names: string[]): ObjectId =>
    write(
      memory,
      names.map((each) => file(each)),
    );
  const index = (...parts: [string, ObjectId][]): ObjectId => {
    const { refs, payload } = encodeParts(parts.map(([first, id]) => ({ first: name(first), id })));
    return memory.put(Kind.directory, refs, payload);
  };
  const good = index(['a', part('a', 'b')], ['c', part('c')]);
  assert.equal((await read(memory, good)).length, 3);
  const wrong = [
    index(['a', part('b')]),
    index(['a', part()]),
    index(['a', part('a', 'c')], ['c', part('c')]),
    index(['a', part('a', 'd')], ['c', part('c')]),
    index(['a', index(['a', part('a')])]),
  ];
  for (const id of wrong) await assert.rejects(read(memory, id), { code: 'object-damaged' });
});
