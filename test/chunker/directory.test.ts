// Directory objects: every entry comes back, every rule of the format is held against a writer that breaks it, and no change of code moves
// a byte of the golden ones. docs/format.md, section 4.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  Content,
  type DirectoryEntry,
  eachXattr,
  encodeParts,
  encodePieces,
  encodeXattrs,
  isFileName,
  LeafBuilder,
  MAX_INLINE_BYTES,
  MAX_XATTR_BYTES,
  parseDirectory,
  parsePieces,
} from '../../src/chunker/directory.ts';
import type { ObjectId } from '../../src/chunker/object.ts';
import { IdHasher } from '../../src/chunker/object-id.ts';
import { FileType, writeStat } from '../../src/chunker/stat-block.ts';
import type { ByteString } from '../../src/util/byte-string.ts';
import { anyEntries, fileName, leafOf, plain } from './directory-samples.ts';

const damaged = (why: RegExp) => ({ code: 'object-damaged', message: why });
const name = (text: string): ByteString => text as ByteString;

function entry(over: Partial<DirectoryEntry> & { mode?: number; sizeBytes?: number } = {}): DirectoryEntry {
  const { mode = FileType.file | 0o644, sizeBytes = 0, ...rest } = over;
  const times = { mtimeNs: 1_600_000_000_123_456_789n, ctimeNs: -1n };
  const ids = { uid: 1000, gid: 100, nlink: 1, inode: 0xfedcba9876543210n, major: 0, minor: 0, attributes: 0 };
  const none = new Uint8Array(0);
  return {
    name: name('a'),
    content: Content.none,
    marks: 0,
    errno: 0,
    stat: writeStat({ mode, sizeBytes, ...times, ...ids }),
    xattrs: none,
    contentBytes: none,
    refs: none,
    ...rest,
  };
}

test('round trip: any entries of any type', () => {
  fc.assert(
    fc.property(anyEntries, (entries) => {
      const { refs, payload } = leafOf(entries);
      const parsed = parseDirectory(payload, refs);
      assert.equal(parsed.parts, undefined);
      assert.deepEqual(parsed.entries?.map(plain), entries.map(plain));
    }),
    { numRuns: 300 },
  );
});

test('a builder counts what it holds, copies what it is given, and is empty after its leaf', () => {
  const leaf = new LeafBuilder();
  const contentBytes = Buffer.from('hello');
  const refs = Buffer.alloc(32, 1);
  leaf.add(entry({ content: Content.inline, contentBytes, sizeBytes: 5 }));
  leaf.add(entry({ name: name('b'), mode: FileType.directory, content: Content.directory, refs }));
  contentBytes.fill(0);
  refs.fill(0);
  assert.deepEqual([leaf.count, leaf.refCount, leaf.sizeBytes], [2, 1, 8 + 80 + 1 + 5 + 80 + 1 + 32]);
  const first = leaf.finish();
  assert.equal(first.payload.length + first.refs.length, 8 + 80 + 1 + 5 + 80 + 1 + 32);
  const { entries } = parseDirectory(first.payload, first.refs);
  assert.equal(Buffer.from(entries?.[0]?.contentBytes ?? []).toString(), 'hello');
  assert.deepEqual(Buffer.from(entries?.[1]?.refs ?? []), Buffer.alloc(32, 1));
  assert.deepEqual([leaf.count, leaf.refCount, leaf.sizeBytes], [0, 0, 8]);
  assert.deepEqual(parseDirectory(leaf.finish().payload, new Uint8Array(0)).entries, []);
});

test('round trip: parts', () => {
  const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes) as ObjectId);
  fc.assert(
    fc.property(
      fc.uniqueArray(fileName, { minLength: 1, maxLength: 20 }),
      fc.array(id, { minLength: 20, maxLength: 20 }),
      (names, ids) => {
        const parts = names.sort().map((first, place) => ({ first, id: ids[place] as ObjectId }));
        const { refs, payload } = encodeParts(parts);
        assert.deepEqual(parseDirectory(payload, refs), { entries: undefined, parts });
      },
    ),
  );
});

