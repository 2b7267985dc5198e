// The payload of a directory object: its entries sorted by name, or, of a large directory, its parts. What is read may come from a hostile
// client, so every length and name is checked here and nowhere else. docs/format.md, section 4.
import type { ByteString } from '../util/byte-string.ts';
import { HoldfastError } from '../util/errors.ts';
import { ID_BYTES, type ObjectId } from './object.ts';
import { FileType, fileType, STAT_BYTES, sizeOf } from './stat-block.ts';

const VERSION = 1;
/** Bytes of a payload before its first entry or part. */
export const LEAF_HEADER_BYTES = 8;
const Form = { leaf: 1, index: 2 } as const;
/** Bytes of an entry before its name. */
export const ENTRY_BYTES = 12 + STAT_BYTES;
const HOLE = 0x80000000;

/** Most bytes of extended attributes that one entry takes. */
export const MAX_XATTR_BYTES = 4 * 1024 * 1024;
/** Most bytes of a file's content, or of a link's target, inside its entry. */
export const MAX_INLINE_BYTES = 64 * 1024;

/** Where the content of an entry is. */
export const Content = { none: 0, inline: 1, pieces: 2, list: 3, directory: 4, unreadable: 5 } as const;

/** Marks of an entry. */
export const Mark = {
  /** It changed so shortly before it was read that a later change may not show: read it again next time. */
  racy: 1,
  /** A directory on which another file system is mounted, which is not part of the archive. */
  mountPoint: 2,
  /** A mount point that was entered: inode numbers below it are of another file system. */
  entered: 4,
} as const;

export interface DirectoryEntry {
  /** Empty only in the one entry of an archive's root object. */
  readonly name: ByteString;
  /** One of `Content`. */
  readonly content: number;
  /** Bits of `Mark`. */
  readonly marks: number;
  /** Why the content could not be read; 0 unless `content` is unreadable. */
  readonly errno: number;
  readonly stat: Uint8Array;
  /** Extended attributes, POSIX ACLs among them, sorted by name: u8 name length, u32 value length, name, value. */
  readonly xattrs: Uint8Array;
  /** The bytes themselves (inline: a small file, a link's target), or the lengths of its pieces (u32; bit 31: a hole). */
  readonly contentBytes: Uint8Array;
  /** Ids of what it names, one after the other: data objects, one list, or one directory. */
  readonly refs: Uint8Array;
}

/** A part of a large directory: a leaf, and the first name in it. */
export interface DirectoryPart {
  readonly first: ByteString;
  readonly id: ObjectId;
}

export type Directory =
  | { readonly entries: readonly DirectoryEntry[]; readonly parts: undefined }
  | { readonly entries: undefined; readonly parts: readonly DirectoryPart[] };

/** A piece of a file's content. */
export interface FilePiece {
  readonly length: number;
  readonly isHole: boolean;
}

/** Collects the entries of one leaf, in the order of their names. */
export class LeafBuilder {
  readonly #payload: Uint8Array[] = [];
  readonly #refs: Uint8Array[] = [];
  #count = 0;
  #bytes = LEAF_HEADER_BYTES;
  #refBytes = 0;

  /** Entries so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of payload and refs so far. */
  get sizeBytes(): number {
    return this.#bytes + this.#refBytes;
  }

  /** Bytes of payload so far: where the next entry begins. */
  get payloadBytes(): number {
    return this.#bytes;
  }

  /** Ids that the entries so far name. */
  get refCount(): number {
    return this.#refBytes / ID_BYTES;
  }

  /** Takes copies of what it needs. Names must rise. */
  add(entry: DirectoryEntry): void {
    const { name, xattrs, contentBytes, refs } = entry;
    const bytes = Buffer.allocUnsafe(ENTRY_BYTES + name.length + xattrs.length + contentBytes.length);
    bytes[0] = name.length;
    bytes[1] = entry.content;
    bytes[2] = entry.marks;
    bytes[3] = entry.errno;
    bytes.writeUInt32LE(xattrs.length, 4);
    bytes.writeUInt32LE(contentBytes.length, 8);
    bytes.set(entry.stat, 12);
    bytes.write(name, ENTRY_BYTES, 'latin1');
    bytes.set(xattrs, ENTRY_BYTES + name.length);
    bytes.set(contentBytes, ENTRY_BYTES + name.length + xattrs.length);
    this.#payload.push(bytes);
    if (refs.length > 0) this.#refs.push(Uint8Array.from(refs));
    this.#count++;
    this.#bytes += bytes.length;
    this.#refBytes += refs.length;
  }

