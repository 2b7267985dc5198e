// Entries of directories for tests: any that the format allows, and one of each sort with fixed bytes.
import fc from 'fast-check';
import { Content, type DirectoryEntry, encodePieces, encodeXattrs, LeafBuilder } from '../../src/chunker/directory.ts';
import { FileType, writeStat } from '../../src/chunker/stat-block.ts';
import type { ByteString } from '../../src/util/byte-string.ts';

const NONE = new Uint8Array(0);

const byteText = (minLength: number, maxLength: number): fc.Arbitrary<ByteString> =>
  fc
    .uint8Array({ minLength, maxLength, min: 1, max: 255 })
    .map((bytes) => Buffer.from(bytes).toString('latin1') as ByteString);

/** A name of a file; some have 255 bytes. */
export const fileName = fc
  .oneof({ weight: 9, arbitrary: byteText(1, 12) }, { weight: 1, arbitrary: byteText(255, 255) })
  .map((name) => name.replaceAll('/', '_') as ByteString)
  .filter((name) => name !== '.' && name !== '..');

/** A stat block of that type and size; all else is anything. */
export function anyStat(type: number, sizeBytes: number): fc.Arbitrary<Buffer> {
  const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const time = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
  return fc
    .record({
      mode: fc.integer({ min: 0, max: 0o7777 }).map((bits) => type | bits),
      uid: u32,
      gid: u32,
      nlink: u32,
      mtimeNs: time,
      ctimeNs: time,
      inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      major: u32,
      minor: u32,
      attributes: u32,
    })
    .map((fields) => writeStat({ ...fields, sizeBytes }));
}

export const anyXattrs = fc
  .uniqueArray(fc.record({ name: byteText(1, 20), value: fc.uint8Array({ maxLength: 30 }) }), {
    maxLength: 3,
    selector: ({ name }) => name,
  })
  .map(encodeXattrs);

/** Content of an entry with the type and size that it fits. */
interface Filling {
  readonly type: number;
  readonly sizeBytes: number;
  readonly content: number;
  readonly contentBytes: Uint8Array;
  readonly refCount: number;
  readonly errno?: number;
}

const nothing = { sizeBytes: 0, content: Content.none, contentBytes: NONE, refCount: 0 };
const filling: fc.Arbitrary<Filling> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => ({
    ...nothing,
    type: FileType.file,
    sizeBytes: bytes.length,
    content: Content.inline,
    contentBytes: bytes,
  })),
  byteText(1, 50).map((target) => ({
    ...nothing,
    type: FileType.symlink,
    content: Content.inline,
    contentBytes: Buffer.from(target, 'latin1'),
  })),
  fc
    .array(fc.record({ length: fc.integer({ min: 1, max: 2 ** 31 - 1 }), isHole: fc.boolean() }), {
      minLength: 1,
      maxLength: 5,
    })
    .map((pieces) => ({
      type: FileType.file,
      sizeBytes: pieces.reduce((sum, { length }) => sum + length, 0),
      content: Content.pieces,
      contentBytes: encodePieces(pieces),
      refCount: pieces.filter(({ isHole }) => !isHole).length,
    })),
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map((sizeBytes) => ({
    ...nothing,
    type: FileType.file,
    sizeBytes,
    content: Content.list,
    refCount: 1,
  })),
  fc.constantFrom(
    { ...nothing, type: FileType.directory, content: Content.directory, refCount: 1 },
    ...Object.values(FileType)
      .filter((type) => type !== FileType.symlink)
      .map((type) => ({ ...nothing, type })),
    { ...nothing, type: FileType.file, sizeBytes: 5, content: Content.unreadable, errno: 5 },
    { ...nothing, type: FileType.directory, content: Content.unreadable, errno: 13 },
  ),
);

/** Any entry that a leaf may hold. */
export const anyEntry: fc.Arbitrary<DirectoryEntry> = filling.chain(
  ({ type, sizeBytes, content, contentBytes, refCount, errno = 0 }) =>
    fc.record({
      name: fileName,
      content: fc.constant(content),
      marks: fc.integer({ min: 0, max: 3 }),
      errno: fc.constant(errno),
      stat: anyStat(type, sizeBytes),
      xattrs: anyXattrs,
      contentBytes: fc.constant(contentBytes),
      refs: fc.uint8Array({ minLength: refCount * 32, maxLength: refCount * 32 }),
    }),
);

/** Entries with names that rise. */
export const anyEntries: fc.Arbitrary<DirectoryEntry[]> = fc
  .uniqueArray(anyEntry, { maxLength: 8, selector: ({ name }) => name })
  .map((entries) => entries.sort((a, b) => (a.name < b.name ? -1 : 1)));

/** Refs and payload of a leaf. */
export function leafOf(entries: readonly DirectoryEntry[]): { refs: Buffer; payload: Buffer } {
  const leaf = new LeafBuilder();
  for (const entry of entries) leaf.add(entry);
  return leaf.finish();
}

/** The same entry with plain buffers, to compare. */
export function plain(entry: DirectoryEntry): DirectoryEntry {
  const { stat, xattrs, contentBytes, refs } = entry;
  return {
    ...entry,
    stat: Buffer.from(stat),
    xattrs: Buffer.from(xattrs),
    contentBytes: Buffer.from(contentBytes),
    refs: Buffer.from(refs),
  };
}