test('pieces keep lengths and holes up to 2 GiB', () => {
  const pieces = [
    { length: 1, isHole: false },
    { length: 2 ** 31 - 1, isHole: true },
    { length: 2 ** 31 - 1, isHole: false },
  ];
  assert.deepEqual(parsePieces(encodePieces(pieces)), pieces);
  assert.equal(encodePieces(pieces).toString('hex'), '01000000ffffffffffffff7f');
});

test('extended attributes are sorted by their bytes and come back', () => {
  const attributes = ['user.b', 'user.a', 'user.\xff', 'user.a\x01'].map((each) => ({
    name: name(each),
    value: Buffer.from(each),
  }));
  const names = [...eachXattr(encodeXattrs(attributes))].map((each) => each.name as string);
  assert.deepEqual(names, ['user.a', 'user.a\x01', 'user.b', 'user.\xff']);
  assert.throws(() => [...eachXattr(Buffer.from([1, 0, 0, 0]))], damaged(/cut off/));
  assert.throws(() => [...eachXattr(Buffer.from([1, 2, 0, 0, 0, 97, 1]))], damaged(/cut off/));
});

test('names that could lead elsewhere are no names of files', () => {
  for (const wrong of ['', '.', '..', 'a/b', '/', 'a\0']) assert.equal(isFileName(wrong), false, JSON.stringify(wrong));
  for (const right of ['...', '.a', ' ', '\n', '\xff', '-rf', 'a\\b']) assert.equal(isFileName(right), true);
});

/** Leaves that break one rule each. */
const broken: readonly [what: string, entries: DirectoryEntry[], why: RegExp][] = [
  ...['.', '..', '', 'a/b', '../x', 'a\0b'].map((wrong): [string, DirectoryEntry[], RegExp] => [
    `the name ${JSON.stringify(wrong)}`,
    [entry({ name: name(wrong) })],
    /impossible name/,
  ]),
  ['a name twice', [entry(), entry()], /do not rise/],
  ['names that fall', [entry({ name: name('\xff') }), entry()], /do not rise/],
  ['a size above 2^53', [entry({ stat: Buffer.from(entry().stat).fill(0xff, 16, 24) })], /impossible size/],
  ['a file without its bytes', [entry({ sizeBytes: 5 })], /does not fit/],
  [
    'a file with other bytes',
    [entry({ sizeBytes: 5, content: Content.inline, contentBytes: Buffer.alloc(4) })],
    /does not fit/,
  ],
  ['pieces of another length', [pieced(4, [[5, true]])], /does not fit/],
  [
    'a piece of no length',
    [
      pieced(5, [
        [5, true],
        [0, true],
      ]),
    ],
    /does not fit/,
  ],
  ['pieces without pieces', [pieced(0, [])], /wrong length/],
  ['half a piece', [entry({ sizeBytes: 5, content: Content.pieces, contentBytes: Buffer.alloc(6) })], /wrong length/],
  ['more refs than entries want', [entry({ refs: Buffer.alloc(32) })], /do not match/],
  ['half a ref', [entry({ refs: Buffer.alloc(16) })], /do not match/],
  ['fewer refs than entries want', [entry({ sizeBytes: 5, content: Content.list })], /do not match/],
  [
    'bytes in a list',
    [entry({ sizeBytes: 5, content: Content.list, contentBytes: Buffer.alloc(1), refs: Buffer.alloc(32) })],
    /none belongs/,
  ],
  ['a file that is a directory', [entry({ content: Content.directory, refs: Buffer.alloc(32) })], /does not fit/],
  [
    'a directory with bytes',
    [entry({ mode: FileType.directory, content: Content.inline, contentBytes: Buffer.alloc(1) })],
    /does not fit/,
  ],
  ['a link without a target', [entry({ mode: FileType.symlink })], /does not fit/],
  ['a link with an empty target', [entry({ mode: FileType.symlink, content: Content.inline })], /does not fit/],
  [
    'a device with bytes',
    [entry({ mode: FileType.blockDevice, content: Content.inline, contentBytes: Buffer.alloc(1) })],
    /does not fit/,
  ],
  ['an unknown content', [entry({ content: 6 })], /does not fit/],
  ['unreadable without errno', [entry({ content: Content.unreadable })], /without its number/],
  ['errno of what was read', [entry({ errno: 5 })], /without its number/],
  ['content above its limit', [inline(MAX_INLINE_BYTES + 1)], /too large/],
  ['attributes above their limit', [entry({ xattrs: Buffer.alloc(MAX_XATTR_BYTES + 1) })], /too large/],
  ['an attribute that is cut off', [entry({ xattrs: Buffer.from([1, 0, 0, 0, 0]) })], /cut off/],
  ['an attribute without a name', [entry({ xattrs: Buffer.from([0, 0, 0, 0, 0]) })], /impossible name/],
  ['an attribute with a zero byte', [entry({ xattrs: Buffer.from([1, 0, 0, 0, 0, 0]) })], /impossible name/],
  ['an attribute twice', [entry({ xattrs: Buffer.from([1, 0, 0, 0, 0, 97, 1, 0, 0, 0, 0, 97]) })], /do not rise/],
];