  /** The leaf's refs and payload; the builder is empty again. */
  finish(): { refs: Buffer; payload: Buffer } {
    const payload = Buffer.concat([header(Form.leaf, this.#count), ...this.#payload.splice(0)], this.#bytes);
    const refs = Buffer.concat(this.#refs.splice(0), this.#refBytes);
    this.#count = 0;
    this.#bytes = LEAF_HEADER_BYTES;
    this.#refBytes = 0;
    return { refs, payload };
  }
}

/** Refs and payload of the object above the parts of a large directory. */
export function encodeParts(parts: readonly DirectoryPart[]): { refs: Buffer; payload: Buffer } {
  const names = parts.map(({ first }) => Buffer.concat([Buffer.of(first.length), Buffer.from(first, 'latin1')]));
  return {
    refs: Buffer.concat(parts.map(({ id }) => id)),
    payload: Buffer.concat([header(Form.index, parts.length), ...names]),
  };
}

/** The lengths of a file's pieces as an entry has them. Each is at least 1 and below 2^31. */
export function encodePieces(pieces: readonly FilePiece[]): Buffer {
  const bytes = Buffer.allocUnsafe(pieces.length * 4);
  pieces.forEach(({ length, isHole }, place) => {
    bytes.writeUInt32LE((isHole ? length | HOLE : length) >>> 0, place * 4);
  });
  return bytes;
}

/** The pieces of an entry whose content is pieces. */
export function parsePieces(contentBytes: Uint8Array): FilePiece[] {
  const view = new DataView(contentBytes.buffer, contentBytes.byteOffset, contentBytes.length);
  const pieces: FilePiece[] = [];
  for (let at = 0; at < contentBytes.length; at += 4) {
    const word = view.getUint32(at, true);
    pieces.push({ length: word & ~HOLE, isHole: (word & HOLE) !== 0 });
  }
  return pieces;
}

/**
 * Reads a directory object; entries are views into `payload` and `refs`. With `isRoot` it must be an archive's root object.
 * @throws HoldfastError `object-damaged` when it is not one with these refs.
 */
export function parseDirectory(payload: Uint8Array, refs: Uint8Array, isRoot = false): Directory {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  if (bytes.length < LEAF_HEADER_BYTES || bytes[0] !== VERSION) throw malformed('unknown version');
  const count = bytes.readUInt32LE(4);
  if (bytes[1] === Form.index && !isRoot) return { entries: undefined, parts: parseParts(bytes, refs, count) };
  if (bytes[1] !== Form.leaf) throw malformed('unknown form');
  const entries = parseEntries(bytes, refs, count, isRoot);
  return { entries, parts: undefined };
}

/** Whether a payload says that entries follow, and no parts. */
export function isLeaf(payload: Uint8Array): boolean {
  return payload.length >= LEAF_HEADER_BYTES && payload[0] === VERSION && payload[1] === Form.leaf;
}

function parseEntries(bytes: Buffer, refs: Uint8Array, count: number, isRoot: boolean): DirectoryEntry[] {
  if (isRoot && count !== 1) throw malformed('a root object has one entry');
  const entries: DirectoryEntry[] = [];
  let at = LEAF_HEADER_BYTES;
  let refAt = 0;
  let previous = '';
  for (let place = 0; place < count; place++) {
    if (at + ENTRY_BYTES > bytes.length) throw malformed('cut off');
    const nameEnd = at + ENTRY_BYTES + (bytes[at] as number);
    const xattrEnd = nameEnd + bytes.readUInt32LE(at + 4);
    const end = xattrEnd + bytes.readUInt32LE(at + 8);
    if (end > bytes.length) throw malformed('cut off');
    const name = bytes.toString('latin1', at + ENTRY_BYTES, nameEnd) as ByteString;
    if (isRoot ? name !== '' : !isFileName(name)) throw malformed('an impossible name');
    if (place > 0 && name <= previous) throw malformed('names that do not rise');
    const content = bytes[at + 1] as number;
    const contentBytes = bytes.subarray(xattrEnd, end);
    const refCount = refCountOf(content, contentBytes);
    const refEnd = refAt + refCount * ID_BYTES;
    if (refEnd > refs.length) throw malformed('refs and entries do not match');
    const entry: DirectoryEntry = {
      name,
      content,
      marks: bytes[at + 2] as number,
      errno: bytes[at + 3] as number,
      stat: bytes.subarray(at + 12, at + ENTRY_BYTES),
      xattrs: bytes.subarray(nameEnd, xattrEnd),
      contentBytes,
      refs: refs.subarray(refAt, refEnd),
    };
    checkEntry(entry);
    entries.push(entry);
    previous = name;
    at = end;
    refAt = refEnd;
  }
  if (at !== bytes.length) throw malformed('bytes behind its end');
  if (refAt !== refs.length) throw malformed('refs and entries do not match');
  if (isRoot && (entries[0] as DirectoryEntry).content !== Content.directory)
    throw malformed('a root without directory');
  return entries;
}

function parseParts(bytes: Buffer, refs: Uint8Array, count: number): DirectoryPart[] {
  if (count === 0 || refs.length !== count * ID_BYTES) throw malformed('refs and parts do not match');
  const parts: DirectoryPart[] = [];
  let at = LEAF_HEADER_BYTES;
  for (let place = 0; place < count; place++) {
    if (at >= bytes.length) throw malformed('cut off');
    const end = at + 1 + (bytes[at] as number);
    if (end > bytes.length) throw malformed('cut off');
    const first = bytes.toString('latin1', at + 1, end) as ByteString;
    if (!isFileName(first)) throw malformed('an impossible name');
    if (place > 0 && first <= (parts[place - 1] as DirectoryPart).first) throw malformed('names that do not rise');
    parts.push({ first, id: Buffer.from(refs.subarray(place * ID_BYTES, (place + 1) * ID_BYTES)) as ObjectId });
    at = end;
  }
  if (at !== bytes.length) throw malformed('bytes behind its end');
  return parts;
}

/** Whether it names a file within its directory, and nothing else. */
export function isFileName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');
}

function refCountOf(content: number, contentBytes: Uint8Array): number {
  if (content === Content.list || content === Content.directory) return 1;
  if (content !== Content.pieces) return 0;
  if (contentBytes.length % 4 !== 0 || contentBytes.length === 0) throw malformed('pieces of a wrong length');
  return parsePieces(contentBytes).filter(({ isHole }) => !isHole).length;
}

/** A file has the bytes that its stat block says, a directory a directory, all else no content. */
function checkEntry({ content, contentBytes, errno, stat, xattrs }: DirectoryEntry): void {
  const type = fileType(stat);
  const size = sizeOf(stat);
  if (!Number.isSafeInteger(size)) throw malformed('an impossible size');
  if ((content === Content.unreadable) !== (errno !== 0)) throw malformed('an error without its number');
  if (content !== Content.inline && content !== Content.pieces && contentBytes.length > 0)
    throw malformed('content where none belongs');
  if (contentBytes.length > MAX_INLINE_BYTES) throw malformed('content that is too large');
  checkXattrs(xattrs);
  if (content === Content.unreadable) return;
  let holds = -1;
  if (content === Content.none) holds = 0;
  else if (content === Content.inline) holds = contentBytes.length;
  else if (content === Content.pieces)
    holds = parsePieces(contentBytes).reduce((sum, { length }) => sum + (length === 0 ? Number.NaN : length), 0);
  const fits =
    type === FileType.file
      ? content === Content.list || holds === size
      : type === FileType.directory
        ? content === Content.directory || content === Content.none
        : type === FileType.symlink
          ? content === Content.inline && holds > 0
          : content === Content.none;
  if (!fits) throw malformed('content that does not fit its type or size');
}

function checkXattrs(xattrs: Uint8Array): void {
  if (xattrs.length > MAX_XATTR_BYTES) throw malformed('extended attributes that are too large');
  let previous = '';
  for (const { name } of eachXattr(xattrs)) {
    if (name === '' || name.includes('\0')) throw malformed('an impossible name');
    if (name <= previous) throw malformed('names that do not rise');
    previous = name;
  }
}

/** The extended attributes of an entry. @throws HoldfastError `object-damaged`. */
export function* eachXattr(xattrs: Uint8Array): Generator<{ readonly name: ByteString; readonly value: Buffer }> {
  const bytes = Buffer.from(xattrs.buffer, xattrs.byteOffset, xattrs.length);
  for (let at = 0; at < bytes.length; ) {
    if (at + 5 > bytes.length) throw malformed('extended attributes that are cut off');
    const nameEnd = at + 5 + (bytes[at] as number);
    const end = nameEnd + bytes.readUInt32LE(at + 1);
    if (end > bytes.length) throw malformed('extended attributes that are cut off');
    yield { name: bytes.toString('latin1', at + 5, nameEnd) as ByteString, value: bytes.subarray(nameEnd, end) };
    at = end;
  }
}

/** Extended attributes as an entry has them; sorts by name. */
export function encodeXattrs(attributes: readonly { readonly name: ByteString; readonly value: Uint8Array }[]): Buffer {
  const sorted = [...attributes].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return Buffer.concat(
    sorted.flatMap(({ name, value }) => {
      const head = Buffer.alloc(5);
      head[0] = name.length;
      head.writeUInt32LE(value.length, 1);
      return [head, Buffer.from(name, 'latin1'), value];
    }),
  );
}

function header(form: number, count: number): Buffer {
  const bytes = Buffer.alloc(LEAF_HEADER_BYTES);
  bytes[0] = VERSION;
  bytes[1] = form;
  bytes.writeUInt32LE(count, 4);
  return bytes;
}

function malformed(why: string): HoldfastError {
  return new HoldfastError('object-damaged', `a directory object is malformed: ${why}`);
}