function pieced(sizeBytes: number, pieces: readonly (readonly [number, boolean])[]): DirectoryEntry {
  const contentBytes = encodePieces(pieces.map(([length, isHole]) => ({ length, isHole })));
  return entry({ sizeBytes, content: Content.pieces, contentBytes });
}

function inline(sizeBytes: number): DirectoryEntry {
  return entry({ sizeBytes, content: Content.inline, contentBytes: Buffer.alloc(sizeBytes) });
}

for (const [what, entries, why] of broken)
  test(`${what} is damage`, () => {
    const { refs, payload } = leafOf(entries);
    assert.throws(() => parseDirectory(payload, refs), damaged(why));
  });

test('the limits themselves are no damage', () => {
  const value = Buffer.alloc(MAX_XATTR_BYTES - 6);
  const large = entry({ name: name('b'), xattrs: encodeXattrs([{ name: name('u'), value }]) });
  const { refs, payload } = leafOf([inline(MAX_INLINE_BYTES), large]);
  assert.equal(parseDirectory(payload, refs).entries?.length, 2);
});

test('headers and ends that do not fit are damage', () => {
  const { refs, payload } = leafOf([entry()]);
  const without = (change: (bytes: Buffer) => void): Buffer => {
    const copy = Buffer.from(payload);
    change(copy);
    return copy;
  };
  const cases: [Buffer, RegExp][] = [
    [Buffer.alloc(0), /unknown version/],
    [without((bytes) => bytes.writeUInt8(2, 0)), /unknown version/],
    [without((bytes) => bytes.writeUInt8(3, 1)), /unknown form/],
    [without((bytes) => bytes.writeUInt32LE(2, 4)), /cut off/],
    [without((bytes) => bytes.writeUInt32LE(0xffffffff, 4)), /cut off/],
    [without((bytes) => bytes.writeUInt32LE(0, 4)), /behind its end/],
    [without((bytes) => bytes.writeUInt32LE(0xffffffff, 12)), /cut off/],
    [Buffer.concat([payload, Buffer.alloc(1)]), /behind its end/],
    [payload.subarray(0, -1), /cut off/],
  ];
  for (const [bytes, why] of cases) assert.throws(() => parseDirectory(bytes, refs), damaged(why));
});

test('parts that do not fit are damage', () => {
  const id = Buffer.alloc(32, 1) as ObjectId;
  const parts = (...names: string[]) => encodeParts(names.map((first) => ({ first: name(first), id })));
  const parse = ({ refs, payload }: { refs: Buffer; payload: Buffer }) => parseDirectory(payload, refs);
  assert.throws(() => parse(parts()), damaged(/do not match/));
  assert.throws(() => parse(parts('a', 'a')), damaged(/do not rise/));
  assert.throws(() => parse(parts('b', 'a')), damaged(/do not rise/));
  assert.throws(() => parse(parts('a', '..')), damaged(/impossible name/));
  assert.throws(() => parse(parts('')), damaged(/impossible name/));
  const { refs, payload } = parts('a', 'b');
  assert.throws(() => parse({ refs: refs.subarray(32), payload }), damaged(/do not match/));
  assert.throws(() => parse({ refs, payload: payload.subarray(0, -1) }), damaged(/cut off/));
  assert.throws(() => parse({ refs, payload: payload.subarray(0, -2) }), damaged(/cut off/));
  assert.throws(() => parse({ refs, payload: Buffer.concat([payload, Buffer.of(0)]) }), damaged(/behind its end/));
});

test("an archive's root has one entry without a name, which is a directory; nothing else may be without a name", () => {
  const refs = Buffer.alloc(32, 2);
  const top = entry({ name: name(''), mode: FileType.directory, content: Content.directory, refs });
  const good = leafOf([top]);
  assert.equal(parseDirectory(good.payload, good.refs, true).entries?.length, 1);
  assert.throws(() => parseDirectory(good.payload, good.refs), damaged(/impossible name/));
  const wrong: [DirectoryEntry[], RegExp][] = [
    [[], /one entry/],
    [[top, entry()], /one entry/],
    [[{ ...top, name: name('a') }], /impossible name/],
    [[entry({ name: name('') })], /without directory/],
    [[entry({ name: name(''), mode: FileType.directory })], /without directory/],
  ];
  for (const [entries, why] of wrong) {
    const leaf = leafOf(entries);
    assert.throws(() => parseDirectory(leaf.payload, leaf.refs, true), damaged(why));
  }
  const parts = encodeParts([{ first: name('a'), id: refs as Buffer as ObjectId }]);
  assert.throws(() => parseDirectory(parts.payload, parts.refs, true), damaged(/unknown form/));
});

interface Golden {
  readonly name: string;
  readonly refs: string;
  readonly payload: string;
  readonly id: string;
}

const link = entry({
  name: name('link'),
  mode: FileType.symlink | 0o777,
  content: Content.inline,
  contentBytes: Buffer.from('../\xff', 'latin1'),
});
const acl = Buffer.from('0200000001000600ffffffff', 'hex');
const recipes: Readonly<Record<string, { refs: Buffer; payload: Buffer }>> = {
  empty: leafOf([]),
  leaf: leafOf([
    entry({ name: name('\x01device'), mode: FileType.characterDevice | 0o600, marks: 1 }),
    entry({
      name: name('dir'),
      mode: FileType.directory | 0o1777,
      content: Content.directory,
      refs: Buffer.alloc(32, 0xd1),
      marks: 2,
    }),
    entry({
      name: name('file'),
      sizeBytes: 3,
      content: Content.inline,
      contentBytes: Buffer.from('abc'),
      xattrs: encodeXattrs([
        { name: name('user.k'), value: Buffer.from('v') },
        { name: name('system.posix_acl_access'), value: acl },
      ]),
    }),
    link,
    entry({ name: name('list'), sizeBytes: 2 ** 40, content: Content.list, refs: Buffer.alloc(32, 0x11) }),
    entry({ name: name('lost'), sizeBytes: 9, content: Content.unreadable, errno: 5 }),
    {
      ...pieced(70_000, [
        [65_536, false],
        [4096, true],
        [368, false],
      ]),
      name: name('pieces'),
      refs: Buffer.alloc(64, 0xab),
    },
    entry({ name: name('\xe9\xff') }),
  ]),
  parts: encodeParts([
    { first: name('a'), id: Buffer.alloc(32, 1) as ObjectId },
    { first: name('\xff'), id: Buffer.alloc(32, 2) as ObjectId },
  ]),
  root: leafOf([
    entry({
      name: name(''),
      mode: FileType.directory | 0o755,
      content: Content.directory,
      refs: Buffer.alloc(32, 0xee),
    }),
  ]),
};

test('golden: no change of code moves a byte of a directory, or its id', () => {
  const path = new URL('../vectors/directory.json', import.meta.url);
  const golden = JSON.parse(readFileSync(path, 'utf8')) as Golden[];
  const hasher = new IdHasher();
  const now = Object.entries(recipes).map(([each, { refs, payload }]): Golden => {
    const id = Buffer.from(hasher.id(4, refs, payload)).toString('hex');
    return { name: each, refs: refs.toString('hex'), payload: payload.toString('hex'), id };
  });
  assert.deepEqual(now, golden);
  for (const { name: each, refs, payload } of golden)
    parseDirectory(Buffer.from(payload, 'hex'), Buffer.from(refs, 'hex'), each === 'root');
});
